"""A job of this machine as it reads inside a container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.containers.rules import Mount
from harness.execution.contained import contained

RUNNER, WORK, SOCKETS = Path("/cache/runner/1"), Path("/store/w/cell"), Path("/tmp/h/1")
ALWAYS = (
    Mount("/cache/runner/1", "/opt/harness"),
    Mount("/store/w/cell/job.json", "/work/job.json"),
    Mount("/store/w/cell/log.txt", "/work/log.txt"),
)


def test_a_cell_sees_its_model_and_its_inputs_and_nothing_else() -> None:
    job: dict[str, Any] = {
        "schema_version": 1,
        "kind": "infer",
        "parent_death_signal": True,
        "backend": "onnxruntime",
        "model": {"path": "/home/me/models/m.onnx", "format": "onnx"},
        "inputs": {"kind": "pixels", "path": "/cache/pixels/ab/pixels.npy", "count": 3},
    }
    before = str(job)
    document, mounts = contained(job, RUNNER, WORK, SOCKETS)
    assert document == {
        "schema_version": 1,
        "kind": "infer",
        "backend": "onnxruntime",
        "model": {"path": "/inputs/model/m.onnx", "format": "onnx"},
        "inputs": {"kind": "pixels", "path": "/inputs/data/pixels.npy", "count": 3},
        "work": "/work",
        "socket": "/run/harness/s",
    }
    assert mounts == (
        *ALWAYS,
        Mount("/home/me/models/m.onnx", "/inputs/model/m.onnx"),
        Mount("/cache/pixels/ab/pixels.npy", "/inputs/data/pixels.npy"),
        Mount("/tmp/h/1", "/run/harness", read_only=False),
    )
    assert str(job) == before, "the caller's document is its own"


def test_weights_beside_a_model_keep_their_places() -> None:
    job = {
        "kind": "infer",
        "model": {"path": "/m/big.onnx", "format": "onnx"},
        "inputs": {"path": "/d/x.npy"},
    }
    _, mounts = contained(
        job, RUNNER, WORK, SOCKETS, [Path("/m/big.onnx.data"), Path("/m/parts/1.bin")]
    )
    assert mounts[4:6] == (
        Mount("/m/big.onnx.data", "/inputs/model/big.onnx.data"),
        Mount("/m/parts/1.bin", "/inputs/model/parts/1.bin"),
    )


def test_a_conversion_writes_into_its_own_folder_and_has_no_socket() -> None:
    job = {
        "kind": "convert",
        "converter": "onnx>torch",
        "source": {"path": "/m/m.onnx", "format": "onnx"},
        "target": "/store/w/cell/model.pt2",
        "options": {},
    }
    document, mounts = contained(job, RUNNER, WORK, SOCKETS)
    assert document["target"] == "/work/model.pt2"
    assert document["source"] == {"path": "/inputs/model/m.onnx", "format": "onnx"}
    assert "socket" not in document
    assert mounts == (*ALWAYS, Mount("/m/m.onnx", "/inputs/model/m.onnx"))
    relative, _ = contained({**job, "target": "model.pt2"}, RUNNER, WORK, SOCKETS)
    assert relative == document


def test_a_probe_sees_only_the_runner() -> None:
    document, mounts = contained({"kind": "probe", "backends": []}, RUNNER, WORK, SOCKETS)
    assert document == {"kind": "probe", "backends": [], "work": "/work"}
    assert mounts == ALWAYS


def test_images_are_shown_by_the_folder_that_holds_them_all() -> None:
    job: dict[str, Any] = {
        "schema_version": 1,
        "kind": "prepare",
        "preprocessor": "opencv",
        "images": ["/data/val/n01/a.JPEG", "/data/val/n02/b.JPEG"],
        "source": None,
        "target": "/store/w/cell/pixels.npy",
    }
    document, mounts = contained(job, RUNNER, WORK, SOCKETS)
    assert document["images"] == ["/inputs/images/n01/a.JPEG", "/inputs/images/n02/b.JPEG"]
    assert document["target"] == "/work/pixels.npy"
    assert mounts == (*ALWAYS, Mount("/data/val", "/inputs/images"))


def test_pixels_that_are_corrupted_are_shown_as_data() -> None:
    job = {"kind": "prepare", "images": None, "source": "/cache/p/pixels.npy", "target": "p.npy"}
    document, mounts = contained(job, RUNNER, WORK, SOCKETS)
    assert document["source"] == "/inputs/data/pixels.npy"
    assert mounts == (*ALWAYS, Mount("/cache/p/pixels.npy", "/inputs/data/pixels.npy"))


def test_inputs_that_calibrate_a_conversion_are_shown_as_data() -> None:
    job: dict[str, Any] = {
        "kind": "convert",
        "source": {"path": "/store/a/model.savedmodel", "format": "savedmodel"},
        "target": "/store/w/cell/model.tflite",
        "calibration": {"inputs": {"path": "/cache/pixels.npy", "count": 9}, "rows": [0, 8]},
    }
    document, mounts = contained(job, RUNNER, WORK, SOCKETS)
    assert document["calibration"] == {
        "inputs": {"path": "/inputs/data/pixels.npy", "count": 9},
        "rows": [0, 8],
    }
    assert mounts[3:] == (
        Mount("/store/a/model.savedmodel", "/inputs/model/model.savedmodel"),
        Mount("/cache/pixels.npy", "/inputs/data/pixels.npy"),
    )


def test_the_cache_of_a_cell_is_the_one_more_place_that_it_may_write_to() -> None:
    job = {"kind": "infer", "inputs": {"path": "/d/x.npy"}, "cache": "/store/caches/ab/abc/batch-1"}
    document, mounts = contained(job, RUNNER, WORK, SOCKETS)
    assert document["cache"] == "/cache"
    assert [mount for mount in mounts if not mount.read_only] == [
        Mount("/store/caches/ab/abc/batch-1", "/cache", read_only=False),
        Mount("/tmp/h/1", "/run/harness", read_only=False),
    ]
