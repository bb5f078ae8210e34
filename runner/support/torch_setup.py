"""How PyTorch is set up for a cell before it reads a program: threads, precision, oneDNN, the GPU."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Dict, Iterator, Mapping

import torch

from runner.backends.base import LoadRequest, unsupported
from runner.errors import RunnerError
from runner.support import cuda

GPU = "cuda:0"


def set_up(backend: str, request: LoadRequest, settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Make PyTorch compute as the cell asks; what is known of the GPU, for `device_proof`.

    Args:
        backend: who asks, for messages.
        request: what is asked for.
        settings: `onednn` is read; a backend without that setting takes what the build has.

    Raises:
        RunnerError: kind `unsupported`, where PyTorch can't use the one GPU, or takes another
            number of threads.
    """
    proof: Dict[str, Any] = {}
    if request.device == "cuda":
        proof = _choose_gpu(backend, request, settings)
    torch.set_num_threads(request.threads)
    torch.set_num_interop_threads(1)
    if torch.get_num_threads() != request.threads:
        taken = torch.get_num_threads()
        raise unsupported(backend, "number of threads", request.threads, (taken,))
    if request.device == "cpu":
        available = torch.backends.mkldnn.is_available()
        onednn = settings.get("onednn", available)
        # What is asked of oneDNN and is not in this build would run by other kernels in silence.
        if onednn and not available:
            why = "this PyTorch is built without oneDNN"
            raise unsupported(backend, "value of onednn", True, (False,), why=why)
        torch.backends.mkldnn.set_flags(onednn)
    if request.precision == "f32":
        torch.set_float32_matmul_precision("highest")
    return proof


def as_set_up(request: LoadRequest) -> Dict[str, Any]:
    """What PyTorch says of itself, for `ran`: version, threads, and how it treats float32."""
    ran: Dict[str, Any] = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "inter_op_threads": torch.get_num_interop_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    capability = getattr(torch.backends.cpu, "get_cpu_capability", None)
    if capability is not None:
        ran["cpu_capability"] = str(capability())
    if request.device == "cuda":
        ran["tf32"] = bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)
    return ran


@contextlib.contextmanager
def warnings_are_no_errors() -> Iterator[None]:
    """Print the warnings that PyTorch raises about its own parts, whatever was asked for.

    It deprecates what it uses itself; a warning that is made an error there would change what it
    compiles, or end it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


def _choose_gpu(backend: str, request: LoadRequest, settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Make sure of the GPU, and of float32's whole precision on it."""
    if not settings.get("onednn", True):
        raise unsupported(backend, "value of onednn on the GPU", False, (True,))
    if torch.version.cuda is None:
        raise unsupported(
            backend,
            "device",
            "cuda",
            ("cpu",),
            why="this PyTorch is built for the CPU; install a build for CUDA",
        )
    proof = cuda.require(backend, request.precision)
    if not torch.cuda.is_available():
        raise RunnerError(
            "unsupported",
            f"PyTorch {torch.__version__} can't use {proof['name']} (driver "
            f"{proof['driver']}, which serves CUDA {proof['cuda']}; PyTorch is "
            f"built for CUDA {torch.version.cuda}): use a newer driver, or a build for an "
            "older CUDA",
        )
    if request.precision == "f32":
        # cuDNN's is on unless it is switched off.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return proof
