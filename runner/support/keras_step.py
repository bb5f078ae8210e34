"""One ONNX node on its way to Keras: what an operator's function is given, and what it may ask."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from runner.errors import RunnerError
from runner.support.keras_engine import Keras
from runner.support.keras_layout import Axes, Shape
from runner.support.keras_values import Flow, Folded, Tensors, Value

Operator = Callable[["Step"], List[Value]]


@dataclass
class Names:
    """Names of Keras layers that nothing else in the model has.

    Each begins with the number of its node: Keras itself never names a layer so.
    """

    taken: Set[str] = field(default_factory=set)

    def new(self, index: int, name: str, role: str = "") -> str:
        """A name for a layer that comes from the node `name`, the `index`-th of its graph."""
        parts = [f"n{index}", clean(name), role]
        name = first = "_".join(part for part in parts if part)
        count = 1
        while name in self.taken:
            count += 1
            name = f"{first}_{count}"
        self.taken.add(name)
        return name


def clean(name: str) -> str:
    """A name of ONNX's with nothing that Keras refuses in one."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", name).strip("_.")


@dataclass
class Step:
    """A node, its inputs, and the tools to make what it means."""

    converter: str
    node: Any
    index: int
    opset: int
    attributes: Dict[str, Any]
    inputs: List[Optional[Value]]
    tensors: Tensors
    names: Names

    @property
    def keras(self) -> Keras:
        """The library."""
        return self.tensors.keras

    @property
    def label(self) -> str:
        """How a person finds the node."""
        return f"{self.converter}: operator {self.node.op_type} (node {self._name()!r})"

    def _name(self) -> str:
        return self.node.name or next((name for name in self.node.output if name), "")

    def refuse(self, why: str, remedy: str = "") -> RunnerError:
        """An error of kind `unsupported` that names the operator and its node."""
        ending = f"; {remedy}" if remedy else ""
        return RunnerError("unsupported", f"{self.label}: {why}{ending}")

    def has(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """An input."""
        value = self.inputs[index] if self.has(index) else None
        if value is None:
            raise RunnerError("model", f"{self.label}: its input {index} is missing")
        return value

    def flow(self, index: int = 0, rank: Optional[int] = None) -> Flow:
        """An input that is computed from the model's input."""
        value = self.value(index)
        if isinstance(value, Folded):
            raise self.refuse(
                f"its input {index} is a constant and another is not",
                "simplify the graph so that constants are computed ahead",
            )
        if rank is not None and value.rank != rank:
            raise self.refuse(
                f"its input has {value.rank} axes; {rank} are supported (images)",
            )
        return value

    def image(self, index: int = 0) -> Flow:
        """An input of rank 4 with its channels last."""
        return self.tensors.channels_last(self.flow(index, rank=4))

    def constant(self, index: int) -> np.ndarray:
        """The value of an input that must be a constant."""
        value = self.value(index)
        if isinstance(value, Flow):
            raise self.refuse(
                f"its input {index} ({self.node.input[index]!r}) must be a constant and is "
                "computed from the model's input",
                "export the model with static shapes and constant weights",
            )
        return value.array()

    def weights(self, index: int) -> np.ndarray:
        """A constant input of float32."""
        array = self.constant(index)
        self.check_float32(array.dtype, f"its input {index} ({self.node.input[index]!r})")
        return array

    def check_float32(self, dtype: np.dtype, what: str) -> None:
        """Refuse numbers that Keras would not hold bit by bit as float32."""
        if dtype != np.float32:
            raise self.refuse(f"{what} is {dtype}", "export the model with float32 weights")

    def integers(self, name: str, index: int) -> Optional[List[int]]:
        """What older operators have as an attribute and newer ones as an input; None: neither."""
        if name in self.attributes:
            return [int(one) for one in self.attributes[name]]
        if not self.has(index):
            return None
        return [int(one) for one in self.constant(index).reshape(-1)]

    def op(self, name: str) -> Any:
        """An operation of `keras.ops`."""
        function = getattr(self.keras.ops, name, None)
        if function is None:
            raise self.refuse(
                f"Keras {self.keras.version} has no operation {name!r}", "use a newer Keras"
            )
        return function

    def layer(self, kind: str, *arguments: Any, role: str = "", **settings: Any) -> Any:
        """A standard layer of Keras."""
        name = self.names.new(self.index, self._name(), role)
        return getattr(self.keras.layers, kind)(*arguments, name=name, **settings)

    def weighted(self, layer: Any, tensor: Any, weights: Sequence[Optional[np.ndarray]]) -> Any:
        """A layer's output on a tensor, once its weights are set: the same bits as in ONNX."""
        result = layer(tensor)
        layer.set_weights([np.asarray(array) for array in weights if array is not None])
        return result

    def result(self, tensor: Any, axes: Axes, source: Flow, *, nonnegative: bool = False) -> Flow:
        """What a layer made of a flow: its shape as Keras infers it, in ONNX's order of axes."""
        open_sizes = [sizes for sizes in zip(*source.shapes) if len(set(sizes)) > 1]
        shapes: List[List[int]] = [[0] * len(axes) for _ in source.shapes]
        for place, axis in enumerate(axes):
            size = tensor.shape[place]
            for world, shape in enumerate(shapes):
                shape[axis] = open_sizes[0][world] if size is None else int(size)
        return Flow(tensor, axes, tuple(tuple(shape) for shape in shapes), nonnegative)

    def alike(self, tensor: Any, source: Flow, *, nonnegative: bool = False) -> Flow:
        """What has the shape and layout of its source."""
        return Flow(tensor, source.axes, source.shapes, nonnegative)


def dropped(shapes: Sequence[Shape], gone: Sequence[int]) -> Tuple[Shape, ...]:
    """Shapes without some of their axes."""
    return tuple(tuple(s for axis, s in enumerate(shape) if axis not in gone) for shape in shapes)
