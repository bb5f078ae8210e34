"""Walking an ONNX graph and building the Keras functional model that computes the same.

Each node is folded if nothing in it depends on the input's values, else handed to the function that
knows its operator. What Keras infers of a result's shape is checked against ONNX's at every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from onnx import numpy_helper

from runner.errors import RunnerError, classify
from runner.support import conversion, onnx_folding, onnx_model, onnx_patterns
from runner.support.keras_engine import Keras
from runner.support.keras_layout import CHANNELS_LAST, Axes, inverse, plain
from runner.support.keras_operators import OPERATORS
from runner.support.keras_step import Names, Step, clean
from runner.support.keras_values import Flow, Folded, Tensors, Value, fixed_sizes, output_axes

_FLOAT32 = 1
_FOLLOWED_BATCHES = (3, 5)
_DOMAINS = (*onnx_model.STANDARD, onnx_patterns.DOMAIN)
_COLOURS = (1, 3, 4)


@dataclass(frozen=True)
class Built:
    """A Keras model, and how its input and outputs lie to ONNX's."""

    model: Any
    input_axes: Optional[Axes]
    output_axes: Tuple[Optional[Axes], ...]


def build(
    model: Any,
    keras: Keras,
    item_shape: Optional[Tuple[int, ...]],
    converter: str,
    batch: Optional[int] = None,
) -> Built:
    """The Keras model of an `onnx.ModelProto`.

    Its batch stays open if ONNX leaves it open, unless `batch` fixes it.

    Raises:
        RunnerError: kind `unsupported` for what has no counterpart, with the operator's name;
            `conversion` if Keras refuses what should have one.
    """
    model = onnx_patterns.inlined(model)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    opset = onnx_model.supported_opset(model, converter)
    walk = _Walk(converter, opset, opsets, Tensors(keras))
    tensor = walk.start(model, batch, item_shape)
    for index, node in enumerate(onnx_patterns.rewritten(model.graph)):
        walk.take(node, index)
    return walk.finish(model, tensor)


@dataclass
class _Walk:
    """The values of the edges so far."""

    converter: str
    opset: int
    opsets: Dict[str, int]
    tensors: Tensors
    names: Names = field(default_factory=Names)
    values: Dict[str, Value] = field(default_factory=dict)

    def start(self, model: Any, batch: Optional[int], item_shape: Optional[Tuple[int, ...]]) -> Any:
        """Take the weights in and make the input; its tensor."""
        value = conversion.graph_input(model, self.converter)
        kind = value.type.tensor_type
        if kind.elem_type != _FLOAT32:
            raise RunnerError(
                "unsupported",
                f"{self.converter}: the input {value.name!r} is not float32; export a model that "
                "takes float32",
            )
        for tensor in model.graph.initializer:
            self.values[tensor.name] = Folded((numpy_helper.to_array(tensor),))
        declared = kind.shape.dim[0].dim_value if len(kind.shape.dim) else 0
        fixed = batch or (declared if declared > 0 else None)
        batches = _FOLLOWED_BATCHES if fixed is None else (fixed,)
        shapes = tuple(
            conversion.fed_shape(model, size, item_shape, self.converter) for size in batches
        )
        self.values = {
            name: Folded(tuple(one.worlds[0] for _ in batches))
            for name, one in self.values.items()
            if isinstance(one, Folded)
        }
        axes = input_layout(shapes[0])
        item = tuple(shapes[0][axis] for axis in axes[1:])
        tensor = self.tensors.keras.module.Input(
            shape=item, batch_size=fixed, dtype="float32", name=clean(value.name) or "input"
        )
        self.values[value.name] = Flow(tensor, axes, shapes)
        return tensor

    def take(self, node: Any, index: int) -> None:
        """Convert one node."""
        step = Step(
            self.converter,
            node,
            index,
            self.opset,
            onnx_folding.attributes(node),
            [self._value(name, node) for name in node.input],
            self.tensors,
            self.names,
        )
        try:
            outputs = self._outputs(step)
        except RunnerError:
            raise
        except Exception as error:
            failed = classify(error, "conversion")
            message = f"{step.label} can't be converted: {failed.message}"
            raise RunnerError(failed.kind, message, failed.detail) from error
        for name, value in zip(node.output, outputs):
            self.values[name] = value
            _check(step, value)

    def _outputs(self, step: Step) -> List[Value]:
        node, inputs = step.node, step.inputs
        if node.domain not in _DOMAINS:
            raise step.refuse(
                f"its domain {node.domain!r} is not ONNX's own",
                "export the model without operators of one runtime",
            )
        if node.op_type == "Shape":
            return [_shape(step)]
        if node.op_type == "Size":
            shapes = step.value(0).shapes
            return [Folded(tuple(np.array(np.prod(shape), np.int64) for shape in shapes))]
        constant = all(isinstance(value, Folded) or value is None for value in inputs)
        if constant and node.op_type not in onnx_folding.NEVER:
            return self._folded(step)
        function = OPERATORS.get(node.op_type)
        if function is None:
            raise step.refuse(
                "there is no conversion for it to Keras",
                "run the model by another stack, or export it without this operator",
            )
        return function(step)

    def _folded(self, step: Step) -> List[Value]:
        inputs = [value for value in step.inputs if isinstance(value, Folded)]
        count = 1 if all(value.fixed for value in inputs) else len(inputs[0].worlds)
        worlds = [
            onnx_folding.evaluate(
                step.node,
                [v.worlds[world] if isinstance(v, Folded) else None for v in step.inputs],
                self.opsets,
            )
            for world in range(count)
        ]
        if count == 1:
            worlds = worlds * self._followed()
        return [Folded(tuple(outputs)) for outputs in zip(*worlds)]

    def _followed(self) -> int:
        """How many batches are followed."""
        return next(len(value.shapes) for value in self.values.values() if isinstance(value, Flow))

    def _value(self, name: str, node: Any) -> Optional[Value]:
        if not name:
            return None
        if name not in self.values:
            message = f"{self.converter}: {node.op_type} reads {name!r}, which nothing gives"
            raise RunnerError("model", message)
        return self.values[name]

    def finish(self, model: Any, tensor: Any) -> Built:
        """The model from the input's tensor to the graph's outputs."""
        outputs = [self._output(value.name) for value in model.graph.output]
        seen = [id(tensor)]
        results = []
        for value, flow in zip(model.graph.output, outputs):
            result = flow.tensor
            if id(result) in seen:
                name = self.names.new(len(model.graph.node), value.name, "output")
                result = self.tensors.keras.layers.Activation("linear", name=name)(result)
            seen.append(id(result))
            results.append(result)
        built = self.tensors.keras.module.Model(tensor, results if len(results) > 1 else results[0])
        entry = self.values[conversion.graph_input(model, self.converter).name]
        axes = entry.axes if isinstance(entry, Flow) else ()
        return Built(
            built,
            None if axes == plain(len(axes)) else axes,
            tuple(output_axes(flow) for flow in outputs),
        )

    def _output(self, name: str) -> Flow:
        value = self.values.get(name)
        if not isinstance(value, Flow):
            raise RunnerError(
                "unsupported",
                f"{self.converter}: the output {name!r} does not depend on the input; take it out "
                "of the graph's outputs",
            )
        if value.rank == 4 and value.axes[0] == 0:
            return value
        return self.tensors.to_layout(value, plain(value.rank))


def input_layout(shape: Sequence[int]) -> Axes:
    """Channels last for an image; one that ONNX declares with its channels last stays so."""
    if len(shape) != 4 or (shape[3] in _COLOURS and shape[1] not in _COLOURS):
        return plain(len(shape))
    return CHANNELS_LAST


def _shape(step: Step) -> Value:
    first, last = step.attributes.get("start", 0), step.attributes.get("end")
    shapes = step.value(0).shapes
    return Folded(tuple(np.array(shape[first:last], np.int64) for shape in shapes))


def _check(step: Step, value: Value) -> None:
    """What Keras infers of a shape must be what ONNX says."""
    if isinstance(value, Folded):
        return
    sizes = fixed_sizes(value.shapes)
    expected = tuple(sizes[axis] for axis in value.axes)
    found = tuple(value.tensor.shape)
    if found != expected:
        shown = (
            [found[place] for place in inverse(value.axes)] if len(found) == len(sizes) else found
        )
        raise RunnerError(
            "conversion",
            f"{step.label}: its result is {list(shown)} in Keras and {list(sizes)} in ONNX; its "
            "shapes may hold for one batch only: export the model with a dynamic or a fixed batch",
        )
