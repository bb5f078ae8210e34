"""A model in Keras's own file (`.keras`), read and described, by whichever engine Keras has."""

from __future__ import annotations

import contextlib
import json
import warnings
import zipfile
from importlib import import_module
from typing import Any, Dict, Iterator, List, Optional, Tuple

from runner.backends.base import TensorSpec, comparable, installed_version, only_input, require_file
from runner.errors import RunnerError, classify

_NARROW = ("float16", "bfloat16")

# How Keras says that a file is fine and asks for code that it does not hold.
_CODE_WORDS = (
    "lambda",
    "safe_mode",
    "could not locate",
    "could not be deserialized",
    "unknown layer",
    "unknown object",
    "custom object",
    "registered",
)


@contextlib.contextmanager
def warnings_are_no_errors() -> Iterator[None]:
    """Print the warnings that libraries raise about their own parts, whatever was asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


def read(backend: str, path: str, precision: str) -> Any:
    """The model in a file, without its optimiser and loss, and without running code of the file.

    Raises:
        RunnerError: kind `model`, if the file is absent or broken; `unsupported`, if it needs code
            that it does not hold, or computes with less than float32 where `f32` was asked for.
    """
    require_file(path)
    saved_by = saved_with(path)
    if saved_by is None:
        raise RunnerError(
            "model",
            f"{path} is no .keras file (a zip archive with metadata.json): save the model with "
            "`model.save('name.keras')`",
        )
    keras = import_module("keras")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise _refused(backend, path, saved_by, error) from error
    if precision == "f32":
        _require_float32(backend, model)
    return model


def saved_with(path: str) -> Optional[str]:
    """The version of Keras that wrote a file; None where it is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            told = json.loads(archive.read("metadata.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return str(told.get("keras_version", "")) if isinstance(told, dict) else None


def described(backend: str, model: Any) -> Tuple[TensorSpec, Tuple[TensorSpec, ...]]:
    """The model's one input, and its outputs in the order that `flatten` gives them.

    Raises:
        RunnerError: kind `unsupported`, if the model does not say what it takes, or takes several.
    """
    try:
        inputs, outputs = list(model.inputs or ()), list(model.outputs or ())
    except (AttributeError, ValueError):
        inputs, outputs = [], []
    if not inputs or not outputs:
        raise RunnerError(
            "unsupported",
            f"{backend}: the model does not say what it takes and gives: build it with an Input "
            "layer (a functional model), and save it again",
        )
    only_input(backend, [str(tensor.name) for tensor in inputs])
    return _spec(inputs[0]), tuple(_spec(tensor) for tensor in outputs)


def flatten(result: Any) -> List[Any]:
    """The tensors in what a model gives: itself, a sequence, or a mapping by sorted keys."""
    if isinstance(result, dict):
        return [tensor for key in sorted(result) for tensor in flatten(result[key])]
    if isinstance(result, (list, tuple)):
        return [tensor for part in result for tensor in flatten(part)]
    return [result]


def about(model: Any, path: str) -> Dict[str, Any]:
    """What `Description.ran` says of a model: dtypes, layouts of its images, and who saved it."""
    layouts = {str(getattr(layer, "data_format", None) or "") for layer in layers(model)}
    computes = {str(getattr(layer, "compute_dtype", None) or "") for layer in layers(model)}
    found: Dict[str, Any] = {"saved_by_keras": saved_with(path) or ""}
    if computes - {""}:
        found["computes_in"] = sorted(computes - {""})
    named = sorted(layouts - {""})
    if named:
        found["data_format"] = named[0] if len(named) == 1 else named
    return found


def versions() -> Dict[str, str]:
    """Of Keras."""
    return {"keras": installed_version("keras")}


def layers(model: Any) -> Iterator[Any]:
    """Every layer, those of models inside a model too."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from layers(layer)


def _require_float32(backend: str, model: Any) -> None:
    narrow = {
        str(getattr(layer, "name", "?")): str(layer.compute_dtype)
        for layer in layers(model)
        if str(getattr(layer, "compute_dtype", "")) in _NARROW
    }
    if narrow:
        listed = ", ".join(f"{name} in {dtype}" for name, dtype in list(narrow.items())[:6])
        raise RunnerError(
            "unsupported",
            f"{backend}: the precision f32 is whole float32, and {len(narrow)} of the model's "
            f"layers compute with less ({listed}): ask for the precision default, or save the model "
            "with float32 layers",
        )


def _refused(backend: str, path: str, saved_by: str, error: Exception) -> RunnerError:
    found = classify(error, "model")
    words = found.message.lower()
    if found.kind != "model" or not any(word in words for word in _CODE_WORDS):
        return RunnerError(found.kind, f"{path}: {found.message}", found.detail)
    here = installed_version("keras")
    return RunnerError(
        "unsupported",
        f"{backend}: {path} was saved by Keras {saved_by or 'of an unknown version'} and Keras "
        f"{here} can't rebuild it without code that is not in the file (a Lambda or custom layer, or "
        "a layer of another Keras): save it with built-in layers and the Keras that is to read it, or "
        f"export it as a SavedModel. Keras said: {found.message[:400]}",
        found.detail,
    )


def _spec(tensor: Any) -> TensorSpec:
    dtype = getattr(tensor.dtype, "name", None) or str(tensor.dtype)
    shape = None
    if tensor.shape is not None:
        shape = tuple(None if size is None else int(size) for size in tensor.shape)
    name = str(tensor.name)
    return TensorSpec(name=name, dtype=comparable("keras", name, str(dtype)), shape=shape)
