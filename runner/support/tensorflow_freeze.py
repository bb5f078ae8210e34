"""A traced function whose variables have become constants, so that TensorFlow can fold them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def frozen(traced: Any) -> Any:
    """The same function with its variables' values inside; `traced` is a concrete function."""
    freezing = import_module("tensorflow.python.framework.convert_to_constants")
    return freezing.convert_variables_to_constants_v2(traced)
