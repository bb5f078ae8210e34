"""A frozen graph (`.pb`) of TensorFlow: what it takes and gives, found by looking at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, List, Sequence, Tuple

from runner.backends.base import TensorSpec, comparable, only_input, require_file
from runner.errors import RunnerError, classify
from runner.support import tensorflow_reach

_FED = "Placeholder"
_FED_OR_NOT = "PlaceholderWithDefault"
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
_NO_ANSWERS = ("NoOp", "Assert", "Const", _FED, _FED_OR_NOT, "Print", "PrintV2", "CheckNumerics")


@dataclass(frozen=True)
class Graph:
    """One tensor in, a list of tensors out."""

    step: Callable[[Any], List[Any]]
    input: TensorSpec
    outputs: Tuple[TensorSpec, ...]


def read(backend: str, tf: Any, path: str) -> Graph:
    """The graph in a file: from its one placeholder to all that nothing else takes.

    Raises:
        RunnerError: kind `model`, if the file is absent, no frozen graph, or one that would read
            or write files or call Python (`tensorflow_reach`); `unsupported`, if it takes several
            inputs, or holds variables, whose values are not in it.
    """
    definition = _parsed(tf, path)
    tensorflow_reach.refuse(definition, path)
    _require_constants(definition, path)
    fed = _inputs(definition)
    if not fed:
        message = f"{path} has no placeholder, so that nothing can be fed to it: freeze it with one"
        raise RunnerError("unsupported", message)
    only_input(backend, fed)
    try:
        wrapped = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(definition, name=""), []
        )
        ends = [
            tensor
            for name in _ends(definition)
            for tensor in wrapped.graph.get_operation_by_name(name).outputs
        ]
        taken = wrapped.graph.get_tensor_by_name(f"{fed[0]}:0")
        pruned = wrapped.prune(taken, ends)
    except Exception as error:
        failed = classify(error, "model")
        message = f"{path}: TensorFlow {tf.__version__} refuses the graph: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    if not ends:
        message = f"{path} has a placeholder and no operation whose result is left: nothing to ask"
        raise RunnerError("unsupported", message)

    def step(value: Any) -> List[Any]:
        return list(pruned(value))

    return Graph(step, _spec(backend, taken), tuple(_spec(backend, tensor) for tensor in ends))


def _parsed(tf: Any, path: str) -> Any:
    require_file(path)
    definition = tf.compat.v1.GraphDef()
    try:
        with open(path, "rb") as file:
            definition.ParseFromString(file.read())
    except Exception as error:
        failed = classify(error, "model")
        message = f"{path} is no frozen graph, or is cut short: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    if not definition.node:
        raise RunnerError(
            "model",
            f"{path} is no frozen graph: it has no nodes. If it is the saved_model.pb of a "
            "SavedModel, give its folder; if it is a graph in text form (.pbtxt), save it as binary",
        )
    return definition


def _require_constants(definition: Any, path: str) -> None:
    found = [node.name for node in tensorflow_reach.nodes(definition) if node.op in _VARIABLES]
    if found:
        raise RunnerError(
            "unsupported",
            f"{path} is a graph with {len(found)} variables ({', '.join(found[:3])}) whose values "
            "are not in the file: freeze it (convert_variables_to_constants), or give a SavedModel",
        )


def _inputs(definition: Any) -> List[str]:
    """Placeholders; one with a default, such as `is_training`, counts only where it is alone."""
    fed = [node.name for node in definition.node if node.op == _FED]
    return fed or [node.name for node in definition.node if node.op == _FED_OR_NOT]


def _ends(definition: Any) -> Sequence[str]:
    """The operations with a result that no other takes, by number where they are `output_N`."""
    taken = {
        source.lstrip("^").partition(":")[0] for node in definition.node for source in node.input
    }
    ends = [n.name for n in definition.node if n.name not in taken and n.op not in _NO_ANSWERS]
    numbers = [name.rpartition("_")[2] for name in ends]
    if all(number.isdigit() for number in numbers):
        return [name for _, name in sorted(zip(map(int, numbers), ends))]
    return ends


def _spec(backend: str, tensor: Any) -> TensorSpec:
    name = str(tensor.name)
    shape = None if tensor.shape.dims is None else tuple(tensor.shape.as_list())
    return TensorSpec(name, comparable(backend, name, str(tensor.dtype.name)), shape)
