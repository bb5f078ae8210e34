"""What shows that OpenVINO keeps below a ceiling: the names of the kernels that it took."""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Dict, Sequence

from runner.backends.base import LoadRequest
from runner.instruction_sets import OWN, is_above, lacking
from runner.support import ceiling
from runner.support.openvino_graph import Node
from runner.system import cpu

_BACKEND = "openvino"
_MLAS = "mlas"
_MLAS_STEPS = ("avx", "avx2", "avx512")


def told(request: LoadRequest, run: Callable[[], Any], found: Sequence[Node]) -> Dict[str, Any]:
    """The entry `instruction_set` of `ran`, as `ceiling.told`.

    Args:
        request: what was asked for.
        run: runs the model once.
        found: the layers of the compiled model.

    Raises:
        RunnerError: kind `unsupported`, where a kernel does not keep the ceiling.
    """
    asked = request.instruction_set
    if asked == OWN:
        return {}
    _refuse_mlas(asked, found)
    kernels = list(dict.fromkeys(node.primitive for node in found))
    steps = {kernel: ceiling.step_of(kernel) for kernel in kernels}
    for kernel, step in steps.items():
        ceiling.require(_BACKEND, asked, "OpenVINO", kernel, step)
    named = [kernel for kernel, step in steps.items() if step is not None]
    others = [kernel for kernel, step in steps.items() if step is None]
    return ceiling.told(
        _BACKEND,
        request,
        run,
        {"openvino": f"its kernels {', '.join(named)}"} if named else {},
        {"openvino": f"its kernels {', '.join(others)} name no instruction set"} if others else {},
    )


def _refuse_mlas(asked: str, found: Sequence[Node]) -> None:
    """Its own copy of MLAS, which multiplies matrices, takes what the processor has."""
    layers = Counter(node.layer for node in found if _MLAS in node.primitive)
    flags = cpu()["flags"]
    above = [s for s in _MLAS_STEPS if is_above(s, asked) and not lacking(s, flags)]
    if layers and above:
        listed = ", ".join(f"{count} {layer}" for layer, count in layers.items())
        why = f"it runs {listed} by MLAS, which takes what the processor has: up to {above[-1]}"
        raise ceiling.broken(_BACKEND, asked, why)
