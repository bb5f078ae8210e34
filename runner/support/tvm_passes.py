"""TVM's passes by name: which can be left out, which can be added, and which of them ran.

TVM knows a pass by a name wherever it runs, also inside another pass. A name that it does not know it
ignores, so names are checked against what is installed before they come here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import tvm

from runner.errors import RunnerError
from runner.support import tvm_layout

_OPTIONAL = (
    "AnnotateTIROpPattern",
    "FoldConstant",
    "FuseOps",
    "FuseTIR",
    "CanonicalizeBindings",
    "DeadCodeElimination",
    "RewriteDataflowReshape",
    "StaticPlanBlockMemory",
    "KillAfterLastUse",
    "s_tir.CompactBufferAllocation",
    "s_tir.StmtSimplify",
    "tirx.NarrowDataType",
    "s_tir.LoopPartition",
    "tirx.StorageRewrite",
    "s_tir.HoistIfThenElse",
    "tirx.UnrollLoop",
    "s_tir.RenormalizeSplitPattern",
    "tirx.StmtSimplify",
    "tirx.RemoveNoOp",
    "tirx.CommonSubexprElim",
)
"""What the CPU's pipeline runs and a model is compiled without, in its order.

The others lower: without them TVM refuses the module, ends by a signal, or leaves its code to chance.
"""

_GRAPH = (
    "EliminateCommonSubexpr",
    "DecomposeOpsForInference",
    "FoldBatchnormToConv2D",
    "RemoveRedundantReshape",
    "FuseTransposeMatmul",
    "CombineParallelMatmul",
    "AdjustMatmulOrder",
    "ExpandMatmulOfSum",
    "ReorderPermuteDimsAfterConcat",
    "ReorderTakeAfterMatmul",
    "ConvertLayout",
    "DataflowUseInplaceCalls",
    "FastMathTransform",
)
"""What TVM offers besides, each on the graph of operators before anything is lowered."""

_WRAPPERS = ("sequential", "_pipeline")


@dataclass(frozen=True)
class Chosen:
    """The passes of one compilation.

    Attributes:
        graph: those that run on the graph before the pipeline, in this order.
        left_out: those of the pipeline that do not run.
    """

    graph: Tuple[str, ...] = ()
    left_out: Tuple[str, ...] = ()


def of_pipeline() -> Tuple[str, ...]:
    """The passes of the pipeline that can be left out of this version of TVM."""
    return tuple(name for name in _OPTIONAL if _pass(name) is not None)


def all_optional() -> Tuple[str, ...]:
    """Every pass that may run or not: first those on the graph, then those of the pipeline."""
    return (*(name for name in _GRAPH if _pass(name) is not None), *of_pipeline())


def choose(
    only: Optional[Sequence[str]], without: Optional[Sequence[str]], pipeline: str
) -> Chosen:
    """What the settings `passes` and `disabled_passes` mean for a pipeline.

    Raises:
        RunnerError: kind `unsupported`, where they contradict each other or the pipeline.
    """
    if only is None:
        return Chosen(left_out=tuple(without or ()))
    if without is not None:
        raise RunnerError(
            "unsupported",
            "tvm: passes names all that run, so disabled_passes has nothing to take away: give one",
        )
    if pipeline != "default":
        raise RunnerError(
            "unsupported",
            f"tvm: passes chooses among those of the pipeline default, and this one is {pipeline}, "
            "which runs few of them: leave one of the two settings away",
        )
    graph = tuple(name for name in only if name in _GRAPH)
    return Chosen(graph, tuple(name for name in of_pipeline() if name not in only))


def on_graph(names: Sequence[str]) -> List[Any]:
    """The passes themselves, of those that run on the graph."""
    return [_made(name) for name in names]


class Recorder:
    """Remembers the names of the passes that ran, each once, in the order of their first run."""

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        # Some of those on the graph go by another name inside TVM, or by none.
        self._seen: Dict[str, None] = dict.fromkeys(chosen.graph)
        self._instrument: Any = None

    def context(self) -> Any:
        """A context for `with`, in which passes are left out as chosen, and those that run noted."""
        seen = self._seen

        class Instrument:
            """By TVM's protocol: what is called before each pass."""

            def run_before_pass(self, _module: Any, info: Any) -> None:
                seen.setdefault(str(info.name))

        if self._instrument is None:
            self._instrument = tvm.instrument.pass_instrument(Instrument)()
        return tvm.transform.PassContext(
            disabled_pass=list(self._chosen.left_out), instruments=[self._instrument]
        )

    def names(self) -> List[str]:
        """So far."""
        return [name for name in self._seen if name not in _WRAPPERS]


def _made(name: str) -> Any:
    make = _pass(name)
    if make is None:
        raise RunnerError("unsupported", f"tvm {tvm.__version__} has no pass {name}")
    if name == "ConvertLayout":
        return tvm_layout.channels_last()
    fold = _pass("FoldConstant")
    if name == "FoldBatchnormToConv2D" and fold is not None:
        # It leaves arithmetic on weights in their place, over which ConvertLayout ends by a signal.
        return tvm.transform.Sequential([make(), fold()])
    return make()


def _pass(name: str) -> Optional[Callable[..., Any]]:
    """What makes a pass, by its name; None where this version has none of it."""
    level, _, stem = name.rpartition(".")
    try:
        place = import_module(f"tvm.{level or 'relax'}.transform")
    except ImportError:
        return None
    return getattr(place, stem, None)
