"""What TensorFlow and XLA make of a function, as text: graphs before and after optimisation, HLO."""

from __future__ import annotations

from typing import Any, Iterable

from runner import ir_files
from runner.support import tensorflow_operators

_LARGEST_BYTES = 1024
"""Larger constants are weights, which are in the model and would drown the graph."""


def keep_graph(call: Any, fed: Any, folder: str) -> None:
    """The graph as it was traced, and as TensorFlow executes it: optimised, a file for each device.

    Args:
        call: a function that was not called yet: TensorFlow tells of its graphs only then.
        fed: what to call it with.
        folder: where to write.
    """
    _write(folder, "traced.pbtxt", call.graph.as_graph_def())
    _, functions = tensorflow_operators.record_graphs(lambda: call(fed))
    whole = max(functions, key=lambda each: len(each.pre_optimization_graph.node), default=None)
    if whole is None or not whole.partition_graphs:
        ir_files.not_shown(folder, "TensorFlow gave no graph of the function that it executes")
        return
    _write(folder, "before_optimisation.pbtxt", whole.pre_optimization_graph)
    _write(folder, "optimised.pbtxt", whole.post_optimization_graph)
    for index, graph in enumerate(whole.partition_graphs):
        _write(folder, f"executed_{index}.pbtxt", graph)


def keep_hlo(call: Any, fed: Any, folder: str) -> None:
    """The program that XLA is given, and what it makes of it."""
    text = call.experimental_get_compiler_ir(fed)
    for stage in ("hlo", "optimized_hlo"):
        ir_files.write_text(folder, f"{stage}.txt", text(stage=stage))


def _write(folder: str, name: str, graph: Any) -> None:
    """A graph as text, with the dtype and shape alone of large constants."""
    copied = type(graph)()
    copied.CopyFrom(graph)
    elided = _elide(copied.node)
    for function in copied.library.function:
        elided += _elide(function.node_def)
    said = f"# {elided} constants of more than {_LARGEST_BYTES} bytes are left out\n"
    ir_files.write_text(folder, name, said + str(copied))


def _elide(nodes: Iterable[Any]) -> int:
    count = 0
    for node in nodes:
        if node.op != "Const":
            continue
        tensor = node.attr["value"].tensor
        if tensor.ByteSize() > _LARGEST_BYTES:
            dtype, shape = tensor.dtype, type(tensor.tensor_shape)()
            shape.CopyFrom(tensor.tensor_shape)
            tensor.Clear()
            tensor.dtype = dtype
            tensor.tensor_shape.CopyFrom(shape)
            count += 1
    return count
