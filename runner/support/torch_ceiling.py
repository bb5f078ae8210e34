"""What shows that PyTorch keeps below a ceiling: its own kernels, oneDNN's, MKL's, inductor's."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Callable, Dict, Mapping

import torch

from runner.backends.base import LoadRequest, unsupported
from runner.instruction_sets import GCC, OWN, is_above
from runner.support import ceiling

_QUANTISED = "quantized"

# Of MKL's header: the kind of question, and the answer for its mode that is alike on all processors.
_CBWR_BRANCH, _CBWR_COMPATIBLE = 1, 3


class _MklVersion(ctypes.Structure):
    """`MKLVersion` of MKL's header."""

    _fields_ = [
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
        ("update", ctypes.c_int),
        ("status", ctypes.c_char_p),
        ("build", ctypes.c_char_p),
        ("processor", ctypes.c_char_p),
        ("platform", ctypes.c_char_p),
    ]


def told(
    backend: str,
    request: LoadRequest,
    run: Callable[[], Any],
    operators: Mapping[str, int],
    compiled: Mapping[str, Any],
) -> Dict[str, Any]:
    """The entry `instruction_set` of `ran`, as `ceiling.told`.

    Args:
        backend: who asks, for messages.
        request: what was asked for.
        run: runs the model once.
        operators: what it runs, by kind and kernel.
        compiled: what a compiler says of its code: `vector_isa`, where inductor made any.

    Raises:
        RunnerError: kind `unsupported`, where one of PyTorch's parts does not keep the ceiling.
    """
    asked = request.instruction_set
    if asked == OWN:
        return {}
    proved: Dict[str, str] = {}
    unproved: Dict[str, str] = {}
    if is_above("avx2", asked) and any(_QUANTISED in name for name in operators):
        why = "its quantised operators (FBGEMM) have no kernels below AVX2"
        raise ceiling.broken(backend, asked, why)
    _own_kernels(backend, asked, proved, unproved)
    _onednn(backend, asked, run, proved, unproved)
    _mkl(backend, asked, proved, unproved)
    if "vector_isa" in compiled:
        _inductor(backend, asked, str(compiled["vector_isa"]), proved)
    return ceiling.told(backend, request, run, proved, unproved)


def _own_kernels(
    backend: str, asked: str, proved: Dict[str, str], unproved: Dict[str, str]
) -> None:
    """ATen's kernels are compiled for no more than SSE2, AVX2, and AVX-512 without VNNI."""
    capability = getattr(torch.backends.cpu, "get_cpu_capability", None)
    if capability is None:
        unproved["aten"] = "this version does not say which of its kernels it takes"
        return
    said = str(capability())
    ceiling.require(backend, asked, "PyTorch", said, ceiling.step_of(said))
    proved["aten"] = said


def _onednn(
    backend: str,
    asked: str,
    run: Callable[[], Any],
    proved: Dict[str, str],
    unproved: Dict[str, str],
) -> None:
    """What oneDNN prints of itself in one run: what it takes the processor for, and its kernels."""
    if not torch.backends.mkldnn.is_available():
        return
    speaks = getattr(torch.backends.mkldnn, "verbose", None)
    if speaks is None:
        unproved["onednn"] = "this version of PyTorch has no switch to make it speak"
        return
    with ceiling.printed() as lines, speaks(torch.backends.mkldnn.VERBOSE_ON):
        run()
    isa, kernels = ceiling.read_onednn(lines)
    for said in [isa, *kernels] if isa else kernels:
        ceiling.require(backend, asked, "oneDNN", said, ceiling.step_of(said))
    if isa:
        proved["onednn"] = isa
    elif kernels:
        unproved["onednn"] = f"it does not say what it takes the processor for ({kernels[0]})"
    else:
        proved["onednn"] = "it runs nothing of this model"


def _mkl(backend: str, asked: str, proved: Dict[str, str], unproved: Dict[str, str]) -> None:
    """What MKL says of the code that it chooses; on processors of other makers it names none."""
    if not torch.backends.mkl.is_available():
        return
    library = ctypes.CDLL(os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so"))
    version = getattr(library, "mkl_serv_get_version", None)
    mode = getattr(library, "mkl_serv_cbwr_get", None)
    if version is None or mode is None:
        unproved["mkl"] = "this build of PyTorch hides what would tell"
        return
    if is_above("avx2", asked):
        if mode(_CBWR_BRANCH) == _CBWR_COMPATIBLE:
            proved["mkl"] = "its mode COMPATIBLE, which is SSE2"
        else:
            unproved["mkl"] = "it does not take its mode COMPATIBLE"
        return
    about = _MklVersion()
    version(ctypes.byref(about))
    said = (about.processor or b"").decode("ascii", "replace")
    step = ceiling.step_of(said)
    ceiling.require(backend, asked, "MKL", said, step)
    if step is None:
        unproved["mkl"] = f"it names no instruction set on this processor ({said})"
    else:
        proved["mkl"] = said


def _inductor(backend: str, asked: str, vectors: str, proved: Dict[str, str]) -> None:
    """The vectors that inductor writes out, and the processor that its compiler is told."""
    import torch._inductor.config as inductor

    if getattr(inductor.cpp, "march", None) != GCC[asked]:
        why = (
            f"inductor of PyTorch {torch.__version__} has code compiled for this very processor; "
            "use a version that reads TORCHINDUCTOR_CPP_MARCH"
        )
        raise unsupported(backend, "instruction set", asked, (OWN,), why=why)
    ceiling.require(backend, asked, "inductor", vectors, ceiling.step_of(vectors))
    proved["inductor"] = f"vectors {vectors}, -march={GCC[asked]}"
