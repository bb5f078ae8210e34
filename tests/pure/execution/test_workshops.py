"""Which environment converts for a stack that cannot."""

from __future__ import annotations

from pathlib import Path

from harness.environments.folders import EnvironmentFile, EnvironmentFolder
from harness.execution.workshops import choose, lacking
from harness.plan.build import Stack
from harness.spec.models import EnvironmentEntry


def folder(path: Path, version: str, converter: str, accelerator: str = "cpu") -> EnvironmentFolder:
    path.mkdir()
    (path / "requirements-3.11.lock").touch()
    document = {
        "stack": "tensorflow",
        "version": version,
        "package": "tensorflow-cpu",
        "python": ["3.11"],
        "accelerator": accelerator,
        "backends": {"tensorflow.graph": ["keras"]},
        "converters": [converter],
    }
    return EnvironmentFolder(path.name, path, EnvironmentFile.model_validate(document))


def test_the_highest_version_on_the_cpu_that_makes_the_format_is_chosen(tmp_path: Path) -> None:
    known = [
        folder(tmp_path / "old", "2.15.1", "onnx>tflite"),
        folder(tmp_path / "new", "2.21.0", "onnx>tflite"),
        folder(tmp_path / "gpu", "2.22.0", "onnx>tflite", "cuda"),
        folder(tmp_path / "torch", "9.0", "onnx>torch"),
    ]
    chosen = choose(known, "onnx", "tflite")
    assert chosen is not None
    assert chosen.name == "new"
    made = choose(known, "onnx", "pt2")
    assert made is not None
    assert made.name == "torch"
    assert choose(known, "tflite", "onnx") is None


def test_a_folder_without_a_lock_converts_nothing(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", "2.21.0", "onnx>tflite")
    (one.path / "requirements-3.11.lock").unlink()
    assert choose([one], "onnx", "tflite") is None


def test_only_what_a_backend_has_no_way_to_is_lacking() -> None:
    stack = Stack(
        entry=EnvironmentEntry(name="e"),
        name="e",
        stack="several",
        version="1",
        identity="i",
        formats={"torch.eager": ("pt2",), "tflite": ("tflite",), "onnxruntime": ("onnx",)},
        converters=("onnx>torch",),
        executor="venv",
    )
    assert lacking(stack, "onnx") == {"tflite"}
    assert lacking(stack, "tflite") == {"pt2", "onnx"}
