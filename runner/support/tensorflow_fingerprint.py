"""Fingerprints of what TensorFlow executes: graphs, XLA's programs, operations one by one.

A function is made once more to be looked at, as `tensorflow_ir` does: TensorFlow tells of its graphs
and passes only then.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any, Dict, Iterable, List, Sequence

import numpy as np

from runner.errors import RunnerError
from runner.fingerprints import Fingerprint, count, of_lines
from runner.support import (
    graphdef_fingerprint,
    pass_log,
    tensorflow_operators,
    xla_flags,
    xla_form,
)

_RENAMED = "looked_at_for_fingerprint"


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
        passes=pass_log.optimizers(said),
        code_bytes=sum(graph.ByteSize() for graph in graphs),
    )


def of_hlo(call: Any, fed: Any, folder: str, about: Sequence[str]) -> Fingerprint:  # noqa: ARG001
    """The program that XLA makes of a function, and its code.

    Args:
        call: a function that was not called yet, of a step that was `renamed`.
        fed: what to call it with.
        folder: where XLA dumps: see `dump_options`.
        about: is seen in the program.

    Raises:
        RunnerError: kind `unsupported`, where this XLA dumps nothing.
    """
    call(fed)
    with tempfile.TemporaryDirectory(prefix="xla-") as dumped:
        for name in os.listdir(folder):
            shutil.move(os.path.join(folder, name), dumped)
        if not os.listdir(dumped):
            message = "this TensorFlow's XLA dumps nothing of what it compiles to"
            raise RunnerError("unsupported", message)
        shown = call.experimental_get_compiler_ir(fed)
        text, module = str(shown(stage="optimized_hlo")), shown(stage="optimized_hlo_serialized")
        values = in_any_order(variables(call.get_concrete_function()))
        flags = xla_form.running(os.environ.get("XLA_FLAGS", ""))
        return xla_form.fingerprint(text, module, dumped, values, flags)


def dump_options(folder: str) -> Dict[str, Any]:
    """XLA's flags with which it writes into a folder what it makes of functions `renamed`.

    It reads them when it starts: what a cell runs is not dumped, which would take time and memory.
    """
    wanted = {
        **xla_form.DUMP_OPTIONS,
        "xla_dump_to": folder,
        "xla_dump_hlo_module_re": f".*{_RENAMED}.*",
    }
    return xla_flags.known("tensorflow", wanted)


def renamed(step: Any) -> Any:
    """A step by the name that `dump_options` mean."""

    def renamed_step(fed: Any) -> Any:
        return step(fed)

    renamed_step.__name__ = _RENAMED
    return renamed_step


def of_operations(call: Any, fed: Any, folder: str, about: Sequence[str]) -> Fingerprint:  # noqa: ARG001
    """The operations that a call dispatches, with their attributes and the variables they read."""
    with tensorflow_operators.dispatching(keep_constants=True) as dispatched:
        call(fed)
    return of_lines(
        "graphdef",
        [*about, *dispatched.lines],
        in_any_order(dispatched.constants),
        operators=count(operator.kind for operator in dispatched.operators),
    )


def variables(call: Any) -> List["np.ndarray"]:
    """The values of the variables of a concrete function; none of one that was frozen."""
    return [variable.numpy() for variable in getattr(call, "variables", ())]


def in_any_order(values: Iterable["np.ndarray"]) -> List["np.ndarray"]:
    """Sorted by dtype, shape and content: TensorFlow lists variables in an order of its own."""
    # Of a scalar TensorFlow gives no array.
    arrays = [np.asarray(value) for value in values]
    return sorted(arrays, key=lambda each: (each.dtype.str, each.shape, each.tobytes()))


def _is_single_operation(function: Any) -> bool:
    nodes = [node for graph in function.partition_graphs for node in graph.node]
    return sum(node.op not in tensorflow_operators.PLUMBING for node in nodes) <= 1
