"""All operators of ONNX that have a conversion to Keras, by name."""

from __future__ import annotations

from typing import Dict

from runner.support import (
    keras_layers_elementwise,
    keras_layers_linear,
    keras_layers_norm,
    keras_layers_resize,
    keras_layers_shape,
    keras_layers_window,
)
from runner.support.keras_step import Operator

OPERATORS: Dict[str, Operator] = {
    **keras_layers_elementwise.OPERATORS,
    **keras_layers_linear.OPERATORS,
    **keras_layers_norm.OPERATORS,
    **keras_layers_resize.OPERATORS,
    **keras_layers_shape.OPERATORS,
    **keras_layers_window.OPERATORS,
}
