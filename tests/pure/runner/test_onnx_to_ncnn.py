"""The converter `onnx>ncnn` with a made-up PNNX: what it is told, and how it may fail."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from runner.errors import RunnerError
from runner.jobs import ConvertJob

PNNX = """#!/bin/sh
echo "$@" > "$PNNX_TOLD"
printf '\\033[31mpnnx says something\\033[0m\\n'
printf '7767517\\n2 2\\nInput in0 0 1 in0\\n%s y 1 1 in0 out0\\n' "$PNNX_LAYER" > model.ncnn.param
: > model.ncnn.bin
exit "$PNNX_EXIT"
"""


class Net:
    """Gives its input back, changed by `factor`."""

    factor = 1.0

    def __init__(self) -> None:
        names = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "vulkan_compute")
        self.opt = SimpleNamespace(num_threads=8, **{f"use_{name}": True for name in names})

    def load_param(self, path: str) -> int:
        assert Path(path).is_file()
        return 0

    load_model = load_param

    def create_extractor(self) -> Any:
        given: dict[str, Any] = {}
        return SimpleNamespace(
            input=given.__setitem__, extract=lambda _: (0, given["in0"] * Net.factor)
        )


@pytest.fixture
def converter(
    with_framework: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ModuleType:
    """The module, beside a PNNX that is a shell script."""
    fake = ModuleType("ncnn")
    known = ("Input", "ReLU")
    vars(fake).update(
        Net=Net,
        Mat=lambda array: SimpleNamespace(clone=array.copy),
        layer_to_index=lambda kind: known.index(kind) if kind in known else -1,
        __version__="1.0.0",
    )
    program = tmp_path / "wheel" / "pnnx"
    program.parent.mkdir()
    program.write_text(PNNX)
    program.chmod(0o755)
    monkeypatch.setenv("PNNX_TOLD", str(tmp_path / "told.txt"))
    monkeypatch.setenv("PNNX_LAYER", "ReLU")
    monkeypatch.setenv("PNNX_EXIT", "0")
    monkeypatch.setattr(Net, "factor", 1.0)
    module = with_framework("runner.converters.onnx_to_ncnn", ncnn=fake)
    spec = ModuleSpec("pnnx", None, origin=str(program.with_name("__init__.py")))
    monkeypatch.setattr(module, "find_spec", lambda name: spec)  # noqa: ARG005
    return module


@pytest.fixture
def job(tmp_path: Path) -> ConvertJob:
    """To convert an Identity of float32 [N, 2, 3]."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    return ConvertJob(
        work=str(tmp_path),
        converter="onnx>ncnn",
        source=str(tmp_path / "m.onnx"),
        source_format="onnx",
        target=str(tmp_path / "out" / "m.ncnn"),
    )


def test_pnnx_is_told_the_fixed_shape_and_to_keep_float32(
    converter: ModuleType, job: ConvertJob, tmp_path: Path
) -> None:
    made = converter.convert(job)
    told = (tmp_path / "told.txt").read_text().split()
    assert told[0].endswith("/model.onnx")
    assert told[1:] == ["inputshape=[1,2,3]f32", "fp16=0"]
    assert made["files"].keys() == {"m.ncnn"}
    assert made["probe_max_abs_diff"] == 0.0
    assert (made["input_axes"], made["output_axes"]) == (None, None)
    assert not list(tmp_path.glob("pnnx-*")), "nothing of its work is left"


def test_a_program_that_fails_is_told_with_its_last_words_without_colours(
    converter: ModuleType, job: ConvertJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNNX_EXIT", "3")
    with pytest.raises(RunnerError, match=r"exit status 3\): pnnx says something$") as told:
        converter.convert(job)
    assert told.value.kind == "conversion"
    assert not Path(job.target).exists()


def test_an_operator_that_pnnx_left_as_it_is_is_named(
    converter: ModuleType, job: ConvertJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNNX_LAYER", "aten::erf")
    with pytest.raises(RunnerError, match=r"m\.onnx: ncnn 1\.0\.0 has no layer for aten::erf"):
        converter.convert(job)


def test_a_result_that_is_not_finite_leaves_no_artifact(
    converter: ModuleType, job: ConvertJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Net, "factor", np.float32("nan"))
    with pytest.raises(RunnerError, match="not finite") as told:
        converter.convert(job)
    assert told.value.kind == "conversion"
    assert not list(Path(job.target).parent.iterdir())


def test_a_program_that_is_not_there_is_no_converter(
    converter: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "wheel" / "pnnx").chmod(0o644)
    with pytest.raises(ImportError, match="may not be run"):
        converter.find_pnnx()
    monkeypatch.setattr(converter, "find_spec", lambda name: None)  # noqa: ARG005
    with pytest.raises(ImportError, match="pnnx is not installed"):
        converter.find_pnnx()
