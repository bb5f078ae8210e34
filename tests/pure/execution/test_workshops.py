"""Which environment converts for a stack that cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.environments import adhoc
from harness.environments.folders import EnvironmentFile, EnvironmentFolder
from harness.execution.workshops import able, taking_part
from harness.plan.parts import Stack, Workshop
from harness.spec.models import EnvironmentEntry, SweepSpec


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


def chosen(known: list[EnvironmentFolder]) -> list[str]:
    return [one.name for one in able(known, "venv")]


def test_higher_versions_on_the_cpu_come_first(tmp_path: Path) -> None:
    known = [
        folder(tmp_path / "old", "2.15.1", "onnx>tflite"),
        folder(tmp_path / "new", "2.21.0", "onnx>tflite"),
        folder(tmp_path / "gpu", "2.22.0", "onnx>tflite", "cuda"),
    ]
    assert chosen(known) == ["new", "old"]


def test_a_stack_that_is_asked_first_wins_over_a_higher_number(tmp_path: Path) -> None:
    other = folder(tmp_path / "other", "999.0", "onnx>tflite", stack="tf2onnx")
    torch = folder(tmp_path / "torch", "99.0", "onnx>tflite", stack="torch")
    tensorflow = folder(tmp_path / "tensorflow", "2.15.1", "onnx>tflite")
    assert chosen([other, torch, tensorflow]) == ["tensorflow", "torch", "other"]


def test_what_was_made_from_a_pin_never_converts_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adhoc, "home", lambda: tmp_path)
    assert chosen([folder(tmp_path / "tensorflow-cpu-2.22.0", "2.22.0", "onnx>tflite")]) == []


def test_a_folder_without_a_lock_converts_nothing(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", "2.21.0", "onnx>tflite")
    (one.path / "requirements-3.11.lock").unlink()
    assert chosen([one]) == []


LITE = Stack(
    entry=EnvironmentEntry(name="e"),
    name="e",
    stack="litert",
    version="1",
    identity="i",
    formats={"tflite": ("tflite",)},
    converters={},
    executor="venv",
)
TENSORFLOW = Workshop(
    "tensorflow", "", "venv", {"onnx>tflite": (), "onnx>keras": ()}, {"tflite": ("tflite",)}
)
ONNXRUNTIME = Workshop("onnxruntime", "", "venv", {}, {"onnxruntime": ("onnx",)})
TORCH = Workshop("torch", "", "venv", {"onnx>torch": ()}, {"torch.eager": ("pt2",)})


def part(stack: Stack, file_format: str, **axes: list[str]) -> set[str]:
    spec = SweepSpec.model_validate(
        {
            "models": [{"path": "m"}],
            "inputs": {"path": "x.npy"},
            "environments": ["e"],
            "axes": axes,
        }
    )
    source = (file_format, frozenset[str]())
    return set(taking_part(spec, stack, source, [TENSORFLOW, TORCH, ONNXRUNTIME]))


def test_a_conversion_takes_a_maker_and_who_runs_source_and_result() -> None:
    assert part(LITE, "onnx") == {"tensorflow", "onnxruntime"}
    assert part(LITE, "tflite") == set()


def test_what_only_its_own_stack_reads_is_never_made_elsewhere_unasked() -> None:
    eager = replace(LITE, formats={"torch.eager": ("pt2",)})
    assert part(eager, "onnx") == set()
    assert part(eager, "onnx", route=["onnx>torch"]) == {"torch", "onnxruntime"}
