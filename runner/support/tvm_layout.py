"""Converting a Relax module to channels last, together with what stands behind its convolutions.

TVM's importer of ONNX writes Clip as calls of kernels, which ConvertLayout cannot look into: it would
transpose before and behind each, and a convolution would not be fused with its activation.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import tvm

from runner.support.tvm_model import ENTRY, kernel_kind

_LAYOUTS = {"relax.nn.conv2d": ["NHWC", "OHWI"]}
"""What ConvertLayout is asked for: channels last, as libraries for processors have it."""

_OPERATORS = ("maximum", "minimum")
"""Kernels that are operators of the graph too, by the same name."""


def channels_last() -> Any:
    """The pass: bounds become operators, then layouts are converted."""
    relax = import_module("tvm.relax")
    bounds = tvm.transform.module_pass(_with_operators, opt_level=0, name="BoundsAsOperators")
    return tvm.transform.Sequential([bounds, relax.transform.ConvertLayout(_LAYOUTS)])


def _with_operators(module: Any, _context: Any) -> Any:
    relax = import_module("tvm.relax")
    call_tir = tvm.ir.Op.get("relax.call_tir")

    @relax.expr_functor.mutator
    class Operators(relax.PyExprMutator):  # type: ignore[misc, name-defined]
        """By TVM's protocol: `visit_call_` gives what stands in the place of a call."""

        def visit_call_(self, call: Any) -> Any:
            """The operator, if a kernel is one and bounds its first argument by a number."""
            call = super().visit_call_(call)
            if call.op != call_tir:
                return call
            name = kernel_kind(str(call.args[0].name_hint))
            given = list(getattr(call.args[1], "fields", ()))
            if name not in _OPERATORS or len(given) != 2 or not _is_number(given[1]):
                return call
            # As [1] it would be laid out as the channels are.
            bound = self.builder_.emit(relax.op.squeeze(given[1]))
            return getattr(relax.op, name)(given[0], bound)

    mutator = Operators(module)
    changed = mutator.visit_expr(module[ENTRY])
    mutator.builder_.update_func(module.get_global_var(ENTRY), changed)
    return mutator.builder_.get()


def _is_number(value: Any) -> bool:
    """Whether a value is one number; what knows its shape has another name in each version."""
    known = getattr(value, "ty", None) or getattr(value, "struct_info", None)
    shape = getattr(known, "shape", None)
    return shape is not None and all(str(size) in ("1", "T.int64(1)") for size in shape)
