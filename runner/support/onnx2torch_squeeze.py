"""onnx2torch's Squeeze, with axes that are constants where the ONNX file says so.

From opset 13 on the axes are an input. onnx2torch 1.5 reads constant ones for Unsqueeze but not for
Squeeze, and `torch.export` then refuses a dimension that depends on data. TensorFlow's models, which
end in a mean and a Squeeze, all have one.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any, Callable

_VERSIONS = (13, 21)


def take_constants() -> None:
    """Register a Squeeze that reads constant axes when the model is converted."""
    registry = import_module("onnx2torch.node_converters.registry")
    converters = registry._CONVERTER_REGISTRY  # noqa: SLF001 - it has no way to replace one
    for description, original in list(converters.items()):
        squeezes = description.operation_type == "Squeeze" and description.version in _VERSIONS
        if squeezes and not isinstance(original, partial):
            converters[description] = partial(_squeeze, original)


def _squeeze(original: Callable[[Any, Any], Any], node: Any, graph: Any) -> Any:
    common = import_module("onnx2torch.utils.common")
    static = import_module("onnx2torch.node_converters.squeeze").OnnxSqueezeStaticAxes
    values = node.input_values
    if len(values) < 2 or not values[1]:
        return original(node, graph)
    try:
        axes = common.get_const_value(values[1], graph).tolist()
    except KeyError:
        return original(node, graph)
    return common.OperationConverterResult(
        torch_module=static(axes=axes),
        onnx_mapping=common.OnnxMapping(inputs=(values[0],), outputs=node.output_values),
    )
