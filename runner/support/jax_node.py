"""One node of an ONNX graph as the translation to JAX reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import onnx

from runner.errors import RunnerError


@dataclass(frozen=True)
class Node:
    """An operator's kind, name and attributes, under the opset of its model."""

    kind: str
    name: str
    attributes: Dict[str, Any]
    opset: int
    outputs: int

    @classmethod
    def read(cls, proto: Any, opset: int) -> Node:
        """From `onnx.NodeProto`."""
        attributes = {each.name: _value(each) for each in proto.attribute}
        return cls(proto.op_type, proto.name, attributes, opset, len(proto.output))

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.kind} {self.name!r}" if self.name else f"a {self.kind}"

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or what it is where the model does not say."""
        return self.attributes.get(name, default)

    def given(self, name: str, argument: Any) -> Optional[np.ndarray]:
        """What older opsets have as an attribute and newer ones as an input; None: not given.

        Raises:
            RunnerError: kind `unsupported`, where it is known only when the model runs.
        """
        if argument is None:
            held = self.get(name)
            return None if held is None else np.asarray(held)
        return self.constant(name, argument)

    def constant(self, name: str, argument: Any) -> np.ndarray:
        """An input that must be known beforehand.

        Raises:
            RunnerError: kind `unsupported`, where it is not.
        """
        if not isinstance(argument, (np.ndarray, np.generic)):
            raise refuse(
                self, f"its {name} is known only when the model runs, and XLA's shapes are fixed"
            )
        return np.asarray(argument)


def _value(attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def refuse(node: Node, why: str) -> RunnerError:
    """The error for a node that JAX can't be given."""
    return RunnerError("unsupported", f"onnx>jax can't convert {node.label}: {why}")


def axes_of(given: Optional[np.ndarray], rank: int) -> Optional[Tuple[int, ...]]:
    """Axes counted from the front; None where none were given."""
    if given is None or given.size == 0:
        return None
    return tuple(int(axis) % rank for axis in given.reshape(-1))


def spatial_padding(
    node: Node,
    sizes: Tuple[int, ...],
    kernel: Tuple[int, ...],
    strides: Tuple[int, ...],
    dilations: Tuple[int, ...],
) -> List[Tuple[int, int]]:
    """Padding before and after each spatial axis, by `auto_pad` or `pads`."""
    auto = node.get("auto_pad", "NOTSET")
    count = len(kernel)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for size, width, stride, dilation in zip(sizes, kernel, strides, dilations):
            reach = (width - 1) * dilation + 1
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            less, more = total // 2, total - total // 2
            pairs.append((less, more) if auto == "SAME_UPPER" else (more, less))
        return pairs
    if auto == "VALID":
        return [(0, 0)] * count
    pads = [int(pad) for pad in node.get("pads", [0] * (2 * count))]
    return list(zip(pads[:count], pads[count:]))
