"""What TensorFlow's backends read, as one function of a tensor: `.keras`, SavedModel, frozen graph."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Tuple

from runner.backends.base import LoadRequest, TensorSpec, comparable, only_input
from runner.errors import RunnerError, classify
from runner.support import keras_saved, tensorflow_graphdef, tensorflow_reach

Step = Callable[[Any], List[Any]]
_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Source:
    """A model as it was read: one tensor in, a list of tensors out."""

    step: Step
    input: TensorSpec
    outputs: Tuple[TensorSpec, ...]
    kept: Any
    """What owns the variables: TensorFlow frees them with it."""
    ran: Dict[str, Any] = field(default_factory=dict)


def read(backend: str, tf: Any, request: LoadRequest) -> Source:
    """Read the model of a request.

    Raises:
        RunnerError: as `keras_saved.read` and `tensorflow_reach.refuse`; kind `unsupported`, if a SavedModel has no one function
            of one tensor that could be meant; as `tensorflow_graphdef.read`.
    """
    if request.format == "graphdef":
        graph = tensorflow_graphdef.read(backend, tf, request.path)
        return Source(graph.step, graph.input, graph.outputs, graph)
    if request.format == "savedmodel":
        return _saved_model(backend, tf, request.path)
    model = keras_saved.read(backend, request.path, request.precision)
    spec, outputs = keras_saved.described(backend, model)

    def step(fed: Any) -> List[Any]:
        return keras_saved.flatten(model(fed, training=False))

    ran = {"versions": keras_saved.versions(), **keras_saved.about(model, request.path)}
    return Source(step, spec, outputs, model, ran)


def _saved_model(backend: str, tf: Any, path: str) -> Source:
    if not os.path.isfile(os.path.join(path, "saved_model.pb")):
        raise RunnerError("model", f"{path} is no SavedModel: it is no folder with saved_model.pb")
    try:
        _refuse_reaching_out(path)
        loaded = tf.saved_model.load(path)
    except RunnerError:
        raise
    except Exception as error:
        refused = classify(error, "model")
        message = f"{path}: {refused.message}"
        raise RunnerError(refused.kind, message, refused.detail) from error
    name, signature = _signature(backend, loaded, path)
    tensorflow_reach.refuse(signature.graph.as_graph_def(), path)
    inputs = dict(signature.structured_input_signature[1])
    only_input(backend, sorted(inputs))
    ((key, given),) = inputs.items()

    outputs = dict(signature.structured_outputs)
    order = sorted(outputs, key=_place)

    def step(fed: Any) -> List[Any]:
        answered = signature(**{key: fed})
        return [answered[name] for name in order]

    return Source(
        step,
        _spec(backend, key, given),
        tuple(_spec(backend, output, outputs[output]) for output in order),
        loaded,
        {"signature": name},
    )


def _place(name: str) -> Tuple[str, int]:
    """Sorts `output_2` before `output_10`."""
    head, _, number = name.rpartition("_")
    return (head, int(number)) if number.isdigit() else (name, -1)


def _refuse_reaching_out(path: str) -> None:
    """Look at all graphs of a folder first: loading runs those that initialise it."""
    # What the loader itself reads, so that it can't be given another graph than this.
    from tensorflow.python.saved_model import loader_impl

    for graphs in loader_impl.parse_saved_model(path).meta_graphs:
        tensorflow_reach.refuse(graphs.graph_def, path, with_checkpoints=True)


def _signature(backend: str, loaded: Any, path: str) -> Tuple[str, Any]:
    """The signature that is meant: `serving_default`, or the only one there is."""
    signatures = dict(loaded.signatures)
    if _SIGNATURE in signatures:
        return _SIGNATURE, signatures[_SIGNATURE]
    if len(signatures) == 1:
        return next(iter(signatures.items()))
    listed = ", ".join(sorted(signatures)) or "none"
    raise RunnerError(
        "unsupported",
        f"{backend}: {path} has the signatures {listed}, and none is named {_SIGNATURE}: save it "
        "with the function to be run as the signature serving_default",
    )


def _spec(backend: str, name: str, tensor: Any) -> TensorSpec:
    dims = tensor.shape.dims
    shape = None if dims is None else tuple(tensor.shape.as_list())
    dtype = comparable(backend, name, str(tensor.dtype.name))
    return TensorSpec(name=name, dtype=dtype, shape=shape)
