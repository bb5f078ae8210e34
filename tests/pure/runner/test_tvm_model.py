"""What is asked of an ONNX file before TVM's importer has a word in it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from support.small_onnx import Small

from runner.errors import RunnerError
from runner.support import tvm_model


@pytest.mark.parametrize(
    ("precision", "kind", "words"),
    [
        ("f32", "unsupported", "tvm: the model computes in float16 .*ask for precision default"),
        ("default", "unsupported", "the importer was asked"),
    ],
)
def test_half_precision_is_not_imported_as_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, kind: str, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        message = "the importer was asked"
        raise ValueError(message)

    frontend = ModuleType("tvm.relax.frontend.onnx")
    frontend.__dict__.update(from_onnx=refuse)
    monkeypatch.setitem(sys.modules, "tvm.relax.frontend.onnx", frontend)
    nodes = [
        ("Cast", "x", "h", {"to": TensorProto.FLOAT16}),
        ("MatMul", "h w", "m", {}),
        ("Cast", "m", "y", {"to": TensorProto.FLOAT}),
    ]
    model = Small(nodes, {"w": np.eye(3, dtype=np.float16)}, ["N", 3]).model()
    onnx.save(model, tmp_path / "half.onnx")
    with pytest.raises(RunnerError, match=words) as caught:
        tvm_model.read(str(tmp_path / "half.onnx"), "onnx", (2, 3), precision)
    assert caught.value.kind == kind
