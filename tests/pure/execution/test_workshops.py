"""Which environment converts for a stack that cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.environments import adhoc
from harness.environments.folders import EnvironmentFile, EnvironmentFolder
from harness.execution.workshops import choose, lacking
from harness.plan.parts import Stack
from harness.spec.models import EnvironmentEntry


def folder(
    path: Path,
    version: str,
    converter: str,
    accelerator: str = "cpu",
    stack: str = "tensorflow",
) -> EnvironmentFolder:
    path.mkdir()
    (path / "requirements-3.11.lock").touch()
    document = {
        "stack": stack,
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
    assert choose(known, "tflite", "onnx") is None


def test_a_stack_that_is_asked_first_wins_over_a_higher_number(tmp_path: Path) -> None:
    torch = folder(tmp_path / "torch", "99.0", "onnx>tflite", stack="torch")
    tensorflow = folder(tmp_path / "tensorflow", "2.15.1", "onnx>tflite")
    assert choose([torch, tensorflow], "onnx", "tflite") is tensorflow


def test_what_was_made_from_a_pin_never_converts_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adhoc, "home", lambda: tmp_path)
    kept = folder(tmp_path / "tensorflow-cpu-2.22.0", "2.22.0", "onnx>tflite")
    assert choose([kept], "onnx", "tflite") is None


def test_a_folder_without_a_lock_converts_nothing(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", "2.21.0", "onnx>tflite")
    (one.path / "requirements-3.11.lock").unlink()
    assert choose([one], "onnx", "tflite") is None


STACK = Stack(
    entry=EnvironmentEntry(name="e"),
    name="e",
    stack="several",
    version="1",
    identity="i",
    formats={
        "torch.eager": ("pt2",),
        "tflite": ("tflite",),
        "jax": ("jax",),
        "onnxruntime": ("onnx",),
    },
    converters=("onnx>torch",),
    executor="venv",
)


@pytest.mark.parametrize(
    ("file_format", "wanted", "expected"),
    [
        ("onnx", ("all",), {"tflite"}),
        ("onnx", ("tflite",), {"tflite"}),
        ("onnx", ("jax",), set()),
        ("onnx", None, set()),
        ("tflite", ("all",), {"onnx"}),
    ],
)
def test_only_portable_formats_are_made_elsewhere_and_only_where_they_are_needed(
    file_format: str, wanted: tuple[str, ...] | None, expected: set[str]
) -> None:
    assert lacking(STACK, file_format, wanted) == expected


def test_a_stack_that_reads_nothing_else_needs_the_workshop() -> None:
    lite = replace(STACK, formats={"tflite": ("tflite",)}, converters=())
    assert lacking(lite, "onnx", None) == {"tflite"}
    assert lacking(lite, "tflite", None) == set()
