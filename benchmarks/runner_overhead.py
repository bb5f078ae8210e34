"""What the runner adds to a call of a model: its median against a bare loop written by hand.

    python -m benchmarks.runner_overhead [--json]

MobileNetV2 and SqueezeNet in ONNX Runtime 1.31, one thread, batch 1 and 32. The runner, the bare
loop (`loops/bare.py`) and NVIDIA's Polygraphy (`OnnxrtRunner.infer`, `loops/polygraphy_runner.py`)
are processes of the same interpreter, with the same variables, session options and inputs, pinned
to the same core. Of Polygraphy two numbers are shown: what a call of `infer` takes, and what its
`last_inference_time` says. It is installed into a folder beside the environment, so that nothing in
there changes; where it cannot be had, that is said, and the rest is measured.

A round starts the processes anew, in balanced order, warms each up, and gives each six short turns,
again in balanced orders. Turns that lie next to each other are compared, for a machine's pace changes
from second to second; a round's ratio is the median of its six. New processes, because two of the very
same program differ by about 2 % for as long as they live, by where their memory happens to lie:
rounds of the same processes would measure that very exactly. So rounds are independent of each other,
and the interval (t, on the mean log ratio) holds what starting anew changes. For the same reason every
member makes its first call when it is loaded, as the runner does: a library takes its memory then, and
two bare loops of which one makes that call later differ by 1 to 2 % at batch 32.

The result is the worst of the four ratios: the one furthest from 1, with its own interval.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _common
from benchmarks._common import Estimate, Loop, Report, Runner, Start, Timed
from harness.environments.uv import UvError
from harness.execution.cores import cores_for, keep_off, own_cores
from harness.execution.rounds import balanced_order
from harness.trees import temporary_folder

ENVIRONMENT = "onnxruntime-1.31"
MODELS = {"MobileNetV2": "mobilenet_v2_1.0_224_tf.onnx", "SqueezeNet": "squeezenet1.1_224.onnx"}
BATCHES = (1, 32)
ROUNDS = 20
TURNS = 6
"""Of each member in a round."""
TURN_S = 0.1
"""About how long a turn lasts; one call at least."""
_INPUTS = 64


@dataclass
class Case:
    """One model at one batch, and what was measured of it so far.

    Attributes:
        name: for a person.
        starts: how each member is started, by name; `bare` is among them.
        iterations: calls a turn; 0: not known yet.
        medians_ns: by what was measured, of the rounds so far, of each its turns'.
    """

    name: str
    starts: Mapping[str, Start]
    iterations: int = 0
    medians_ns: dict[str, list[list[float]]] = field(default_factory=dict)

    def against_bare(self, what: str) -> Estimate:
        """How long it takes, as a multiple of the bare loop's time."""
        rounds = zip(self.medians_ns[what], self.medians_ns["bare"], strict=True)
        return _common.estimate([_log_ratio(own, bare) for own, bare in rounds])


def _log_ratio(own: list[float], bare: list[float]) -> float:
    """Of one round: the median over turns that lie next to each other."""
    return statistics.median(math.log(one / other) for one, other in zip(own, bare, strict=True))


def worst(found: list[Estimate]) -> Estimate:
    """The one furthest from 1, to either side."""
    return max(found, key=lambda one: abs(math.log(one.ratio)))


def take_round(case: Case, order: list[int], folder: Path) -> None:
    """Start every member, give each its turns, and keep the median of each turn."""
    names = [list(case.starts)[index] for index in order]
    taken: dict[str, list[float]] = {}
    with contextlib.ExitStack() as held:
        members: dict[str, Timed] = {}
        for name in names:
            started = case.starts[name](folder / name)
            held.enter_context(started)
            started.loaded()
            members[name] = started
        for name in names:
            (typical_ns,) = members[name].times(1, 1)["durations_ns"]
            filling = 0 if _common.quick() else round(TURN_S * 1e9 / typical_ns)
            case.iterations = case.iterations or max(1, filling)
            # What takes long has had its warm-up by then.
            members[name].times(max(1, filling), 0)
        for turn in balanced_order(len(names), TURNS):
            for name in (names[index] for index in turn):
                reply = members[name].times(case.iterations, case.iterations // 5)
                taken.setdefault(name, []).append(statistics.median(reply["durations_ns"]))
                if "told_ns" in reply:
                    told = taken.setdefault(f"{name}, by its own clock", [])
                    told.append(statistics.median(reply["told_ns"]))
    for name, medians in taken.items():
        case.medians_ns.setdefault(name, []).append(medians)


def polygraphy(python: Path, folder: Path, report: Report) -> Path | None:
    """A folder that holds Polygraphy, for an interpreter; None where it cannot be had."""
    target = folder / "polygraphy"
    try:
        _common.install("polygraphy", python, target)
    except UvError as error:
        report.say(f"Polygraphy is left out: {error}")
        return None
    return target


def starts(
    python: Path, model: Path, inputs: Path, batch: int, peer: Path | None, sockets: Path
) -> dict[str, Start]:
    """How each member is started."""
    cores = cores_for(1).cells or own_cores()
    asked = {"model": str(model), "inputs": str(inputs), "batch": batch}
    job = {
        "schema_version": 1,
        "kind": "infer",
        "backend": "onnxruntime",
        "model": {"path": str(model), "format": "onnx"},
        "inputs": {"kind": "array", "path": str(inputs), "count": _INPUTS},
        "batch": batch,
    }
    found: dict[str, Start] = {
        "bare": lambda work: Loop(python, "bare.py", asked, work, cores),
        "runner": lambda work: Runner(python, job, work, sockets, cores),
    }
    if peer is not None:
        found["polygraphy"] = lambda work: Loop(
            python, "polygraphy_runner.py", asked, work, cores, peer
        )
    return found


def measure(case: Case, rounds: int, say: Callable[[str], None]) -> None:
    """All rounds of a case, and a line for each thing that was measured."""
    for order in balanced_order(len(case.starts), rounds):
        with tempfile.TemporaryDirectory() as folder:
            take_round(case, order, Path(folder))
    bare_ms = statistics.median(itertools.chain(*case.medians_ns["bare"])) / 1e6
    say(f"{case.name}: {bare_ms:.3f} ms bare, {case.iterations} calls a turn, {rounds} rounds")
    for what in case.medians_ns:
        if what != "bare":
            say(f"  {what}: {case.against_bare(what)}")


def main() -> None:
    """Measure and print."""
    report = _common.begin("runner_overhead", __doc__)
    python = _common.interpreter(ENVIRONMENT)
    models = {name: _common.data(f"models/{file}") for name, file in MODELS.items()}
    batches, rounds = (BATCHES[:1], 2) if _common.quick() else (BATCHES, ROUNDS)
    if _common.quick():
        del models["MobileNetV2"]
    found: list[Estimate] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        temporary_folder("harness-") as sockets,
        keep_off(cores_for(1).taken),
    ):
        peer = polygraphy(python, Path(folder), report)
        inputs = Path(folder) / "inputs.npy"
        np.save(inputs, _inputs())
        for name, model in models.items():
            for batch in batches:
                kinds = starts(python, model, inputs, batch, peer, sockets)
                case = Case(f"{name}, batch {batch}", kinds)
                measure(case, rounds, report.say)
                found.append(case.against_bare("runner"))
    unit = "time of a call in the runner / in a bare loop, the worst case"
    report.end(worst(found), unit)


def _inputs() -> Any:
    """Seeded numbers, float32 [64, 3, 224, 224]: what they are does not change how long it takes."""
    drawn = np.random.default_rng(0).standard_normal((_INPUTS, 3, 224, 224), dtype=np.float32)
    return drawn.clip(-1, 1)


if __name__ == "__main__":
    main()
