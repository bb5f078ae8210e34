"""Fingerprints of what TensorFlow executes: graphs, XLA's programs, operations one by one.

A function is made once more to be looked at, as `tensorflow_ir` does: TensorFlow tells of its graphs
and passes only then.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Iterable, List, Sequence

import numpy as np

from runner.fingerprints import Fingerprint, count, of_lines
from runner.support import (
    graphdef_fingerprint,
    hlo_text,
    pass_log,
    tensorflow_operators,
    xla_flags,
    xla_hlo,
)


def of_graph(call: Any, fed: Any, folder: str, about: Sequence[str]) -> Fingerprint:
    """The graphs that TensorFlow executes for a function, one for each device.

    Args:
        call: a function that was not called yet.
        fed: what to call it with.
        folder: scratch space.
        about: what chooses kernels and is not seen in a graph.
    """
    with pass_log.standard_error(folder) as said:
        _, functions = tensorflow_operators.record_graphs(lambda: call(fed))
    return of_functions(functions, variables(call), about, said.text)


def of_functions(
    functions: Sequence[Any], values: Iterable["np.ndarray"], about: Sequence[str], said: str
) -> Fingerprint:
    """The graphs of functions that were made ready to run.

    A single operation that is executed eagerly is a function of its own, and prepares the input of
    the others: it is left out beside them.

    Args:
        functions: as `tensorflow_operators.record_graphs` gives them.
        values: of variables.
        about: what chooses kernels and is not seen in a graph.
        said: the log meanwhile.
    """
    several = [each for each in functions if not _is_single_operation(each)]
    graphs = [graph for each in several or functions for graph in each.partition_graphs]
    return of_lines(
        "graphdef",
        [*about, *graphdef_fingerprint.lines(graphs)],
        in_any_order(values),
        operators=graphdef_fingerprint.operators(graphs),
        passes=pass_log.passes(pass_log.GRAPPLER, said),
        code_bytes=sum(graph.ByteSize() for graph in graphs),
    )


def of_hlo(call: Any, fed: Any, folder: str, about: Sequence[str]) -> Fingerprint:
    """The program that XLA makes of a function; arguments as `of_graph`."""
    with pass_log.standard_error(folder) as said:
        shown = call.experimental_get_compiler_ir(fed)
        text = str(shown(stage="optimized_hlo"))
        module = shown(stage="optimized_hlo_serialized")
    values = variables(call.get_concrete_function())
    return of_lines(
        "hlo",
        [*about, *xla_flags.beyond_passes(), *hlo_text.lines(text)],
        [*_literals(module), *in_any_order(values)],
        operators=xla_hlo.operators(text),
        passes=pass_log.passes(pass_log.XLA, said.text),
        code_bytes=len(module),
    )


def of_operations(call: Any, fed: Any, folder: str, about: Sequence[str]) -> Fingerprint:  # noqa: ARG001
    """The operations that a call dispatches, with their attributes and the variables they read."""
    dispatched = tensorflow_operators.Dispatched()
    with dispatched:
        call(fed)
    return of_lines(
        "graphdef",
        [*about, *dispatched.lines],
        in_any_order(dispatched.read),
        operators=count(dispatched.kinds),
    )


def variables(call: Any) -> List["np.ndarray"]:
    """The values of the variables of a concrete function; none of one that was frozen."""
    return [variable.numpy() for variable in getattr(call, "variables", ())]


def in_any_order(values: Iterable["np.ndarray"]) -> List["np.ndarray"]:
    """Sorted by dtype, shape and content: TensorFlow lists variables in an order of its own."""
    return sorted(values, key=lambda each: (each.dtype.str, each.shape, each.tobytes()))


def _literals(module: bytes) -> List[bytes]:
    """The constants of a serialised HLO module, in its order."""
    parsed = import_module("tensorflow.compiler.xla.service.hlo_pb2").HloModuleProto()
    parsed.ParseFromString(module)
    return [
        instruction.literal.SerializeToString(deterministic=True)
        for computation in parsed.computations
        for instruction in computation.instructions
        if instruction.opcode == "constant"
    ]


def _is_single_operation(function: Any) -> bool:
    nodes = [node for graph in function.partition_graphs for node in graph.node]
    return sum(node.op not in tensorflow_operators.PLUMBING for node in nodes) <= 1
