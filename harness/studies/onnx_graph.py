"""An ONNX graph as a bisection of operators sees it: its tensors in order, and parts cut out of it.

A part lies between two tensors: it holds what leads from the one to the other. What else it needs of
the model's inner values is frozen into it as constants, so every part has one input and one output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from harness.errors import ModelError

Array = npt.NDArray[Any]

_CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})


@dataclass(frozen=True)
class Part:
    """A piece of a model.

    Attributes:
        start: the tensor that it is fed.
        end: the tensor that it gives.
        nodes: indexes of its nodes in the model, in the model's order.
    """

    start: str
    end: str
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class OnnxGraph:
    """A model with what depends on its input worked out.

    Attributes:
        model: the whole model, its weights inside.
        source: name of its input.
        target: name of the output that is looked at.
    """

    model: Any = field(repr=False)
    source: str
    target: str

    @cached_property
    def nodes(self) -> tuple[Any, ...]:
        """The nodes, in an order in which they can be computed."""
        return tuple(self.model.graph.node)

    @cached_property
    def weights(self) -> dict[str, Any]:
        """Initialisers by name."""
        return {one.name: one for one in self.model.graph.initializer}

    @cached_property
    def maker(self) -> dict[str, int]:
        """Index of the node that makes each tensor."""
        return {name: i for i, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def reads(self) -> tuple[tuple[str, ...], ...]:
        """What each node reads, what graphs inside of it take from outside included."""
        return tuple(tuple(dict.fromkeys(_reads(node))) for node in self.nodes)

    @cached_property
    def live(self) -> tuple[int, ...]:
        """Nodes that lie between the input and the output."""
        return self._between(self.source, self.target)

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """The input, and every tensor between it and the output, in order."""
        found = [self.source]
        for index in self.live:
            found += [name for name in self.nodes[index].output if name in self._towards]
        return tuple(found)

    @cached_property
    def cuts(self) -> tuple[str, ...]:
        """Tensors through which everything passes: the input, the output, and those between."""
        readers: dict[str, int] = {}
        for index in self.live:
            for name in self.reads[index]:
                readers[name] = index
        found, open_now = [self.source], {self.source}
        for index in self.live:
            made = {n for n in self.nodes[index].output if n in readers or n == self.target}
            open_now = {n for n in open_now if readers.get(n, -1) > index} | made
            if len(open_now) == 1 and (one := next(iter(open_now))) != found[-1]:
                found.append(one)
        return tuple(found)

    def part(self, start: str, end: str) -> Part | None:
        """What leads from a tensor to another; None where nothing does."""
        nodes = self._between(start, end)
        return Part(start, end, nodes) if nodes else None

    def frozen(self, part: Part) -> tuple[str, ...]:
        """Inner tensors of the model that a part needs beside its start."""
        made = {name for index in part.nodes for name in self.nodes[index].output}
        wanted = dict.fromkeys(name for index in part.nodes for name in self.reads[index])
        return tuple(n for n in wanted if n in self._moving and n not in made and n != part.start)

    def cut(self, part: Part, values: Mapping[str, Array]) -> Any:
        """A part as a model of its own.

        Args:
            part: what to cut out.
            values: what its start, its end and its frozen tensors hold, as the model computes them.

        Raises:
            ModelError: it is no valid model.
        """
        start, end = values[part.start], values[part.end]
        frozen = [
            numpy_helper.from_array(np.ascontiguousarray(values[name]), name)
            for name in self.frozen(part)
        ]
        constant = self._constants(part)
        nodes = [self.nodes[index] for index in sorted({*part.nodes, *constant})]
        wanted = {name for node in nodes for name in _reads(node)}
        weights = [one for name, one in self.weights.items() if name in wanted]
        graph = helper.make_graph(
            nodes,
            "part",
            [helper.make_tensor_value_info(part.start, _type(start), start.shape)],
            [helper.make_tensor_value_info(part.end, _type(end), end.shape)],
            [*weights, *frozen],
        )
        made = helper.make_model(
            graph,
            opset_imports=list(self.model.opset_import),
            functions=list(self.model.functions),
            ir_version=self.model.ir_version,
        )
        return checked(made, f"the part from {part.start} to {part.end}")

    def telling(
        self, names: Sequence[str], fed: Sequence[int]
    ) -> tuple[Any, tuple[str, ...], dict[str, Any]]:
        """The model with inner tensors as outputs.

        Each gets a dimension in front, as an output needs the batch there, whatever it holds.

        Args:
            names: the tensors.
            fed: shape of what will be fed, [1, ...].

        Returns:
            The model, those of the names that it gives, in order, and their dtypes by name.
        """
        made = onnx.ModelProto()
        made.CopyFrom(self.model)
        graph = made.graph
        kind = graph.input[0].type.tensor_type.elem_type
        graph.input[0].CopyFrom(helper.make_tensor_value_info(self.source, kind, list(fed)))
        del graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(made).graph
        types = {v.name: v.type.tensor_type for v in (*inferred.value_info, *inferred.output)}
        opset = next((o.version for o in made.opset_import if o.domain in {"", "ai.onnx"}), 0)
        given = tuple(name for name in names if name in self.maker)
        if opset >= 13:
            axes = numpy_helper.from_array(np.array([0], np.int64), "told_axes")
            graph.initializer.append(axes)
        outputs, dtypes = [], {}
        for index, name in enumerate(given):
            told = f"told_{index}"
            attributes: dict[str, Any] = {} if opset >= 13 else {"axes": [0]}
            inputs = [name, "told_axes"] if opset >= 13 else [name]
            graph.node.append(helper.make_node("Unsqueeze", inputs, [told], **attributes))
            kind, shape = _told(types.get(name))
            dtypes[name] = helper.tensor_dtype_to_np_dtype(kind)
            outputs.append(helper.make_tensor_value_info(told, kind, shape))
        del graph.output[:]
        graph.output.extend(outputs)
        return made, given, dtypes

    def describe(self, part: Part) -> str:
        """The operators of a part: `Conv "stem"`, `Conv "a", Relu "b"`, `12 operators (Conv, Add)`."""
        nodes = [self.nodes[index] for index in part.nodes]
        if len(nodes) <= 3:
            return ", ".join(f'{node.op_type} "{node.name or node.output[0]}"' for node in nodes)
        kinds = dict.fromkeys(node.op_type for node in nodes)
        return f"{len(nodes)} operators ({', '.join(kinds)})"

    @cached_property
    def _moving(self) -> frozenset[str]:
        """Tensors that depend on the input."""
        found = {self.source}
        for index, node in enumerate(self.nodes):
            if found & set(self.reads[index]):
                found |= set(node.output)
        return frozenset(found)

    @cached_property
    def _towards(self) -> frozenset[str]:
        """Tensors that the output depends on."""
        return self._needed(self.target)

    def _needed(self, end: str) -> frozenset[str]:
        found, open_now = {end}, [end]
        while open_now:
            index = self.maker.get(open_now.pop())
            if index is None:
                continue
            new = [name for name in self.reads[index] if name and name not in found]
            found.update(new)
            open_now += new
        return frozenset(found)

    def _between(self, start: str, end: str) -> tuple[int, ...]:
        needed, reached, nodes = self._needed(end), {start}, []
        for index, node in enumerate(self.nodes):
            if reached & set(self.reads[index]) and start not in node.output:
                reached |= set(node.output)
                if needed & set(node.output):
                    nodes.append(index)
        return tuple(nodes) if end in reached and end != start else ()

    def _constants(self, part: Part) -> set[int]:
        """Nodes that compute weights of a part, from nothing that depends on the input."""
        found: set[int] = set()
        open_now = [name for index in part.nodes for name in self.reads[index]]
        while open_now:
            name = open_now.pop()
            index = self.maker.get(name)
            if index is None or name in self._moving or index in found:
                continue
            found.add(index)
            open_now += self.reads[index]
        return found


def read_graph(path: Path, output: int = 0) -> OnnxGraph:
    """An ONNX file, with its weights, ready to be cut.

    Args:
        path: the file.
        output: which of its outputs is looked at.

    Raises:
        ModelError: it has several inputs, or control flow around its operators.
    """
    model = onnx.load(str(path))
    weights = {one.name for one in model.graph.initializer}
    inputs = [one.name for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        raise ModelError(
            f"{path} takes {len(inputs)} inputs ({', '.join(inputs)}), and a part is fed one.",
            "Export the model with one input.",
        )
    kept = [one for one in model.graph.input if one.name == inputs[0]]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    found = OnnxGraph(model, inputs[0], model.graph.output[output].name)
    if len(found.live) == 1 and found.nodes[found.live[0]].op_type in _CONTROL_FLOW:
        raise ModelError(
            f"{path} is one {found.nodes[found.live[0]].op_type}, which cannot be cut.",
            "Export the model without control flow.",
        )
    return found


def checked(model: Any, what: str) -> Any:
    """A model that ONNX finds valid.

    Raises:
        ModelError: with ONNX's own words.
    """
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(f"ONNX does not accept {what}: {first}") from error
    return model


def _reads(node: Any) -> Iterator[str]:
    """Names that a node reads, those that graphs inside of it take from outside included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs
        for graph in graphs:
            own = {one.name for one in (*graph.input, *graph.initializer)}
            own |= {name for inner in graph.node for name in inner.output}
            yield from (n for inner in graph.node for n in _reads(inner) if n not in own)
            yield from (one.name for one in graph.output if one.name not in own)


def _told(kind: Any) -> tuple[int, list[int | None] | None]:
    """The element type and shape of a tensor with a dimension in front, as far as is known."""
    if kind is None or not kind.elem_type:
        return onnx.TensorProto.FLOAT, None
    if not kind.HasField("shape"):
        return kind.elem_type, None
    sizes = [one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim]
    return kind.elem_type, [1, *sizes]


def _type(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))
