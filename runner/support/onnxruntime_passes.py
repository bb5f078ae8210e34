"""ONNX Runtime's optimizers by name: which this build has, which a session turns off, which did something.

`disabled_optimizers` of a session ignores a name that it does not know, so names are proved first. Its
log names every transformer that runs. Rewriting rules are not named there: they live in one transformer
a level, which is gone from the log once all its rules are off. So a name is a rule if that transformer
comes back with it alone.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from functools import lru_cache
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Sequence, Tuple

from runner import tiny
from runner.errors import RunnerError

RULES = (
    "EliminateIdentity",
    "EliminateSlice",
    "UnsqueezeElimination",
    "EliminateDropout",
    "ExpandElimination",
    "CastElimination",
    "CastChainElimination",
    "PreShapeNodeElimination",
    "NoopElimination",
    "DivMulFusion",
    "FuseReluClip",
    "GemmSumFusion",
    "GemmTransposeFusion",
    "NotWhereFusion",
    "ConvAddFusion",
    "ConvMulFusion",
    "ConvBNFusion",
    "Pad_Fusion",
    "MatMul_BatchNormalization_Fusion",
    "LabelEncoderFusion",
    "ClipQuantRewrite",
    "ReluQuantRewrite",
)
"""Rewriting rules of any version, each to be proved."""

SETTINGS = ("disabled_passes", "passes")
"""What a session can be told of its optimizers; one of the two."""

_CPU = "CPUExecutionProvider"
_RAN = re.compile(r"GraphTransformer (\S+) modified: (\d)")
_GROUP = re.compile(r"Level\d_RuleBasedTransformer")


def ran(log: str) -> List[Tuple[str, bool]]:
    """The transformers that ran, by a session's log, and whether each changed the graph."""
    return [(name, changed != "0") for name, changed in _RAN.findall(log)]


def that_changed(log: str) -> Tuple[str, ...]:
    """Those that changed the graph, each once, in the order in which they first did."""
    return tuple(dict.fromkeys(name for name, changed in ran(log) if changed))


def logged(make: Callable[[], Any]) -> str:
    """What the library writes on standard error while a session is made.

    The session's options must ask for its log. It is C++ that writes, so the file descriptor itself
    is turned away for that time; what was written is handed on, if the session is refused.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            make()
        except Exception:
            os.dup2(kept, 2)
            file.seek(0)
            sys.stderr.write(file.read().decode("utf-8", "replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def talkative(options: Any) -> Any:
    """The same options, and the log that names the transformers."""
    options.log_severity_level = 0
    options.log_verbosity_level = 0
    return options


def optional(names_that_run: Callable[[Sequence[str]], Iterable[str]]) -> Tuple[str, ...]:
    """The optimizers that a build has and can do without: rules first, then in the order they run.

    Args:
        names_that_run: the transformers of a session at the highest level, given what is disabled.
    """
    every = list(dict.fromkeys(names_that_run(())))
    single = [name for name in every if not _GROUP.fullmatch(name)]
    left = list(dict.fromkeys(names_that_run((*single, *RULES))))
    # What runs though it is disabled is no optimisation: it is needed.
    transformers = [name for name in single if name not in left]
    if groups := [name for name in left if _GROUP.fullmatch(name)]:
        # There is a rule that the list lacks: they can be turned off only together.
        return (*groups, *transformers)
    return (*_rules(names_that_run), *transformers)


@lru_cache(maxsize=None)
def of_this_build(ort: Any) -> Tuple[str, ...]:
    """The optimizers that the installed ONNX Runtime has and can do without."""
    return optional(lambda disabled: _names(ort, "ORT_ENABLE_ALL", disabled))


@lru_cache(maxsize=None)
def at_level(ort: Any, level: str) -> FrozenSet[str]:
    """Those of them that run at a level of optimisation, by the library's name of it."""
    running = {*_names(ort, level, ()), *_rules(lambda disabled: _names(ort, level, disabled))}
    return frozenset(name for name in of_this_build(ort) if name in running)


def turned_off(ort: Any, settings: Mapping[str, Any], level: str) -> Tuple[str, ...]:
    """What a session is to turn off.

    Args:
        ort: the module onnxruntime.
        settings: the effective ones; of `SETTINGS`, names that this build has, or None.
        level: of optimisation, by the library's name of it.

    Raises:
        RunnerError: kind `unsupported`: both lists, or one that is wanted and that the level does not
            let run.
    """
    without, only = (settings.get(name) for name in SETTINGS)
    if without is not None and only is not None:
        raise RunnerError(
            "unsupported",
            "onnxruntime: passes says which optimizers alone are to run, and disabled_passes which "
            "are not: give one of the two",
        )
    if only is None:
        return tuple(without or ())
    running = at_level(ort, level) if only else frozenset()
    for name in only:
        if name not in running:
            asked = settings["graph_optimization_level"]
            raise RunnerError(
                "unsupported",
                f"onnxruntime: passes names {name}, which does not run at the "
                f"graph_optimization_level {asked}: ask for a higher one",
            )
    return tuple(name for name in of_this_build(ort) if name not in only)


def session_arguments(disabled: Sequence[str]) -> Dict[str, Any]:
    """What a session is given beside its options."""
    return {"disabled_optimizers": list(disabled)} if disabled else {}


def _rules(names_that_run: Callable[[Sequence[str]], Iterable[str]]) -> List[str]:
    """Of the rules, those that a session has: alone, each brings the transformer back."""
    return [
        rule
        for rule in RULES
        if any(map(_GROUP.fullmatch, names_that_run([one for one in RULES if one != rule])))
    ]


def _names(ort: Any, level: str, disabled: Sequence[str]) -> List[str]:
    """The transformers that run where a tiny model is opened."""
    options = talkative(ort.SessionOptions())
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    log = logged(
        lambda: ort.InferenceSession(
            tiny.ONNX, options, providers=[_CPU], **session_arguments(disabled)
        )
    )
    return [name for name, _ in ran(log)]
