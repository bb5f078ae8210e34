"""ImageNet-C's corruptions in the shipped environment: deterministic, and stronger by severity."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.installed import cannot_install
from support.odd_images import rough

from harness.environments.provision import Provisioned, provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

REPOSITORY = Path(__file__).resolve().parents[3]
KEYS = ["ant", "bee", "cat"]
NAMES = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
)
STEADY = ("gaussian_noise", "shot_noise", "gaussian_blur", "defocus_blur", "contrast", "brightness")
"""Whose distance to the clean image grows with every step, on any image."""


@cache
def imaging() -> Provisioned:
    try:
        return provision(resolve("imaging-13.0"), SilentProgress())
    except HarnessError as error:
        cannot_install("imaging-13.0", error)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of 96 x 112 pixels."""
    path = tmp_path_factory.mktemp("rows") / "pixels.npy"
    np.save(path, np.stack([np.asarray(rough(112, 96, seed)) for seed in range(3)]))
    return path


def corrupted(
    folder: Path, source: Path, name: str, severity: int = 3, keys: list[str] = KEYS, seed: int = 0
) -> tuple[np.ndarray, dict[str, Any]]:
    target = folder / "corrupted.npy"
    corruption = {"name": name, "severity": severity, "seed": seed, "keys": keys}
    job = {
        "schema_version": 1,
        "kind": "prepare",
        "work": str(folder),
        "source": str(source),
        "corruption": corruption,
        "target": str(target),
    }
    (folder / "job.json").write_text(json.dumps(job))
    with subprocess.Popen(
        [str(imaging().python), "-m", "runner", str(folder / "job.json")],
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0, (folder / "error.json").read_text()
    return np.load(target), events[-1]


def test_the_library_has_those_of_imagenet_c() -> None:
    found = imaging().probe["corruptions"]["imagecorruptions"]
    assert found["ok"], found
    assert tuple(found["offer"]["names"]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_the_same_again_in_another_process_order_and_company(
    tmp_path: Path, rows: Path, name: str
) -> None:
    first, event = corrupted(tmp_path, rows, name)
    clean = np.load(rows)
    assert first.shape == clean.shape
    assert (first != clean).any(axis=(1, 2, 3)).all()
    assert event["count"] == 3
    assert "imagecorruptions-imaug" in event["versions"]
    assert event["settings"] == {"corruption": name, "severity": 3, "seed": 0}
    np.save(tmp_path / "turned.npy", clean[::-1][:2])
    turned, _ = corrupted(tmp_path, tmp_path / "turned.npy", name, keys=KEYS[::-1][:2])
    assert np.array_equal(turned, first[::-1][:2])


@pytest.mark.parametrize("name", STEADY)
def test_a_higher_severity_is_further_from_the_clean_image(
    tmp_path: Path, rows: Path, name: str
) -> None:
    clean = np.load(rows).astype(float)
    distances = []
    for severity in range(1, 6):
        made, _ = corrupted(tmp_path, rows, name, severity)
        distances.append(float(np.abs(made - clean).mean()))
    assert all(weaker < stronger for weaker, stronger in itertools.pairwise(distances))
    assert distances[4] > 1.2 * distances[0] > 0


@pytest.mark.parametrize("name", ["gaussian_noise", "motion_blur", "frost", "glass_blur"])
def test_the_same_picture_under_another_key_or_seed_is_corrupted_otherwise(
    tmp_path: Path, rows: Path, name: str
) -> None:
    np.save(tmp_path / "same.npy", np.repeat(np.load(rows)[:1], 2, axis=0))
    made, _ = corrupted(tmp_path, tmp_path / "same.npy", name, keys=["ant", "bee"])
    again, _ = corrupted(tmp_path, tmp_path / "same.npy", name, keys=["ant", "bee"], seed=1)
    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], again[0])
