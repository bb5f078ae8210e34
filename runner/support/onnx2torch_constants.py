"""onnx2torch's Squeeze, Slice and Pad, with arguments that are constants where the file says so.

From opset 13 on a Squeeze takes its axes as an input, a Slice all of its arguments from 10 on, and
a Pad what it adds from 11 on. onnx2torch 1.5 reads them when the model runs, and `torch.export` then
refuses a size that depends on data, or what is cut from it. TensorFlow's models, which end in a mean
and a Squeeze, and pooling that repeats the edges, which becomes Slices, all have some.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch

Original = Callable[[Any, Any], Any]


class ConstantSlice(torch.nn.Module):
    """Slices one tensor, always alike.

    Args:
        starts: of each axis that is cut; what lies outside of the tensor is cut off, and negative
            ones count from the end, as in ONNX and in Python.
        ends: likewise, exclusive.
        axes: None: the first ones.
        steps: None: 1; negative ones go backwards.
    """

    def __init__(
        self,
        starts: Sequence[int],
        ends: Sequence[int],
        axes: Optional[Sequence[int]] = None,
        steps: Optional[Sequence[int]] = None,
    ) -> None:
        super().__init__()
        numbers = range(len(starts)) if axes is None else axes
        cuts = map(slice, starts, ends, [1] * len(starts) if steps is None else steps)
        self._cuts: List[Tuple[int, slice]] = list(zip(numbers, cuts))

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        """The slice; each axis by its own size."""
        for axis, cut in self._cuts:
            size = tensor.shape[axis]
            first, last, step = cut.indices(size)
            if step < 0:
                # PyTorch only goes forward.
                tensor = tensor.flip(axis)
                first, last, step = size - 1 - first, size - 1 - last, -step
            whole = [slice(None)] * tensor.dim()
            whole[axis] = slice(first, max(first, last), step)
            tensor = tensor[tuple(whole)]
        return tensor


def take_constants() -> None:
    """Register converters that read constant arguments when the model is converted."""
    registry = import_module("onnx2torch.node_converters.registry")
    converters = registry._CONVERTER_REGISTRY  # noqa: SLF001 - it has no way to replace one
    for description, original in list(converters.items()):
        ours = _OURS.get((description.operation_type, description.version))
        if ours is not None and not isinstance(original, partial):
            converters[description] = partial(ours, original)


def _squeeze(original: Original, node: Any, graph: Any) -> Any:
    found = _constants(node, graph)
    if not found or found[0] is None:
        return original(node, graph)
    static = import_module("onnx2torch.node_converters.squeeze").OnnxSqueezeStaticAxes
    return _result(node, static(axes=found[0]))


def _slice(original: Original, node: Any, graph: Any) -> Any:
    found = _constants(node, graph)
    if found is None or any(one is None for one in found[:2]):
        return original(node, graph)
    return _result(node, ConstantSlice(*found))


def _pad(original: Original, node: Any, graph: Any) -> Any:
    found = _constants(node, graph)
    if not found or found[0] is None or len(found) > 2:
        return original(node, graph)
    static = import_module("onnx2torch.node_converters.pad").OnnxPadStatic
    filled = found[1] if len(found) > 1 and found[1] is not None else 0.0
    mode = node.attributes.get("mode", "constant")
    return _result(node, static.create_from_onnx_params(found[0], mode, _scalar(filled)))


def _scalar(value: Any) -> float:
    """A number, which some exporters write as a tensor of one."""
    return float(value[0] if isinstance(value, list) else value)


def _constants(node: Any, graph: Any) -> Optional[List[Any]]:
    """The inputs behind the first, None for one left out; None as a whole if one is no constant."""
    get_const_value = import_module("onnx2torch.utils.common").get_const_value
    names = node.input_values[1:]
    try:
        return [get_const_value(name, graph).tolist() if name else None for name in names]
    except KeyError:
        return None


def _result(node: Any, module: Any) -> Any:
    common = import_module("onnx2torch.utils.common")
    return common.OperationConverterResult(
        torch_module=module,
        onnx_mapping=common.OnnxMapping(inputs=(node.input_values[0],), outputs=node.output_values),
    )


_OURS: Dict[Tuple[str, int], Callable[[Original, Any, Any], Any]] = {
    **{("Squeeze", version): _squeeze for version in (13, 21)},
    **{("Slice", version): _slice for version in (10, 11, 13)},
    **{("Pad", version): _pad for version in (11, 13)},
}
