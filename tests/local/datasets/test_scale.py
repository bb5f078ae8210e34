"""Large data sets: found and drawn from in seconds, decoded by several processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets.classes import imagenet
from harness.datasets.layouts import discover
from harness.datasets.pixels import prepare
from harness.datasets.recipes import PRESETS
from harness.datasets.subsets import subset
from harness.progress import SilentProgress

CLASSES, EACH = 1000, 50
SECONDS = 60
"""Generous: it takes about two on an idle machine, and minutes if work were done file by file."""


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """50,000 names of one file in folders, and a list with all of them."""
    root = tmp_path_factory.mktemp("large") / "val"
    root.mkdir()
    one = root.parent / "one.JPEG"
    Image.new("RGB", (8, 8)).save(one, "JPEG")
    lines = []
    for place, entry in enumerate(imagenet()):
        folder = root / str(entry.wnid)
        folder.mkdir()
        for i in range(EACH):
            name = f"ILSVRC2012_val_{place * EACH + i + 1:08d}.JPEG"
            os.link(one, folder / name)
            lines.append(f"{name} {place}\n")
    listed = root.parent / "labels.txt"
    listed.write_text("".join(lines))
    return root, listed


@pytest.mark.parametrize("by_list", [False, True])
def test_50_000_images_are_found_and_sampled_in_seconds(
    labelled: tuple[Path, Path], by_list: bool
) -> None:
    root, listed = labelled
    started = time.monotonic()
    dataset = discover(root, labels=listed if by_list else None)
    sampled = subset(dataset, limit=2500, seed=1)
    some = subset(dataset, classes=["tench", "n15075141", 7], limit=30)
    assert time.monotonic() - started < SECONDS
    assert len(dataset.items) == CLASSES * EACH
    assert all(item.label == (int(Path(item.path).stem[-8:]) - 1) // EACH for item in dataset.items)
    counts = np.bincount([item.label or 0 for item in sampled.items], minlength=CLASSES)
    assert (counts.sum(), counts.min(), counts.max()) == (2500, 2, 3)
    assert sorted({item.label for item in some.items}) == [0, 7, 999]
    assert len(some.items) == 30


def test_500_images_by_two_processes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for i in range(500):
        noise[0, 0] = i % 256
        Image.fromarray(np.roll(noise, i, axis=1)).save(data / f"{i:03d}.png")
    (data / "250.png").write_bytes(b"")
    inputs = prepare(discover(data), PRESETS["tf"], 48, 48, tmp_path / "cache", SilentProgress(), 2)
    assert (inputs.count, [e.name for e in inputs.excluded]) == (499, ["250.png"])
    array = np.load(inputs.path, mmap_mode="r")
    assert array.shape == (499, 48, 48, 3)
    for place in (0, 249, 250, 498):
        alone = tmp_path / f"alone-{place}"
        alone.mkdir()
        os.link(data / inputs.names[place], alone / "x.png")
        one = prepare(discover(alone), PRESETS["tf"], 48, 48, tmp_path / "c", SilentProgress(), 1)
        assert np.array_equal(np.load(one.path)[0], array[place])
