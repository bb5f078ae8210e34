"""Prepare jobs by a real process, with Pillow of this Python and a library for corruptions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from support.odd_images import rough, write_odd_images

from harness.datasets.decode import ImageError, image_pixels
from harness.datasets.recipes import Geometry
from runner.documents import schema

REPOSITORY = Path(__file__).resolve().parents[3]
GEOMETRY = {
    "height": 32,
    "width": 40,
    "resize_height": 37,
    "resize_width": 46,
    "interpolation": "bilinear",
}


def run(folder: Path, **job: Any) -> tuple[int, list[dict[str, Any]], str]:
    """Exit status, events, standard error."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    path = folder / "job.json"
    document = {"schema_version": 1, "kind": "prepare", "work": str(work), **job}
    path.write_text(json.dumps({"target": str(work / "pixels.npy"), **document}))
    with subprocess.Popen(
        [sys.executable, "-m", "runner", str(path)],
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY), PYTHONWARNINGS="error"),
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        events = [json.loads(line) for line in process.stdout]
        log = process.stderr.read()
    for event in events:
        Draft202012Validator(schema("event")).validate(event)
    return process.returncode, events, log


def by_pillow(folder: Path, images: list[Path], **job: Any) -> dict[str, Any]:
    """The event `prepared`, which has to come last."""
    named = [str(path) for path in images]
    status, events, log = run(folder, preprocessor="pillow", geometry=GEOMETRY, images=named, **job)
    assert status == 0, log
    assert events[-1]["event"] == "prepared"
    return events[-1]


def error(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "work" / "error.json").read_text())
    return found


def test_images_that_fail_are_named_and_the_others_are_what_the_orchestrator_prepares(
    tmp_path: Path,
) -> None:
    images = [*write_odd_images(tmp_path / "odd"), tmp_path / "absent.jpg", tmp_path]
    event = by_pillow(tmp_path, images)
    failed = {images[entry["place"]].name: entry["reason"] for entry in event["failed"]}
    assert {name: words for name, words in failed.items() if name != tmp_path.name} == {
        "absent.jpg": "it cannot be read: No such file or directory",
        "cut.jpg": failed["cut.jpg"],
        "cut.png": failed["cut.png"],
        "empty.jpg": "the file is empty",
        "huge.jpg": "it has more than 89478485 pixels",
        "huge.png": "it has more than 89478485 pixels",
        "text.jpg": "it is not an image in a known format",
    }
    assert failed[tmp_path.name] == "it is not a file"
    assert "truncated" in failed["cut.jpg"]
    assert "truncated" in failed["cut.png"]
    plan = Geometry(32, 40, 37, 46, "bilinear")
    kept = [path for path in images if path.name not in failed]
    rows = dict(
        zip([path.name for path in kept], np.load(tmp_path / "work/pixels.npy"), strict=True)
    )
    assert (event["count"], event["dtype"]) == (len(kept), "uint8")
    for path in kept:
        if path.name != "grey16.png":
            assert np.array_equal(rows[path.name], image_pixels(path, plan)), path.name
    # What Pillow's own convert("RGB") makes of 16 bits: everything is cut off at 255.
    assert rows["grey16.png"].min() == 255
    assert image_pixels(tmp_path / "odd/grey16.png", plan).max() < 230


def test_the_event_says_what_was_made_and_by_what(tmp_path: Path) -> None:
    rough().save(tmp_path / "a.jpg")
    event = by_pillow(tmp_path, [tmp_path / "a.jpg"], settings={"reducing_gap": 2})
    target = tmp_path / "work" / "pixels.npy"
    assert event["files"] == {"pixels.npy": hashlib.sha256(target.read_bytes()).hexdigest()}
    assert event["settings"] == {"draft": False, "reducing_gap": 2.0}
    assert list(event["versions"]) == ["pillow", "libjpeg"]
    assert event["failed"] == []
    assert np.load(target).shape == (1, 32, 40, 3)


def test_more_threads_make_the_same_file_in_the_same_order(tmp_path: Path) -> None:
    images = []
    for number in range(60):
        images.append(tmp_path / f"{number}.png")
        if number % 7 == 3:
            images[-1].write_bytes(b"no image")
        else:
            rough(60 + number, 50, number).save(images[-1])
    one = by_pillow(tmp_path, images)
    three = by_pillow(tmp_path, images, threads=3)
    assert [entry["place"] for entry in one["failed"]] == list(range(3, 60, 7))
    assert three == one


def test_no_image_at_all_is_an_empty_array(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    event = by_pillow(tmp_path, [tmp_path / "a.jpg"])
    assert event["count"] == 0
    assert np.load(tmp_path / "work/pixels.npy").shape == (0, 32, 40, 3)


def test_progress_is_told(tmp_path: Path) -> None:
    rough().save(tmp_path / "a.png")
    _, events, _ = run(
        tmp_path, preprocessor="pillow", geometry=GEOMETRY, images=[str(tmp_path / "a.png")] * 3
    )
    told = [(e["done"], e["total"]) for e in events if e["event"] == "progress"]
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"preprocessor": "turbojpeg"}, "preprocessor 'turbojpeg'"),
        ({"preprocessor": "tensorflow"}, "does not import in this environment"),
        ({"settings": {"dct": "fast"}}, "setting 'dct'"),
        ({"settings": {"draft": "yes"}}, "value of draft 'yes'"),
    ],
)
def test_what_is_not_to_be_had_is_unsupported_and_makes_nothing(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    job = {"preprocessor": "pillow", "geometry": GEOMETRY, "images": ["/a.jpg"], **change}
    status, events, _ = run(tmp_path, **job)
    assert (status, events) == (1, [])
    assert error(tmp_path)["kind"] == "unsupported"
    assert words in error(tmp_path)["message"]
    assert not (tmp_path / "work" / "pixels.npy").exists()


def test_corruptions_of_what_is_no_array_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"no array")
    corruption = {"name": "fog", "severity": 1, "seed": 0, "keys": []}
    status, _, _ = run(tmp_path, source=str(tmp_path / "x.npy"), corruption=corruption)
    assert status == 1
    assert error(tmp_path)["kind"] == "job"
    assert "truncated or not a .npy file?" in error(tmp_path)["message"]


def test_what_the_orchestrator_refuses_pillow_refuses(tmp_path: Path) -> None:
    """The reasons are worded alike, so that a list of left-out images reads as one."""
    images = write_odd_images(tmp_path / "odd")
    failed = {e["place"]: e["reason"] for e in by_pillow(tmp_path, images)["failed"]}
    refused = {}
    for place, path in enumerate(images):
        try:
            image_pixels(path, Geometry(32, 40, 37, 46, "bilinear"))
        except ImageError as reason:
            refused[place] = str(reason)
    assert failed == refused
