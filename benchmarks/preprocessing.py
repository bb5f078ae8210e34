"""What each library makes of the same photographs: against the reference pixels, and how fast.

    python -m benchmarks.preprocessing [--json]

Decodes the 500 photographs below HARNESS_TEST_DATA (../shared beside this checkout by default) with
every preprocessor and setting, at 224 of 256 pixels, bilinear, and prints a table: the share of
images with any different pixel, the mean and the largest absolute difference of a channel's value
(0 to 255), and images a second on one core (the fastest of three rounds; the time is from the first
image done to the last, so that importing a library does not count). Differences are to what the
harness prepares itself, the reference. Environments are built before anything is timed.

The result is the time of the reference by that of the fastest library and setting, the geometric
mean over the rounds with a t interval. Which one is the fastest is chosen by the same rounds.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _common
from harness.datasets.decode import decoder_versions, image_pixels
from harness.datasets.recipes import PRESETS, Geometry, geometry
from harness.environments.provision import Provisioned, provision
from harness.environments.registry import resolve
from harness.progress import SilentProgress

ROUNDS = 3
ENVIRONMENTS = ("imaging-13.0", "torch-2.13", "tensorflow-2.21", "tensorflow-2.15")


@dataclass(frozen=True)
class Measured:
    """Pixels [N, 224, 224, 3], and images a second."""

    pixels: np.ndarray
    rate: float
    versions: dict[str, Any]


def reference(paths: list[Path], plan: Geometry) -> Measured:
    """What the harness prepares itself."""
    rows, begin = [], 0.0
    for path in paths:
        rows.append(image_pixels(path, plan))
        begin = begin or time.monotonic()
    rate = (len(paths) - 1) / (time.monotonic() - begin)
    return Measured(np.stack(rows), rate, decoder_versions())


def by_library(
    made: Provisioned, name: str, settings: dict[str, Any], paths: list[Path], plan: Geometry
) -> Measured:
    """What a preprocessor makes of them, inside its environment."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "pixels.npy"
        job = Path(folder) / "job.json"
        document = {
            "schema_version": 1,
            "kind": "prepare",
            "work": folder,
            "preprocessor": name,
            "settings": settings,
            "geometry": plan.document(),
            "images": [str(path) for path in paths],
            "target": str(target),
        }
        job.write_text(json.dumps(document), encoding="utf-8")
        with subprocess.Popen(
            [str(made.python), "-m", "runner", str(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(_common.REPOSITORY)},
        ) as process:
            assert process.stdout is not None
            begin, event = 0.0, {}
            for line in process.stdout:
                begin = begin or time.monotonic()
                read = json.loads(line)
                if read["event"] == "progress":
                    end = time.monotonic()
                event = read
        assert event.get("event") == "prepared", f"{name} {settings} failed"
        assert event["failed"] == [], event["failed"]
        return Measured(np.load(target), (len(paths) - 1) / (end - begin), event["versions"])


def every_setting(made: Provisioned) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each preprocessor that the environment declares, with each of its settings that it accepts."""
    for name in made.env.preparing.preprocessors:
        offered = made.probe["preprocessors"][name]["offer"]["settings"]
        for values in itertools.product(*offered.values()):
            settings = dict(zip(offered, values, strict=True))
            # Pillow images are always antialiased, and torchvision refuses to say otherwise.
            if settings.get("antialias") is False and settings.get("tensor") is False:
                continue
            yield name, settings


def main() -> None:
    """Measure and print."""
    report = _common.begin("preprocessing", __doc__)
    paths = sorted(_common.data("data/imagenet-sample/val").glob("*/*.JPEG"))
    if _common.quick():
        del paths[8:]
    rounds = 2 if _common.quick() else ROUNDS
    plan = geometry(PRESETS["torch"], 224, 224)
    built = [provision(resolve(name), SilentProgress()) for name in ENVIRONMENTS]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    report.say(
        f"{datetime.now(UTC):%Y-%m-%d}, {len(paths)} images, Python {platform.python_version()}"
    )
    ours = [reference(paths, plan) for _ in range(rounds)]
    expected = max(ours, key=lambda one: one.rate)
    report.say(f"reference: {_words(expected.versions)}")
    report.say("| environment | preprocessor | images that differ | mean | largest | images/s |")
    report.say("|---|---|---|---|---|---|")
    report.say(f"| – | `reference` | – | – | – | {expected.rate:.0f} |")
    versions: dict[str, dict[str, Any]] = {}
    seen: dict[tuple[str, str], str] = {}
    fastest: list[Measured] = []
    for made in built:
        for name, settings in every_setting(made):
            # The same version of a library in a second environment is the same code.
            library = (name, made.probe["preprocessors"][name]["version"])
            if seen.setdefault(library, made.env.name) != made.env.name:
                continue
            runs = [by_library(made, name, settings, paths, plan) for _ in range(rounds)]
            found = max(runs, key=lambda one: one.rate)
            if not fastest or found.rate > max(one.rate for one in fastest):
                fastest = runs
            versions[f"{made.env.name} {name}"] = found.versions
            apart = np.abs(found.pixels.astype(np.float32) - expected.pixels)
            differ = np.count_nonzero(apart.reshape(len(paths), -1).max(axis=1)) / len(paths)
            spelled = ",".join([name, *(f"{key}={_plain(v)}" for key, v in settings.items())])
            report.say(
                f"| {made.env.name} | `{spelled}` | {differ:.1%} | {apart.mean():.3f} "
                f"| {apart.max():.1f} | {found.rate:.0f} |"
            )
    for what, found_versions in versions.items():
        report.say(f"{what}: {_words(found_versions)}")
    logs = [math.log(lib.rate / own.rate) for lib, own in zip(fastest, ours, strict=True)]
    report.end(_common.estimate(logs), "time of the reference / of the fastest library")


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(versions: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


if __name__ == "__main__":
    main()
