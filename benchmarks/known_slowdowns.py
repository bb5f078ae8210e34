"""Whether a known difference is found, and how large it is said to be: three of them.

    python -m benchmarks.known_slowdowns [--json]

SqueezeNet in ONNX Runtime 1.31, one photograph a call. Each is a sweep of two cells and the control,
timed as by default but for what is small:

* a call that lasts 3 % longer (`loops/paced.py` sleeps after it), on one thread, 48 rounds of half a
  second with `fresh_processes`: the truth is 1.03 by construction;
* all graph optimisations against none, on one thread;
* one thread against two.

The truth of the last two is measured beside by a loop written by hand (`loops/bare.py`), in fresh
processes for each of its rounds, without the harness. That is not a bound of anything: it is another
measurement, with an interval of its own, and the two must overlap, give or take the noise floor.

Each is told with its verdict, its interval and whether it is right. The result is the ratio that the
sweep found for the first, by 1.03.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _common, _pairs
from benchmarks._common import Estimate
from harness.execution.cores import cores_for, keep_off, own_cores
from harness.execution.rounds import balanced_order

LONGER = Estimate(1.03, 1.03, 1.03)
HAND_ROUNDS = 8
_TURN_S = 1.0
_SMALL = {"rounds": 48, "round_seconds": 0.5, "fresh_processes": True}
_LEVELS = ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL")
_THREADS = (1, 2)


@dataclass(frozen=True)
class Finding:
    """What a sweep said of a known difference.

    Attributes:
        name: of the difference.
        said: what the sweep says.
        truth: t_b / t_a, by construction or by hand.
    """

    name: str
    said: _pairs.Said
    truth: Estimate

    @property
    def right(self) -> bool:
        """The verdict's side, and an interval that meets the truth's."""
        side = "slower" if self.truth.ratio > 1 else "faster"
        return self.said.verdict == side and self.said.meets(self.truth)

    def __str__(self) -> str:
        word = "right" if self.right else "WRONG"
        return f"{self.name}: {word}\n  said:  {self.said}\n  truth: {self.truth}"


def by_hand(python: Path, pair: Sequence[Mapping[str, Any]], threads: int, top: Path) -> Estimate:
    """The ratio of two loops written by hand: fresh processes for each round, in balanced order.

    Args:
        python: the interpreter.
        pair: what is told to the first loop and to the second.
        threads: the most that one of them has.
        top: an empty folder.
    """
    inputs = top / "inputs.npy"
    drawn = np.random.default_rng(0).standard_normal((8, 3, 224, 224), dtype=np.float32)
    np.save(inputs, drawn.clip(-1, 1))
    model = str(_common.data(_pairs.MODEL))
    chosen = cores_for(threads)
    logs = []
    rounds = 2 if _common.quick() else HAND_ROUNDS
    turn_s = 0.05 if _common.quick() else _TURN_S
    with keep_off(chosen.taken):
        for number, order in enumerate(balanced_order(len(pair), rounds)):
            medians = {}
            for index in order:
                asked = {"model": model, "inputs": str(inputs), "batch": 1, **pair[index]}
                work = top / f"{number}-{index}"
                cores = (chosen.cells or own_cores())[-asked.get("threads", 1) :]
                with _common.Loop(python, "bare.py", asked, work, cores) as loop:
                    loop.loaded()
                    (once_ns,) = loop.times(1, 2)["durations_ns"]
                    count = max(10, round(turn_s * 1e9 / once_ns))
                    medians[index] = statistics.median(loop.times(count, count)["durations_ns"])
            logs.append(math.log(medians[1] / medians[0]))
    return _common.estimate(logs)


def longer(top: Path) -> Finding:
    """A call that lasts 3 % longer."""
    python = _pairs.paced_interpreter(top / "paced")
    timing = _pairs.QUICK if _common.quick() else _SMALL
    (said,) = _pairs.run(_pairs.sweep_of(_pairs.paced(python, "longer"), timing, top), top)
    return Finding("3 % longer", said, LONGER)


def optimisations(top: Path) -> Finding:
    """All graph optimisations against none."""
    (said,) = _pairs.run(_pairs.sweep_of(_pairs.LEVELS, _timing(), top), top)
    python = _common.interpreter(_pairs.ENVIRONMENT)
    truth = by_hand(python, [{"level": level} for level in _LEVELS], 1, _made(top))
    return Finding("without graph optimisations", said, truth)


def threads(top: Path) -> Finding:
    """One thread against two."""
    axes = {"threads": list(_THREADS)}
    sweep = _pairs.sweep_of({"name": _pairs.ENVIRONMENT}, _timing(), top, axes=axes)
    (said,) = _pairs.run(sweep, top)
    python = _common.interpreter(_pairs.ENVIRONMENT)
    truth = by_hand(python, [{"threads": count} for count in _THREADS], max(_THREADS), _made(top))
    return Finding("two threads", said, truth)


def _timing() -> Mapping[str, Any]:
    return _pairs.QUICK if _common.quick() else {}


def _made(top: Path) -> Path:
    folder = top / "by-hand"
    folder.mkdir()
    return folder


def main() -> None:
    """Measure and print."""
    report = _common.begin("known_slowdowns", __doc__)
    findings = []
    for find in (longer, optimisations, threads):
        with tempfile.TemporaryDirectory() as folder:
            findings.append(find(Path(folder)))
        report.say(str(findings[-1]))
    said = findings[0].said.estimate
    ratios = (value / LONGER.ratio for value in (said.ratio, said.low, said.high))
    report.end(Estimate(*ratios), "the ratio that is said of a call that lasts 3 % longer / 1.03")


if __name__ == "__main__":
    main()
