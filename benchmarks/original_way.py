"""The same work done the original's way and ours: two cells, hundreds of photographs, label flips.

    python -m benchmarks.original_way [--json]

The work: MobileNetV2 in ONNX Runtime 1.31 on one thread, with all graph optimisations and with none,
over the same photographs; how many labels differ between the two.

* The original's way, as its code does it: one image after the other is read, a session is made for
  it, the five likeliest classes and the seconds are written into a text file of its own; the two
  folders of text files are read again and compared. (The original makes an executor of the compiled
  model anew for each image; a session is what that is in ONNX Runtime.) A process a cell, `loops/`.
* Ours, answers only: `harness sweep` in a fresh store with `timing.enabled: false`. The photographs
  are decoded once for both cells, and this is not taken from the cache: each sweep has a cache
  without pixels. All scores are kept, compared and judged, and the page is written.
* Ours with times: the same with timing as by default: warm-up and 16 interleaved rounds of both cells
  and a control. The original's seconds are one run an image, first calls included.

The three are done in turn, in balanced order; environments are built before. The result is the
original's wall time by that of ours *with times*, since the original's files have times too: this is
the smaller of the two ratios, and the other is printed above it. It is the geometric mean over the
rounds, with a t interval. What the original does costs more with each image, and what timing costs
does not: with more images the ratio is larger.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import _common
from harness.environments.variables import runner_variables
from harness.execution.rounds import balanced_order
from harness.paths import cache_dir

ENVIRONMENT = "onnxruntime-1.31"
MODEL = "models/mobilenet_v2_1.0_224_tf.onnx"
IMAGES = "data/imagenet-sample/val"
COUNT = 300
ROUNDS = 3
_LEVELS = {"all": "ORT_ENABLE_ALL", "disabled": "ORT_DISABLE_ALL"}
_OFFSET = 1


def photographs() -> list[Path]:
    """The first so many, sorted."""
    found = sorted(_common.data(IMAGES).glob("*/*.JPEG"))
    return found[: 4 if _common.quick() else COUNT]


def the_originals_way(python: Path, pillow: Path, listed: Path, folder: Path) -> int:
    """Do it image by image; how many labels differ."""
    variables = runner_variables(folder, pillow)
    model = str(_common.data(MODEL))
    outs = [folder / name for name in _LEVELS]
    for level, out in zip(_LEVELS.values(), outs, strict=True):
        program = str(_common.LOOPS / "session_an_image.py")
        given = [model, level, str(_OFFSET), str(listed), str(out)]
        _run([str(python), program, *given], variables, folder)
    compare = str(_common.LOOPS / "compare_texts.py")
    return int(_run([str(python), compare, *map(str, outs)], variables, folder))


def our_way(listed: Path, folder: Path, *, timed: bool) -> int:
    """Do it by a sweep; how many labels differ."""
    settings = [{"graph_optimization_level": level} for level in _LEVELS]
    timing: dict[str, Any] = {"enabled": timed}
    if _common.quick():
        timing |= {"rounds": 2, "round_seconds": 0.05, "min_seconds": 0, "min_queries": 1}
    document = {
        "schema_version": 1,
        "name": "original-way",
        "models": [{"path": str(_common.data(MODEL)), "recipe": "tf", "class_offset": _OFFSET}],
        "data": {"path": str(_common.data(IMAGES)), "only": str(listed)},
        "environments": [{"name": ENVIRONMENT, "settings": settings}],
        "executor": ["venv"],
        "timing": timing,
    }
    file = folder / "sweep.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    arguments = ["sweep", str(file), "--store", str(folder / "store"), "--json"]
    said = _run(
        [sys.executable, "-m", "harness.cli.main", *arguments],
        {**os.environ, "HARNESS_CACHE": str(without_pixels(cache_dir(), folder / "cache"))},
        _common.REPOSITORY,
    )
    (pair,) = json.loads(said)["pairs"]
    return int(pair["flips"])


def without_pixels(cache: Path, made: Path) -> Path:
    """A cache that has all that another has, but no prepared pixels."""
    made.mkdir()
    for entry in cache.iterdir():
        if entry.name != "pixels":
            (made / entry.name).symlink_to(entry)
    return made


def _run(command: list[str], env: Mapping[str, str], cwd: Path) -> str:
    """What a program says; it is told where it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(env), cwd=cwd
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def main() -> None:
    """Measure and print."""
    report = _common.begin("original_way", __doc__)
    python = _common.interpreter(ENVIRONMENT)
    paths = photographs()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        pillow = top / "pillow"
        _common.install(f"pillow=={version('pillow')}", python, pillow)
        whole, inside = top / "paths.txt", top / "inside.txt"
        root = _common.data(IMAGES)
        whole.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
        inside.write_text("".join(f"{path.relative_to(root)}\n" for path in paths), "utf-8")
        ways: dict[str, Callable[[Path], int]] = {
            "the original's way": lambda folder: the_originals_way(python, pillow, whole, folder),
            "ours, answers only": lambda folder: our_way(inside, folder, timed=False),
            "ours with times": lambda folder: our_way(inside, folder, timed=True),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for order in balanced_order(len(ways), 2 if _common.quick() else ROUNDS):
            for index in order:
                way = list(ways)[index]
                with tempfile.TemporaryDirectory(dir=top) as folder:
                    started = time.monotonic()
                    flips = ways[way](Path(folder))
                    seconds[way].append(time.monotonic() - started)
                report.say(f"{way}: {seconds[way][-1]:.1f} s, {flips} labels differ")
    original, answers, timed = seconds.values()
    report.say(f"{len(paths)} images; answers only: {_ratio(original, answers)}")
    rate = 2 * len(paths) / statistics.median(original)
    report.say(f"the original's way: {rate:.1f} images a second")
    report.end(_ratio(original, timed), "wall time of the original's way / of ours with times")


def _ratio(above: list[float], below: list[float]) -> _common.Estimate:
    return _common.estimate([math.log(a / b) for a, b in zip(above, below, strict=True)])


if __name__ == "__main__":
    main()
