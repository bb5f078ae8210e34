"""What is said when another program takes the processor for a third of the rounds.

    python -m benchmarks.busy_machine [--json]

The pair: SqueezeNet in ONNX Runtime 1.31 on one thread, with all graph optimisations and with none.
It is timed as by default four times: with nothing beside it, twice with a program that never rests,
pinned to the core that is timed (the worst place) and left to the system, and once more with nothing.
The program is started when the fifth of 16 rounds has ended, and ended five rounds later.

What may come of it: a session that is INVALID and says why, or a ratio that is still right, since
both cells had the same rounds. Right is: an interval that meets those of both quiet sweeps, give or
take the noise floor. What may not come of it is a VALID session with a wrong ratio.

The result is the ratio with the program pinned beside it, by that of the first quiet sweep, with the
intervals of both in its own.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import _common, _pairs
from benchmarks._common import Estimate
from harness.execution.cores import own_cores

_FIRST, _LAST = 5, 10
"""The rounds after which the program is started and ended."""

_HOG = "import os, sys\nos.sched_setaffinity(0, map(int, sys.argv[1:]))\nwhile True: pass"
_LOOK_S = 0.01


def hog(*, pinned: bool) -> Callable[[Path, subprocess.Popen[str]], None]:
    """What is done beside a sweep: run a program that never rests, for a third of the rounds.

    Args:
        pinned: to the cores that are timed; else it may run on all.
    """

    def beside(events: Path, sweep: subprocess.Popen[str]) -> None:
        program: subprocess.Popen[bytes] | None = None
        try:
            while sweep.poll() is None:
                cores, done = seen(events)
                if program is None and _first() <= done < _last():
                    given = cores if pinned else own_cores()
                    program = subprocess.Popen([sys.executable, "-c", _HOG, *map(str, given)])
                elif program is not None and done >= _last():
                    break
                time.sleep(_LOOK_S)
        finally:
            if program is not None:
                program.kill()
                program.wait()

    return beside


def _first() -> int:
    return 1 if _common.quick() else _FIRST


def _last() -> int:
    return 2 if _common.quick() else _LAST


def seen(events: Path) -> tuple[list[int], int]:
    """The cores that are timed, and how many rounds have ended, by what the conductor told."""
    cores: list[int] = []
    done = 0
    lines = events.read_text(encoding="utf-8").splitlines() if events.exists() else []
    for line in lines:
        if line.endswith("}}") and '"timing"' in line:
            cores = json.loads(line)["event"]["cores"]
        elif line.endswith("}}") and '"round"' in line:
            done = json.loads(line)["event"]["done"]
    return cores, done


def quotient(above: Estimate, below: Estimate) -> Estimate:
    """Of two ratios; its interval takes their errors for independent."""
    centre = math.log(above.ratio / below.ratio)
    half = math.hypot(*(math.log(one.high / one.low) / 2 for one in (above, below)))
    return Estimate(*(math.exp(value) for value in (centre, centre - half, centre + half)))


def main() -> None:
    """Measure and print."""
    report = _common.begin("busy_machine", __doc__)
    found: dict[str, _pairs.Said] = {}
    for name, beside in {
        "nothing beside it": None,
        "a program on the core that is timed": hog(pinned=True),
        "a program on any core": hog(pinned=False),
        "nothing beside it, again": None,
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder)
            timing = _pairs.QUICK if _common.quick() else {}
            (found[name],) = _pairs.run(_pairs.sweep_of(_pairs.LEVELS, timing, top), top, beside)
        report.say(f"{name}: {found[name]}")
        for message in sorted({text for _, text in found[name].reasons}):
            report.say(f"  {message}")
    first, pinned, free, second = found.values()
    for name, said in zip(("on the timed core", "on any core"), (pinned, free), strict=True):
        held = all(said.meets(quiet.estimate) for quiet in (first, second))
        word = "as without it" if held else "not as without it"
        report.say(f"with a program {name} the ratio is {word}, and {said.state}")
    unit = "ratio with a program on the timed core / without"
    report.end(quotient(pinned.estimate, first.estimate), unit)


if __name__ == "__main__":
    main()
