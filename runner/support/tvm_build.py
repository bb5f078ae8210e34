"""Compiling a Relax module with TVM: its passes, what they made, and the executable."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Callable, Dict, Optional, Tuple

import tvm

from runner.errors import RunnerError
from runner.support import tvm_passes
from runner.support.tally import tally
from runner.support.tvm_model import ENTRY, kernel_kind

PIPELINES = ("default", "default_build")

Rewrite = Callable[[Any], Any]


@dataclass(frozen=True)
class Lowered:
    """A module after TVM's passes: what the virtual machine will call, and how often."""

    module: Any
    calls: Dict[str, int]
    kernels: int
    parallel_kernels: int
    dtypes: Tuple[str, ...]
    """Those of what the kernels give, the most frequent first."""


def lower(
    module: Any,
    target: Any,
    pipeline: str,
    graph_passes: Tuple[str, ...] = (),
    tune: Optional[Rewrite] = None,
) -> Lowered:
    """Run the Relax passes of a pipeline.

    `default` is TVM's pipeline for the target, which fuses operators; `default_build` is what
    `tvm.compile` takes when it is given none: every operator a kernel of its own. (TVM's `zero`
    makes the kernels of `default`, on the CPU.)

    Args:
        module: what was imported.
        target: what to compile for.
        pipeline: one of `PIPELINES`.
        graph_passes: those that run before, by name.
        tune: gives the module with other kernels; called when operators have become kernels.
    """
    with target:
        if graph_passes:
            module = tvm.transform.Sequential(tvm_passes.on_graph(graph_passes))(module)
        if tune is None:
            lowered = _passes(target, pipeline)(module)
        else:
            first, last = _halves(target)
            lowered = last(tune(first(module)))
    return _told(lowered)


def compile_lowered(lowered: Lowered, target: Any) -> Any:
    """The executable of a lowered module."""
    return tvm.compile(lowered.module, target, relax_pipeline=None)


def _told(lowered: Any) -> Lowered:
    calls: Dict[str, int] = {}
    relax = import_module("tvm.relax")

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call):
            callee = node.op
            if isinstance(callee, tvm.ir.GlobalVar):
                name = kernel_kind(str(callee.name_hint))
                calls[name] = calls.get(name, 0) + 1

    relax.analysis.post_order_visit(lowered[ENTRY], visit)
    kernels = [
        function
        for _, function in lowered.functions.items()
        if not isinstance(function, relax.Function)
    ]
    loops = ["T.parallel(" in kernel.script() for kernel in kernels]
    dtypes = tally(dtype for dtype in map(_given, kernels) if dtype)
    return Lowered(lowered, calls, len(loops), sum(loops), tuple(dtypes))


def _given(kernel: Any) -> str:
    """The dtype of the buffer that a kernel writes to, its last one; empty where it has none."""
    # Parameters are buffers, or in older versions pointers that a map turns into buffers.
    buffers = getattr(kernel, "buffer_map", {})
    taken = [buffers.get(one, one) for one in getattr(kernel, "params", ())]
    dtypes = [str(getattr(one, "dtype", "handle")) for one in taken]
    return next((dtype for dtype in reversed(dtypes) if dtype != "handle"), "")


def _passes(target: Any, pipeline: str) -> Any:
    relax = import_module("tvm.relax")
    if pipeline == "default_build":
        return relax.get_pipeline("default_build")
    if target.kind.name == "c":
        # TVM has none for C source; its loops are the CPU's.
        return import_module("tvm.relax.backend.cpu_generic").get_default_pipeline(target)
    return relax.get_default_pipeline(target)


def _halves(target: Any) -> Tuple[Any, Any]:
    """The CPU's default pipeline until operators are kernels, and what comes after."""
    parts = import_module("tvm.relax.backend.cpu_generic.pipeline")
    if not hasattr(parts, "dataflow_lower_passes"):
        raise RunnerError(
            "unsupported",
            f"tvm {tvm.__version__} does not show the parts of its pipeline, between which kernels "
            "are tuned: ask for tuner none",
        )
    first = (*parts.library_dispatch_passes(target), *parts.legalize_passes(target))
    last = (*parts.dataflow_lower_passes(target), *parts.finalize_passes(target))
    return tvm.transform.Sequential(list(first)), tvm.transform.Sequential(list(last))
