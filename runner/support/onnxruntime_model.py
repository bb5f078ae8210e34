"""What ONNX Runtime says of a model: its tensors, and the errors when it refuses a file."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Mapping, Optional

from runner.backends.base import TensorSpec, comparable
from runner.errors import RunnerError, classify

_NUMPY_NAMES = {"tensor(float)": "float32", "tensor(double)": "float64"}

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


def scales(session: Any) -> Dict[str, Any]:
    """What the model's metadata says of quantised ends: by name their `scale` and `zero_point`.

    A converter from TensorFlow Lite writes it; nothing else in an ONNX file says it.
    """
    told = session.get_modelmeta().custom_metadata_map.get("quantisation", "{}")
    try:
        found = json.loads(told)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def spec(node: Any, told: Optional[Mapping[str, Any]] = None) -> TensorSpec:
    """An input or output of a session; `told` is what `scales` gives.

    Raises:
        RunnerError: kind `unsupported`, for what is no tensor of numbers.
    """
    kind = node.type
    if not kind.startswith("tensor("):
        message = f"onnxruntime: {node.name} is {kind}, and only tensors can be compared"
        raise RunnerError("unsupported", message)
    named = _NUMPY_NAMES.get(kind, kind[len("tensor(") : -1])
    dtype = comparable("onnxruntime", str(node.name), named)
    shape = tuple(d if isinstance(d, int) and d >= 0 else None for d in node.shape)
    how = (told or {}).get(node.name, {})
    return TensorSpec(node.name, dtype, shape, how.get("scale"), how.get("zero_point"))


def load_error(error: Exception, version: str, path: str) -> RunnerError:
    """The refusal of a file, by what ONNX Runtime said."""
    text = str(error)
    refused_for = _UNSUPPORTED_WORDS.search(text)
    if refused_for:
        return RunnerError(
            "unsupported",
            f"onnxruntime {version} can't run {path}: {refused_for.group()}; use a newer "
            "onnxruntime, or export with an older opset and IR version",
            classify(error).detail,
        )
    refused = classify(error, "model" if any(w in text for w in _MODEL_WORDS) else "backend")
    return RunnerError(refused.kind, f"{path}: {refused.message}", refused.detail)
