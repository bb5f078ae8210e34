"""How near a sweep with a budget ends to it: a matrix of hours, planned into ten minutes.

    python -m benchmarks.budget [--json] [--repetitions 3]

The matrix: MobileNetV2 and SqueezeNet in ONNX Runtime, OpenVINO, PyTorch (every way that it has of
running a model) and TVM, each at every optimisation level that it has, at batch 1 and 4, over 500
photographs, each cell timed for two minutes in 30 rounds. It is started as a person starts it,
`harness sweep … --budget 600s`, each time in a fresh store; the environments are built before, and
the wall time is that of the process, from its start to its end, with its probe, its comparisons and
its page.

Each repetition tells what all of it would take, as far as was foreseen (what the probe measured, and
guesses where it had no time), what was cut, and how many cells were left out. Then the wall time
by the budget, the geometric mean over the repetitions with a t interval; three of them take half an
hour. One repetition alone has no interval: low and high are the ratio itself.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import _common

REPETITIONS = 3
SECONDS = 600
_MODELS = (
    {"path": "models/squeezenet1.1_224.onnx", "recipe": "torch"},
    {"path": "models/mobilenet_v2_1.0_224_tf.onnx", "recipe": "tf", "class_offset": 1},
)
_ENVIRONMENTS: tuple[dict[str, Any], ...] = (
    {"name": "onnxruntime-1.31"},
    {"name": "openvino-2026.4"},
    {"name": "torch-2.13", "backends": ["all"]},
    {"name": "tvm-0.27"},
)


def spec() -> dict[str, Any]:
    """The sweep file: hours; or, to see that the benchmark works, a minute."""
    quick = _common.quick()
    models = [{**model, "path": str(_common.data(str(model["path"])))} for model in _MODELS]
    return {
        "schema_version": 1,
        "name": "budget",
        "models": models[:1] if quick else models,
        "data": {"path": str(_common.data("data/imagenet-sample/val"))},
        "environments": list(_ENVIRONMENTS[:1] if quick else _ENVIRONMENTS),
        "axes": {
            "level": ["default", "basic"] if quick else ["default", "basic", "extended"],
            "batch": [1] if quick else [1, 4],
        },
        "executor": ["venv"],
        "timing": {"rounds": 30, "min_seconds": 120},
    }


def sweep(file: Path, store: Path, seconds: float) -> tuple[float, dict[str, Any]]:
    """Run it once: wall time in seconds, and the result."""
    started = time.monotonic()
    arguments = [str(file), "--json", "--budget", f"{seconds:g}s", "--store", str(store)]
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", "sweep", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=_common.REPOSITORY,
    )
    wall = time.monotonic() - started
    if done.returncode not in {0, 3}:
        sys.exit(f"The sweep failed with status {done.returncode}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return wall, found


def said(wall: float, result: dict[str, Any]) -> list[str]:
    """What became of a repetition, for a person."""
    budget = result["budget"]
    foreseen, images = budget["foreseen_seconds"], budget["images"]
    share = budget["timing_share"]
    timed = (
        "nothing timed" if share is None else f"timing {share['least']:.1%} to {share['most']:.1%}"
    )
    gone = len(budget["left_out"]) + budget["left_out_late"]
    return [
        f"{wall:.1f} s of {budget['seconds']:g} s; all of it would take {foreseen['asked'] / 3600:.1f} h",
        f"  {images['chosen']} of {images['asked']} images, {timed} of what was asked for",
        f"  {len(result['cells'])} cells, {gone} left out, {len(result['failures'])} failed; "
        f"{budget['probe']['cells']} probed in {budget['probe']['seconds']:.0f} s",
    ]


def main() -> None:
    """Measure and print."""
    report, given = _common.begin_repeated("budget", __doc__, REPETITIONS, {})
    seconds = 30.0 if _common.quick() else float(SECONDS)
    document = spec()
    for environment in document["environments"]:
        _common.interpreter(environment["name"])
    logs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_text(json.dumps(document), encoding="utf-8")
        for number in range(given.repetitions):
            wall, result = sweep(file, Path(folder) / str(number), seconds)
            report.say("\n".join(said(wall, result)))
            logs.append(math.log(wall / seconds))
    if len(logs) > 1:
        found = _common.estimate(logs)
    else:
        found = _common.Estimate(*[math.exp(logs[0])] * 3)
    report.end(found, "wall time of a sweep / its budget")


if __name__ == "__main__":
    main()
