"""The backend `torch.eager`: an exported program (`pt2`) run by PyTorch's eager kernels.

On the CPU or one NVIDIA GPU. Settings: `onednn` = true | false (false: PyTorch's own convolutions
on the CPU).
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch

from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    TensorSpec,
    only_input,
    start_each,
    unsupported,
)
from runner.errors import RunnerError, classify
from runner.support import cuda

STACK = "torch"

_OFFER = Offer(
    backend="torch.eager",
    formats=("pt2",),
    devices=("cpu", "cuda"),
    settings={"onednn": (True, False)},
)
_GPU = "cuda:0"


class TorchEager:
    """The module of an exported program, called in inference mode."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _OFFER.accept(request)
        self._request = request
        self._on_gpu = request.device == "cuda"
        self._module: Optional[Any] = None
        self._proof: Dict[str, Any] = {}

    def load(self) -> None:
        """Read the archive."""
        request = self._request
        if not os.path.isfile(request.path):
            raise RunnerError("model", f"no such model file: {request.path}")
        if self._on_gpu:
            self._choose_gpu()
        torch.set_num_threads(request.threads)
        torch.set_num_interop_threads(1)
        torch.backends.mkldnn.set_flags(self._settings["onednn"])
        if request.precision == "f32":
            torch.set_float32_matmul_precision("highest")
        try:
            self._program = torch.export.load(request.path)
        except Exception as error:
            refused = classify(error, "model")
            message = f"{request.path}: {refused.message}"
            raise RunnerError(refused.kind, message, refused.detail) from error

    def compile(self) -> None:
        """Make the callable module, and move it to the GPU; nothing is compiled."""
        signature = self._program.graph_signature
        values = {node.name: node.meta.get("val") for node in self._program.graph.nodes}
        only_input("torch.eager", list(signature.user_inputs))
        self._input = _spec(signature.user_inputs[0], values)
        self._outputs = tuple(_spec(name, values) for name in signature.user_outputs)
        self._module = _moved(self._program) if self._on_gpu else self._program.module()

    def describe(self) -> Description:
        """The input and outputs that the program was exported with."""
        ran = _OFFER.ran(self._request, self._settings, "torch")
        ran["version"] = ran["versions"]["torch"] = torch.__version__
        ran["threads"] = torch.get_num_threads()
        ran["inter_op_threads"] = torch.get_num_interop_threads()
        ran["float32_matmul_precision"] = torch.get_float32_matmul_precision()
        if self._on_gpu:
            ran["tf32"] = bool(
                torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
            )
        return Description(input=self._input, outputs=self._outputs, ran=ran)

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call of the module; from the GPU the outputs come back, which waits for them."""
        if self._on_gpu:
            return [tensor.cpu().numpy() for tensor in self._call(batch)]
        return [tensor.numpy() for tensor in self._call(batch)]

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """The GPU, and how many parameters, buffers and outputs are on it: all of them."""
        if not self._on_gpu:
            return {}
        held = dict(_held(self._module))
        held.update((f"output {i}", tensor) for i, tensor in enumerate(self._call(batch)))
        elsewhere = {name: str(t.device) for name, t in held.items() if str(t.device) != _GPU}
        elsewhere.update(_made_on_cpu(self._module))
        if elsewhere:
            listed = ", ".join(f"{name} on {where}" for name, where in list(elsewhere.items())[:6])
            raise RunnerError(
                "unsupported",
                f"torch.eager was asked to run on {_GPU} and {len(elsewhere)} of the program's "
                f"tensors are elsewhere ({listed}): export the program on the GPU, or ask for the "
                "device cpu",
            )
        return {
            "device_proof": dict(
                self._proof,
                device=_GPU,
                tensors=len(held),
                allocated_bytes=int(torch.cuda.memory_allocated(0)),
            )
        }

    def close(self) -> None:
        """Drop the module."""
        self._module = None

    def _call(self, batch: np.ndarray) -> List[Any]:
        """The output tensors, where the module leaves them."""
        module: Any = self._module
        with torch.inference_mode():
            fed = torch.from_numpy(batch)
            result = module(fed.to(_GPU) if self._on_gpu else fed)
        return [result] if isinstance(result, torch.Tensor) else list(result)

    def _choose_gpu(self) -> None:
        """Make sure of the GPU, and of float32's whole precision on it.

        Raises:
            RunnerError: kind `unsupported`, where PyTorch can't use the one GPU.
        """
        if not self._settings["onednn"]:
            raise unsupported("torch.eager", "value of onednn on the GPU", False, (True,))
        if torch.version.cuda is None:
            raise unsupported(
                "torch.eager",
                "device",
                "cuda",
                ("cpu",),
                why="this PyTorch is built for the CPU; install a build for CUDA",
            )
        self._proof = cuda.require("torch.eager", self._request.precision)
        if not torch.cuda.is_available():
            raise RunnerError(
                "unsupported",
                f"PyTorch {torch.__version__} can't use {self._proof['name']} (driver "
                f"{self._proof['driver']}, which serves CUDA {self._proof['cuda']}; PyTorch is "
                f"built for CUDA {torch.version.cuda}): use a newer driver, or a build for an "
                "older CUDA",
            )
        if self._request.precision == "f32":
            # cuDNN's is on unless it is switched off.
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False


def create(request: LoadRequest) -> TorchEager:
    """A program to be loaded."""
    return TorchEager(request)


def probe() -> BackendProbe:
    """Whether PyTorch imports, and by which means it computes here."""
    listed = ["native"]
    if torch.backends.mkldnn.is_available():
        listed.insert(0, "onednn")
    if torch.version.cuda is not None:
        listed.append("cuda")
    started, refused = start_each(listed, _start)
    ok = "native" in started
    capability = getattr(torch.backends.cpu, "get_cpu_capability", None)
    return BackendProbe(
        ok=ok,
        version=torch.__version__,
        detail="" if ok else refused["native"],
        formats=_OFFER.formats,
        providers=tuple(listed),
        started=started,
        refused=refused,
        builds={"torch": parse_build(torch.__config__.show(), _cuda_build())},
        cpu_used={"torch": (str(capability()),)} if capability else {},
    )


def parse_build(said: str, more: Dict[str, str]) -> Dict[str, str]:
    """The parts that `torch.__config__.show()` names, without what it says of this machine."""
    patterns = {
        "compiler": r"^\s*- ((?:GCC|clang|MSVC) [\w.]+)",
        "mkl": r"Math Kernel Library Version (\d[\d.]*)",
        "onednn": r"(?:MKL-DNN|oneDNN) v(\S+)",
        "openmp": r"OpenMP (\d+)",
        "blas": r"BLAS_INFO=(\w+)",
    }
    found = {}
    for name, pattern in patterns.items():
        match = re.search(pattern, said, re.MULTILINE)
        if match:
            found[name] = match.group(1)
    return dict(found, **more)


def _cuda_build() -> Dict[str, str]:
    """The commit, and the CUDA and cuDNN (or ROCm) inside this build."""
    found = {"git": str(getattr(torch.version, "git_version", "") or "")}
    found["cuda"] = str(torch.version.cuda or "")
    found["hip"] = str(getattr(torch.version, "hip", None) or "")
    try:
        found["cudnn"] = str(torch.backends.cudnn.version() or "")
    except RuntimeError as error:
        found["cudnn"] = f"unusable: {' '.join(str(error).split())[:200]}"
    return {name: value for name, value in found.items() if value}


def _start(provider: str) -> Optional[str]:
    """Compute a little by one means; why it did not, where it did not."""
    ones = torch.ones(2, 2)
    if provider == "onednn":
        total = ones.to_mkldnn().relu().to_dense().sum()
    elif provider == "cuda":
        if not torch.cuda.is_available():
            return "PyTorch finds no GPU that it can use"
        total = (ones.to(_GPU) @ torch.eye(2, device=_GPU)).sum().cpu()
    else:
        total = ones.add(0).sum()
    return None if float(total) == 4 else f"the sum of four ones is {float(total)}"


def _moved(program: Any) -> Any:
    """The program's module on the GPU, with what its graph makes by itself."""
    try:
        from torch.export.passes import move_to_device_pass
    except ImportError:
        # Before PyTorch 2.6: what stays behind is found by `prove`.
        return program.module().to(_GPU)
    return move_to_device_pass(program, _GPU).module()


def _held(module: Any) -> Iterator[Tuple[str, Any]]:
    """Every tensor that a module holds: parameters, buffers, and constants as plain attributes."""
    yield from module.named_parameters()
    yield from module.named_buffers()
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                yield f"{prefix}.{name}".lstrip("."), value


def _made_on_cpu(module: Any) -> Dict[str, str]:
    """The operators of a program's graph that make a tensor on the CPU while it runs."""
    graph = getattr(module, "graph", None)
    nodes = () if graph is None else graph.nodes
    found = {}
    for node in nodes:
        device = node.kwargs.get("device")
        if device is not None and str(device).startswith("cpu"):
            found[str(node.name)] = str(device)
    return found


def _spec(name: Any, values: Any) -> TensorSpec:
    value = values.get(name)
    if not isinstance(value, torch.Tensor):
        message = f"torch.eager: {name!r} is not a tensor, and only tensors can be compared"
        raise RunnerError("unsupported", message)
    dtype = str(value.dtype).replace("torch.", "")
    if dtype in ("bfloat16", "complex64", "complex128") or dtype.startswith("float8"):
        message = f"torch.eager: {name!r} is {dtype}, which NumPy does not know"
        raise RunnerError("unsupported", message)
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(name=str(name), dtype=dtype, shape=shape)
