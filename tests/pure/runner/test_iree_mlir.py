"""Types as MLIR writes them, in the dialects that IREE reads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def iree_mlir(
    with_framework: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    iree, compiler, ir = (ModuleType(n) for n in ("iree", "iree.compiler", "iree.compiler.ir"))
    compiler.__dict__.update(ir=ir)
    monkeypatch.delitem(sys.modules, "runner.support.iree_mlir", raising=False)
    modules = {"iree": iree, "iree__compiler": compiler, "iree__compiler__ir": ir}
    return with_framework("runner.support.iree_mlir", **modules)


@pytest.mark.parametrize(
    ("signature", "takes", "gives"),
    [
        (
            "(!torch.vtensor<[1,3,224,224],f32>) -> (!torch.vtensor<[1,5],f32>, !torch.vtensor<[1],si64>)",
            [("f32", (1, 3, 224, 224))],
            [("f32", (1, 5)), ("si64", (1,))],
        ),
        (
            "(tensor<1x4xui8>) -> tensor<1x10xbf16>",
            [("ui8", (1, 4))],
            [("bf16", (1, 10))],
        ),
        (
            "#vhlo.type_v1<!vhlo.func_v1<(!vhlo.tensor_v1<1x3x!vhlo.f32_v1>) -> "
            "!vhlo.tensor_v1<!vhlo.f32_v1>>>",
            [("f32", (1, 3))],
            [("f32", ())],
        ),
        ("(tensor<?x4xf32>) -> tensor<?xi1>", [("f32", (None, 4))], [("i1", (None,))]),
        ("(!torch.vtensor<[?,4],f32>) -> ()", [("f32", (None, 4))], []),
    ],
)
def test_a_functions_type_tells_its_tensors(
    iree_mlir: Any, signature: str, takes: Any, gives: Any
) -> None:
    assert iree_mlir.tensors(signature) == (takes, gives)


def test_halves_are_found_in_any_dialect_and_whole_floats_are_none(iree_mlir: Any) -> None:
    assert iree_mlir.narrow_floats("tensor<1x3xf32> !torch.vtensor<[1],si64> vf16") == ()
    found = iree_mlir.narrow_floats(
        "tensor<4xf16> !torch.vtensor<[1],bf16> !vhlo.tensor_v1<1x!vhlo.f8E4M3FN_v1>"
    )
    assert found == ("bfloat16", "float16", "float8E4M3FN")
    assert iree_mlir.narrow_floats("!vhlo.tensor_v1<2x!vhlo.bf16_v1>") == ("bfloat16",)
