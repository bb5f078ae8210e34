"""TorchScript's optional passes over frozen graphs, by name, and freezing without some of them.

`torch.jit.freeze` runs the folding passes until they change nothing, and
`torch.jit.optimize_for_inference` those for the processor's libraries after them. Without some, they
are called one by one, in PyTorch's own order (frozen_graph_optimizations.cpp).
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Tuple

import torch

from runner.backends.base import unsupported
from runner.support import named_passes

_FOLDING: Mapping[str, str] = {
    "fold_conv_bn": "_jit_pass_fold_frozen_conv_bn",
    "fold_conv_add_or_sub": "_jit_pass_fold_frozen_conv_add_or_sub",
    "fold_conv_mul_or_div": "_jit_pass_fold_frozen_conv_mul_or_div",
    "fold_linear_bn": "_jit_pass_fold_frozen_linear_bn",
}
_FOR_INFERENCE: Mapping[str, str] = {
    "fuse_conv_add_relu": "_jit_pass_fuse_frozen_conv_add_relu",
    "convert_to_mkldnn": "_jit_pass_convert_frozen_ops_to_mkldnn",
    "transpose_linear": "_jit_pass_transpose_frozen_linear",
}
PASSES = (*_FOLDING, *_FOR_INFERENCE)
"""In the order in which they run."""


def kept(backend: str, settings: Mapping[str, Any]) -> Optional[Tuple[str, ...]]:
    """The passes that a cell keeps; None: all of them, as PyTorch itself runs them.

    Raises:
        RunnerError: kind `unsupported`: the lists contradict each other, or none of what they name
            would run with the other settings.
    """
    without = named_passes.left_out(backend, settings, PASSES)
    if without is None:
        return None
    if not settings["freeze"]:
        why = "passes run over frozen graphs only"
        raise unsupported(backend, "value of freeze beside passes", False, (True,), why)
    here = PASSES if settings["optimize_for_inference"] else tuple(_FOLDING)
    for name in settings.get(named_passes.ONLY) or ():
        if name not in here:
            why = "that pass is one of optimize_for_inference"
            raise unsupported(backend, "pass without optimize_for_inference", name, here, why)
    return tuple(name for name in here if name not in without)


def freeze(traced: Any, names: Tuple[str, ...]) -> Any:
    """A module whose weights are constants, after these passes alone."""
    frozen = torch.jit.freeze(traced.eval(), optimize_numerics=False)
    folding = [_pass(_FOLDING[name]) for name in names if name in _FOLDING]
    changed = bool(folding)
    while changed:
        # Each says whether it changed anything, and all are asked.
        changed = any([one(frozen.graph) for one in folding])  # noqa: C419
    for name in names:
        if name in _FOR_INFERENCE:
            _pass(_FOR_INFERENCE[name])(frozen.graph)
    return frozen


def _pass(name: str) -> Any:
    return getattr(torch._C, name)  # noqa: SLF001 (PyTorch has no public names for them)
