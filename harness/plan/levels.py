"""The one table of optimisation levels: what each means as settings of each backend.

`basic` is the least that a compiler does, `default` what a user gets without asking, `extended` all
that is safe which it offers beyond that, `tuned` what a tuner chose. `own` is none of them: settings
as they are given. docs/levels.md shows the table with its reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Settings = Mapping[str, Any]

# As `harness.spec.models.Level` has them, which takes a while to import: who reads a store needs none of it.
OWN: Final = "own"
"""No level: settings as they are given."""

NAMED: Final = ("basic", "default", "extended", "tuned")
"""The levels that stand for settings, the least first."""

_NO_TUNER = "it has no tuner"
_NOTHING_COMPILED = "it compiles nothing and has the level default alone"

_TVM_ADDED: Final = (
    "EliminateCommonSubexpr",
    "FoldBatchnormToConv2D",
    "RemoveRedundantReshape",
    "FuseTransposeMatmul",
    "CombineParallelMatmul",
    "ConvertLayout",
)
"""Passes that TVM offers and runs only when asked, in the order in which they then run."""

_TVM_PIPELINE: Final = (
    *("AnnotateTIROpPattern", "FoldConstant", "FuseOps", "FuseTIR", "CanonicalizeBindings"),
    *("DeadCodeElimination", "RewriteDataflowReshape", "StaticPlanBlockMemory"),
    *("KillAfterLastUse", "s_tir.CompactBufferAllocation", "s_tir.StmtSimplify"),
    *("tirx.NarrowDataType", "s_tir.LoopPartition", "tirx.StorageRewrite"),
    *("s_tir.HoistIfThenElse", "tirx.UnrollLoop", "s_tir.RenormalizeSplitPattern"),
    *("tirx.StmtSimplify", "tirx.RemoveNoOp", "tirx.CommonSubexprElim"),
)
"""Those that its pipeline for processors runs, and that could be left away."""

LEVELS: Final[dict[str, dict[str, Settings | str]]] = {
    "null": {
        "basic": {"offset": 1},
        "default": {},
        "extended": {"offset": 0},
        "tuned": _NO_TUNER,
    },
    "onnxruntime": {
        "basic": {"graph_optimization_level": "disabled"},
        "default": {"graph_optimization_level": "all"},
        "extended": "nothing lies beyond all, which is its default: its own levels basic and extended "
        "are less, and are the setting graph_optimization_level",
        "tuned": _NO_TUNER,
    },
    "tflite": {
        "basic": {"kernels": "reference"},
        "default": {"kernels": "xnnpack"},
        "extended": "nothing lies beyond XNNPACK, which is its default: the library's own kernels are "
        "less, and are the setting kernels: builtin",
        "tuned": _NO_TUNER,
    },
    "tvm": {
        # A target that is only called llvm is for a generic processor.
        "basic": {"pipeline": "default_build", "mcpu": "generic"},
        "default": {"mcpu": "generic"},
        "extended": {"mcpu": "host", "passes": [*_TVM_ADDED, *_TVM_PIPELINE]},
        "tuned": {"mcpu": "host", "tuner": "metaschedule"},
    },
    "torch.eager": {
        "basic": _NOTHING_COMPILED,
        "default": {},
        "extended": _NOTHING_COMPILED,
        "tuned": _NO_TUNER,
    },
    "torch.jit": {
        "basic": {"freeze": False, "optimized_execution": False},
        "default": {"freeze": False},
        "extended": {"freeze": True, "optimize_for_inference": True},
        "tuned": _NO_TUNER,
    },
    "torch.compile": {
        "basic": {"mode": "off"},
        "default": {},
        "extended": {"freezing": True},
        "tuned": {"freezing": True, "mode": "max-autotune"},
    },
    "torch.export": {
        "basic": {"passes": []},
        "default": {},
        "extended": {"freezing": True},
        "tuned": {"freezing": True, "max_autotune": True},
    },
    "tensorflow.eager": {
        "basic": _NOTHING_COMPILED,
        "default": {},
        "extended": _NOTHING_COMPILED,
        "tuned": _NO_TUNER,
    },
    "tensorflow.graph": {
        "basic": {"freeze": False, "grappler": False},
        "default": {"freeze": False},
        "extended": {"freeze": True},
        "tuned": _NO_TUNER,
    },
    "tensorflow.xla": {
        "basic": {
            "passes": ["convolution-canonicalization"],
            "xla_flags": {"xla_backend_optimization_level": 0},
        },
        "default": {},
        "extended": {"freeze": True},
        "tuned": _NO_TUNER,
    },
    "keras.predict": {
        "basic": {"run_eagerly": True},
        "default": {},
        "extended": {"jit_compile": True},
        "tuned": _NO_TUNER,
    },
    "openvino": {
        "basic": {"snippets": False},
        "default": {},
        "extended": {"denormals_optimization": True},
        "tuned": _NO_TUNER,
    },
    "jax": {
        # Without this one pass each convolution is a plain loop, fifty times slower.
        "basic": {
            "passes": ["convolution-canonicalization"],
            "optimization_level": 0,
            "ynnpack": False,
        },
        "default": {},
        "extended": {"weights": "constants"},
        "tuned": "XLA tunes for GPUs alone, and there always",
    },
    "iree": {
        "basic": "its default is the least: O0, without data tiling",
        "default": {},
        "extended": {"opt_level": "O3", "data_tiling": True},
        "tuned": "its tuner is a program of its own, for AMD GPUs",
    },
    "ncnn": {
        "basic": {"winograd": False, "sgemm": False, "packing_layout": False},
        "default": {},
        "extended": "all that is safe is on by default; 16 bits are the precision `default`",
        "tuned": _NO_TUNER,
    },
    "tensorrt": {
        "basic": {"builder_optimization_level": 0},
        "default": {},
        "extended": {"builder_optimization_level": 5},
        "tuned": "its builder times kernels at every level, and the higher the more of them",
    },
}
"""Settings by backend and level; a text says why a backend has no such level."""


def settings_of(backend: str, level: str) -> Settings | str:
    """What a level stands for with a backend; a text says why there is no such level."""
    if level == OWN:
        return {}
    rows = LEVELS.get(backend, {})
    return rows.get(level, "nobody has said which settings it stands for (docs/levels.md)")


def level_settings(backend: str, level: str, given: Settings) -> dict[str, Any] | str:
    """The settings of a cell: a level's, with those that are given beside it.

    Args:
        backend: the cell's.
        level: `own`, or one of `NAMED`.
        given: settings from the sweep.

    Returns:
        The settings, or why there is no such cell.
    """
    found = settings_of(backend, level)
    if isinstance(found, str):
        return f"{backend} has no level {level}: {found}"
    both = sorted(set(found) & set(given))
    if both:
        named = ", ".join(f"{name}={found[name]}" for name in both)
        return (
            f"the level {level} of {backend} says {named} itself, and so do the settings: "
            f"give the settings with the level {OWN}"
        )
    return {**found, **given}


def beside(backend: str, level: str, settings: Settings) -> dict[str, Any]:
    """Those of a cell's settings that its level does not stand for."""
    found = settings_of(backend, level)
    stands_for = {} if isinstance(found, str) else found
    return {name: value for name, value in settings.items() if name not in stands_for}
