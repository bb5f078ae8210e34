"""The backend `torch.eager`: an exported program (`pt2`) run by PyTorch's eager kernels on the CPU.

Settings: `onednn` = true | false (false: PyTorch's own convolutions).
"""

from __future__ import annotations

import os
from typing import Any, List, Optional

import numpy as np
import torch

from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    TensorSpec,
    only_input,
)
from runner.errors import RunnerError, classify

_OFFER = Offer(backend="torch.eager", formats=("pt2",), settings={"onednn": (True, False)})


class TorchEager:
    """The module of an exported program, called in inference mode."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _OFFER.accept(request)
        self._request = request
        self._module: Optional[Any] = None

    def load(self) -> None:
        """Read the archive."""
        request = self._request
        if not os.path.isfile(request.path):
            raise RunnerError("model", f"no such model file: {request.path}")
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
        """Make the callable module; nothing is compiled."""
        signature = self._program.graph_signature
        values = {node.name: node.meta.get("val") for node in self._program.graph.nodes}
        only_input("torch.eager", list(signature.user_inputs))
        self._input = _spec(signature.user_inputs[0], values)
        self._outputs = tuple(_spec(name, values) for name in signature.user_outputs)
        self._module = self._program.module()

    def describe(self) -> Description:
        """The input and outputs that the program was exported with."""
        ran = _OFFER.ran(self._request, self._settings, "torch")
        ran["version"] = ran["versions"]["torch"] = torch.__version__
        ran["threads"] = torch.get_num_threads()
        ran["inter_op_threads"] = torch.get_num_interop_threads()
        ran["float32_matmul_precision"] = torch.get_float32_matmul_precision()
        return Description(input=self._input, outputs=self._outputs, ran=ran)

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call of the module."""
        module: Any = self._module
        with torch.inference_mode():
            result = module(torch.from_numpy(batch))
        if isinstance(result, torch.Tensor):
            return [result.numpy()]
        return [tensor.numpy() for tensor in result]

    def close(self) -> None:
        """Drop the module."""
        self._module = None


def create(request: LoadRequest) -> TorchEager:
    """A program to be loaded."""
    return TorchEager(request)


def probe() -> BackendProbe:
    """Whether PyTorch imports and can add."""
    torch.ones(2).add(1)
    return BackendProbe(
        ok=True,
        version=torch.__version__,
        formats=_OFFER.formats,
        providers=("onednn", "native") if torch.backends.mkldnn.is_available() else ("native",),
    )


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
