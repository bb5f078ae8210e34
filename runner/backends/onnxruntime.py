"""The backend `onnxruntime`: ONNX models by ONNX Runtime, on the CPU.

Settings: `graph_optimization_level` = all | extended | basic | disabled.
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List, Optional

import numpy as np
import onnxruntime as ort

from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    TensorSpec,
    only_input,
    unsupported,
)
from runner.errors import RunnerError, classify

_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

_OFFER = Offer(
    backend="onnxruntime",
    formats=("onnx",),
    settings={"graph_optimization_level": tuple(_LEVELS)},
)

_PROVIDER = "CPUExecutionProvider"

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
}

# ONNX Runtime's own exception classes differ between versions; its words do not.
_MODEL_WORDS = (
    "INVALID_PROTOBUF",
    "INVALID_GRAPH",
    "NO_SUCHFILE",
    "NO_MODEL",
    "INVALID_ARGUMENT",
    "External data",
    "External initializer",
    "GetFileLength",
)
_UNSUPPORTED_WORDS = re.compile(
    r"Unsupported model IR version: \d+, max supported IR version: \d+"
    r"|Opset \d+ is under development|.*official support for.*opset.*till opset \d+"
    r"|NOT_IMPLEMENTED : .*"
)


class OnnxRuntime:
    """One inference session. The library parses and optimises in one call, all in `compile`."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _OFFER.accept(request)
        self._request = request
        self._session: Optional[ort.InferenceSession] = None

    def load(self) -> None:
        """Check that there is a file; the session reads it."""
        if not os.path.isfile(self._request.path):
            raise RunnerError("model", f"no such model file: {self._request.path}")

    def compile(self) -> None:
        """Create the session."""
        options = ort.SessionOptions()
        options.graph_optimization_level = _LEVELS[self._settings["graph_optimization_level"]]
        options.intra_op_num_threads = self._request.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        try:
            session = ort.InferenceSession(self._request.path, options, providers=[_PROVIDER])
        except Exception as error:
            raise _load_error(error, self._request.path) from error
        if session.get_providers() != [_PROVIDER]:
            asked = ", ".join(session.get_providers())
            raise RunnerError("backend", f"asked for {_PROVIDER} and ONNX Runtime took {asked}")
        only_input("onnxruntime", [node.name for node in session.get_inputs()])
        self._session = session
        self._input_name = session.get_inputs()[0].name
        self._output_names = [node.name for node in session.get_outputs()]

    def describe(self) -> Description:
        """The session's input and outputs."""
        session = self._session
        if session is None:
            raise RunnerError("backend", "describe before compile")
        ran: Dict[str, Any] = _OFFER.ran(self._request, self._settings, "onnxruntime")
        ran["version"] = ran["versions"]["onnxruntime"] = ort.__version__
        ran["providers"] = session.get_providers()
        ran["inter_op_threads"] = 1
        return Description(
            input=_spec(session.get_inputs()[0]),
            outputs=tuple(_spec(node) for node in session.get_outputs()),
            ran=ran,
        )

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call of the session."""
        session: Any = self._session
        outputs: List[np.ndarray] = session.run(self._output_names, {self._input_name: batch})
        return outputs

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def create(request: LoadRequest) -> OnnxRuntime:
    """A session to be loaded."""
    return OnnxRuntime(request)


def probe() -> BackendProbe:
    """Whether ONNX Runtime imports and has its CPU provider."""
    providers = tuple(ort.get_available_providers())
    missing = "" if _PROVIDER in providers else f"{_PROVIDER} is not available"
    return BackendProbe(
        ok=not missing,
        version=ort.__version__,
        detail=missing,
        formats=_OFFER.formats,
        providers=providers,
    )


def _spec(node: Any) -> TensorSpec:
    kind = node.type
    if not kind.startswith("tensor("):
        message = f"onnxruntime: {node.name} is {kind}, and only tensors can be compared"
        raise RunnerError("unsupported", message)
    dtype = _DTYPES.get(kind, kind[len("tensor(") : -1])
    if dtype not in _DTYPES.values() and not dtype.lstrip("u").startswith("int"):
        numeric = (*_DTYPES.values(), "int8", "uint8", "int16", "int32", "int64")
        raise unsupported("onnxruntime", f"dtype of {node.name}", dtype, numeric)
    shape = tuple(d if isinstance(d, int) and d >= 0 else None for d in node.shape)
    return TensorSpec(name=node.name, dtype=dtype, shape=shape)


def _load_error(error: Exception, path: str) -> RunnerError:
    text = str(error)
    refused_for = _UNSUPPORTED_WORDS.search(text)
    if refused_for:
        return RunnerError(
            "unsupported",
            f"onnxruntime {ort.__version__} can't run {path}: {refused_for.group()}; use a newer "
            "onnxruntime, or export with an older opset and IR version",
            classify(error).detail,
        )
    refused = classify(error, "model" if any(w in text for w in _MODEL_WORDS) else "backend")
    return RunnerError(refused.kind, f"{path}: {refused.message}", refused.detail)
