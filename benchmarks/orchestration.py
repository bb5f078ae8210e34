"""What a sweep takes beside its parts: the wall time of twelve cells against the sum of what they do.

    python -m benchmarks.orchestration [--json]

The sweep: MobileNetV2 and SqueezeNet in ONNX Runtime 1.31, three levels of graph optimisation, with
and without the memory arena; 100 photographs, timed as by default, so that each model's reference
is run a second time as a control. It is started as a person starts it, `harness sweep` in a fresh
store, and the wall time is that of the process, from its start to its end. Three times, the
environment built and the pixels prepared before.

Parts are what a cell has to do, whoever leads it:

* start and import: from opening its worker until the worker is ready, less loading and proving. That
  is starting Python and importing the framework;
* load: loading, compiling and the first inference, as the worker says (`load_ns`, `compile_ns`,
  `first_inference_ns`);
* answers: the worker's own time for all images (`duration_ns` of its reply);
* warm-up: from its command to its reply: the inputs are laid into memory in the model's own dtype,
  and the model is run until its times are steady;
* measuring: the turns of all rounds, each from its command to its reply, so with its unrecorded
  runs, and the recorded stages of a query.

All else is orchestration: starting `harness`, reading the sweep file, hashing and planning, the
conductor, the proof of what ran and where (`prove_ns`: ONNX Runtime has a second session profiled for
it), checking and committing answers, looking at idle workers, measuring the idle power,
collecting samples, ending workers, the catalogue, the result and its page. Nothing that the harness
does for its own sake is called a part, though a careful script by hand would need some of it too.

The parts come from the same run as the wall time: the conductor's events, with the moment they came
(`_recorded.py`), and the sessions in the store. The result is wall time by sum of parts, the
geometric mean over the sweeps with a t interval; 1.05 or less is the goal.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks import _common

ENVIRONMENT = "onnxruntime-1.31"
SWEEPS = 3
IMAGES = 100
_MODELS = (
    {"path": "models/mobilenet_v2_1.0_224_tf.onnx", "recipe": "tf", "class_offset": 1},
    {"path": "models/squeezenet1.1_224.onnx", "recipe": "torch"},
)
_LEVELS = ("all", "extended", "disabled")
_LOADING = ("load_ns", "compile_ns", "first_inference_ns")
_WHILE_OPENING = frozenset({"worker"})
"""What the conductor tells between opening a cell and its being ready."""
_NS = 1e9


@dataclass(frozen=True)
class Parts:
    """Seconds that all cells together spent on what they have to do."""

    start_and_import: float
    load: float
    answers: float
    warm_up: float
    measuring: float

    @property
    def total(self) -> float:
        """Their sum."""
        return math.fsum(getattr(self, one.name) for one in fields(self))


def parts_of(events: Sequence[Mapping[str, Any]], sessions: Iterable[Mapping[str, Any]]) -> Parts:
    """Add up what the cells of a sweep did.

    Args:
        events: of all conductors, each {"at_s": …, "event": {…}}, in order.
        sessions: the documents of all sessions.
    """
    opening = load = proving = answers = warm_up = measuring = 0.0
    opened_s: float | None = None
    for noted in events:
        event = noted["event"]
        if opened_s is not None and event["event"] not in _WHILE_OPENING:
            opening += noted["at_s"] - opened_s
            opened_s = None
        if event["event"] == "opening":
            opened_s = noted["at_s"]
        elif event["event"] == "answered":
            load += sum(event["loaded"][name] for name in _LOADING) / _NS
            proving += event["loaded"]["prove_ns"] / _NS
            answers += event["reply"]["duration_ns"] / _NS
    for session in sessions:
        warm_up += sum(one["command_ns"] for one in session["warmup"].values()) / _NS
        turns = session["turns"]
        measuring += sum(end - start for turn in turns for start, end in turn["slices"]) / _NS
        for told in session["stages"].values():
            measuring += sum(map(sum, _samples(told))) / _NS
    return Parts(opening - load - proving, load, answers, warm_up, measuring)


def _samples(told: Mapping[str, Any]) -> list[list[int]]:
    return [stage["samples_ns"] for stage in told.get("stages", {}).values()]


def spec() -> dict[str, Any]:
    """The sweep file: twelve cells, or two of them."""
    quick = _common.quick()
    settings = [
        {"graph_optimization_level": level, "arena": arena}
        for level, arena in itertools.product(_LEVELS, (True, False))
    ]
    models = [{**model, "path": str(_common.data(str(model["path"])))} for model in _MODELS]
    document: dict[str, Any] = {
        "schema_version": 1,
        "name": "orchestration",
        "models": models[1:] if quick else models,
        "data": {
            "path": str(_common.data("data/imagenet-sample/val")),
            "limit": 4 if quick else IMAGES,
        },
        "environments": [{"name": ENVIRONMENT, "settings": settings[:2] if quick else settings}],
        "executor": ["venv"],
    }
    if quick:
        document["timing"] = {"rounds": 2, "round_seconds": 0.05, "min_seconds": 0}
        document["timing"] |= {"min_queries": 1, "warmup_seconds": 0.1}
    return document


@dataclass(frozen=True)
class Swept:
    """A sweep that ran, in seconds.

    Attributes:
        wall: from its start to its end.
        before: of that, until the first cell was opened.
        after: of that, since the last word of a conductor.
        parts: what its cells had to do.
    """

    wall: float
    before: float
    after: float
    parts: Parts

    @property
    def beside(self) -> float:
        """Orchestration: what is no part."""
        return self.wall - self.parts.total


def sweep(file: Path, folder: Path) -> Swept:
    """Run a sweep in a fresh store."""
    notes, store = folder / "events.jsonl", folder / "store"
    started = time.monotonic()
    _harness("benchmarks._recorded", str(notes), "sweep", str(file), "--store", str(store))
    ended = time.monotonic()
    events = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    found = (store / "sessions").glob("*/session.json")
    sessions = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    before, after = events[0]["at_s"] - started, ended - events[-1]["at_s"]
    return Swept(ended - started, before, after, parts_of(events, sessions))


def _harness(module: str, *arguments: str) -> None:
    """Run it; what it says is shown only where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=_common.REPOSITORY,
    )
    if done.returncode:
        sys.exit(f"The sweep failed with status {done.returncode}:\n{done.stdout}\n{done.stderr}")


def main() -> None:
    """Measure and print."""
    report = _common.begin("orchestration", __doc__)
    _common.interpreter(ENVIRONMENT)
    found: list[Swept] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_text(json.dumps(spec()), encoding="utf-8")
        planned = Path(folder) / "planned"
        _harness("harness.cli.main", "sweep", str(file), "--dry-run", "--store", str(planned))
        for number in range(2 if _common.quick() else SWEEPS):
            place = Path(folder) / str(number)
            place.mkdir()
            found.append(sweep(file, place))
            wall, total = found[-1].wall, found[-1].parts.total
            report.say(f"sweep {number}: {wall:.1f} s, its parts {total:.1f} s")
    for one in fields(Parts):
        middle = statistics.median(getattr(swept.parts, one.name) for swept in found)
        report.say(f"  {one.name.replace('_', ' ')}: {middle:.2f} s")
    beside, before, after = (
        statistics.median(getattr(swept, name) for swept in found)
        for name in ("beside", "before", "after")
    )
    report.say(
        f"  orchestration: {beside:.2f} s, of which {before:.2f} s before the first cell and "
        f"{after:.2f} s after the last"
    )
    logs = [math.log(swept.wall / swept.parts.total) for swept in found]
    report.end(_common.estimate(logs), "wall time of a sweep / sum of its parts")


if __name__ == "__main__":
    main()
