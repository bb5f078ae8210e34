"""Backends and converters are found by the names of their files, and by entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runner import backends, converters, plugins
from runner.backends.base import LoadRequest
from runner.errors import RunnerError


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("torch_compile", "torch.compile"),
        ("onnxruntime", "onnxruntime"),
        ("my_own_device", "my.own_device"),
        ("base", None),
        ("__init__", None),
    ],
)
def test_a_file_names_its_backend(stem: str, name: str | None) -> None:
    assert plugins.backend_name(stem) == name


@pytest.mark.parametrize(
    ("stem", "name"),
    [("onnx_to_torch", "onnx>torch"), ("__init__", None), ("tools", None), ("_to_", None)],
)
def test_a_file_names_its_converter(stem: str, name: str | None) -> None:
    assert plugins.converter_name(stem) == name


@pytest.mark.parametrize(
    ("stem", "name"), [("opencv", "opencv"), ("base", None), ("__init__", None)]
)
def test_a_file_names_its_preprocessor(stem: str, name: str | None) -> None:
    assert plugins.preprocessor_name(stem) == name


def test_the_runner_knows_its_own() -> None:
    assert {"null", "onnxruntime", "torch.eager", "tflite", "openvino"} <= set(backends.names())
    assert "base" not in backends.names()
    assert "onnx>torch" in converters.names()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution on the path that declares the backend `tpu` and another `null`."""
    (tmp_path / "harness_tpu.py").write_text(
        'from runner.backends.base import BackendProbe\nSTACK = "tpu"\n'
        "def probe():\n    return BackendProbe(ok=True, version='1.0', formats=('onnx',))\n"
        "def create(request):\n    raise ValueError(request.format)\n"
    )
    info = tmp_path / "harness_tpu-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: harness-tpu\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[harness.backends]\ntpu = harness_tpu\nnull = harness_tpu\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "harness_tpu", raising=False)
    return tmp_path


def test_an_environment_brings_a_backend_by_an_entry_point(installed: Path) -> None:
    assert "tpu" in backends.names()
    found = backends.probe("tpu")
    assert (found.ok, found.stack, found.version) == (True, "tpu", "1.0")
    request = LoadRequest("m", "onnx", {}, "f32", "cpu", 1, 1, (3,))
    with pytest.raises(ValueError, match="onnx"):
        backends.create("tpu", request)


def test_no_entry_point_replaces_a_backend_of_the_runner(installed: Path) -> None:
    assert backends.probe("null").stack == ""


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(RunnerError, match=r"backend 'nope' .*onnxruntime"):
        backends.create("nope", LoadRequest("m", "onnx", {}, "f32", "cpu", 1, 1, (3,)))
