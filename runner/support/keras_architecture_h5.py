"""Weights that Keras wrote for one of its applications (`.h5`), loaded into Keras's own model.

Two layouts: that of Keras 2, in which `keras.applications` publishes its files, with a group for
each layer in the order of the model; and `.weights.h5` of Keras 3. A whole model in an HDF5 file is
refused: it may hold code, and Keras reads it in another way.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from importlib import import_module
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from runner import architectures
from runner.backends.base import require_file
from runner.errors import RunnerError, classify
from runner.support import keras_architecture, keras_saved, keras_variants
from runner.support.keras_architecture_config import Description
from runner.support.keras_engine import Keras

_HDF5 = b"\x89HDF\r\n\x1a\n"
_WEIGHTS_H5 = ".weights.h5"
_SHOWN = 5
_STANDARD_DEVIATIONS = np.array([0.229, 0.224, 0.225], np.float32)


def of_file(
    keras: Keras,
    path: str,
    name: str,
    variant: Mapping[str, Any],
    item_shape: Sequence[int] = (),
) -> Any:
    """Keras's own model of an architecture with the weights of a file.

    Args:
        keras: to make it with.
        path: of the file; it says how many classes there are.
        name: the architecture's.
        variant: where the model is to differ from Keras's own.
        item_shape: the shape of one image as [3, H, W]; empty: the architecture's.

    Returns:
        a functional model: images [N, H, W, 3] as Keras's own `preprocess_input` leaves them (raw
        pixels, 0 to 255, where the model does that itself) to logits [N, classes].

    Raises:
        RunnerError: kind `model`, if the file is absent, broken, a whole model or of another
            architecture; `unsupported` for the architecture, variant or size.
    """
    architecture = architectures.find(name)
    values = architectures.effective(architecture, variant, "keras")
    suffix, classes = _layout(path)
    made = keras_architecture.native(keras, architecture, classes, item_shape, own_input=True)
    try:
        if suffix == _WEIGHTS_H5:
            _require_the_same_arrays(made, path)
        with _ending_with(path, suffix) as readable:
            made.load_weights(readable)
    except Exception as error:
        failed = classify(error, "model")
        raise RunnerError(
            failed.kind,
            f"{path} does not fit Keras's {architecture.keras} with {classes} classes: "
            f"{failed.message[:500]}. Name the architecture that these weights are of",
            failed.detail,
        ) from error
    description = Description(keras, made)
    keras_variants.apply(keras, description, made, architecture, values)
    _mend_normalisation(keras, description, made)
    keras_architecture.make_storable(keras, description)
    model = made
    if description.changed:
        model = description.build()
        _copy_weights(made, model)
    for layer in keras_saved.layers(model):
        # A layer that normalises computes from its weights what it applies, when it is told to.
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    return model


def _layout(path: str) -> Tuple[str, int]:
    """What Keras wants the file's name to end with, and how many classes there are."""
    require_file(path)
    with open(path, "rb") as file:
        if file.read(len(_HDF5)) != _HDF5:
            raise RunnerError(
                "model",
                f"{path} is no HDF5 file: give the .h5 that keras.applications downloads, or one "
                "saved by model.save_weights; arrays in .npz, .pth and .safetensors are `weights`",
            )
    try:
        with import_module("h5py").File(path, "r") as file:
            return _layout_of(file, path)
    except RunnerError:
        raise
    except Exception as error:
        failed = classify(error, "model")
        message = f"{path}: cut short or damaged ({failed.message}): download or save it again"
        raise RunnerError(failed.kind, message, failed.detail) from error


def _layout_of(file: Any, path: str) -> Tuple[str, int]:
    if "model_config" in file.attrs or "model_weights" in file:
        raise RunnerError(
            "model",
            f"{path} holds a whole model and not the weights of one: load it with the Keras that "
            "made it and save it with model.save('name.keras'), or save its weights alone with "
            "model.save_weights('name.weights.h5')",
        )
    if "layer_names" in file.attrs or "layer_names0" in file.attrs:
        return ".h5", _last_size(_legacy_arrays(file), path)
    if "layers" in file:
        return _WEIGHTS_H5, _last_size(_head_arrays(file["layers"]), path)
    message = f"{path} holds no weights that Keras wrote: save them with model.save_weights"
    raise RunnerError("model", message)


def _legacy_arrays(file: Any) -> List[Any]:
    """The arrays of the last layer that has any."""
    for layer in reversed(_attribute(file, "layer_names")):
        names = _attribute(file[layer], "weight_names")
        if names:
            return [file[layer][name] for name in names]
    return []


def _attribute(group: Any, name: str) -> List[str]:
    """A list in attributes, which Keras cuts in pieces where it is long."""
    pieces = [name] if name in group.attrs else []
    while f"{name}{len(pieces)}" in group.attrs and name not in group.attrs:
        pieces.append(f"{name}{len(pieces)}")
    words = [word for piece in pieces for word in group.attrs[piece]]
    return [word.decode() if isinstance(word, bytes) else str(word) for word in words]


def _head_arrays(layers: Any) -> List[Any]:
    """The arrays of the last dense layer, or of the last convolution where there is none."""
    for kind in ("dense", "conv2d"):
        numbers = [re.fullmatch(rf"{kind}(?:_(\d+))?", name) for name in layers]
        found = sorted(int(match.group(1) or 0) for match in numbers if match)
        if found:
            last = f"{kind}_{found[-1]}" if found[-1] else kind
            return list(layers[last]["vars"].values())
    return []


def _last_size(arrays: Sequence[Any], path: str) -> int:
    if not arrays or not arrays[-1].shape:
        message = f"{path}: no last layer with arrays is in it: give the weights with the head"
        raise RunnerError("model", message)
    return int(arrays[-1].shape[-1])


def _require_the_same_arrays(model: Any, path: str) -> None:
    """Refuse a file with other arrays than Keras would write for this model.

    Keras itself takes a file in this layout that has more layers than the model, and says nothing.

    Raises:
        RunnerError: kind `model`, listing what is missing, unexpected or of another shape.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = os.path.join(folder, "own" + _WEIGHTS_H5)
        model.save_weights(own)
        wanted = _stored(own)
    found = _stored(path)
    misshapen = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in wanted.items()
        if found.get(name, shape) != shape
    ]
    kinds = (
        ("missing", [name for name in wanted if name not in found]),
        ("unexpected", [name for name in found if name not in wanted]),
        ("of another shape", misshapen),
    )
    wrong = [f"{len(names)} {what}: {_listed(names)}" for what, names in kinds if names]
    if wrong:
        message = f"of {len(wanted)} arrays wanted and {len(found)} found, {'; '.join(wrong)}"
        raise RunnerError("model", message)


def _stored(path: str) -> Dict[str, Tuple[int, ...]]:
    """The arrays of layers in a `.weights.h5`: where each is, and its shape.

    What an optimiser keeps is beside the layers, and the state of generators of random numbers,
    which only training needs, is left out.
    """
    shapes: Dict[str, Tuple[int, ...]] = {}

    def note(name: str, node: Any) -> None:
        if hasattr(node, "shape") and "seed_generator" not in name:
            shapes[name] = tuple(int(size) for size in node.shape)

    with import_module("h5py").File(path, "r") as file:
        file["layers"].visititems(note)
    return shapes


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


@contextlib.contextmanager
def _ending_with(path: str, suffix: str) -> Iterator[str]:
    """The file by a name that ends as Keras wants it, which is how it tells the layouts apart."""
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "source" + suffix)
        os.symlink(os.path.abspath(path), link)
        yield link


def _mend_normalisation(keras: Keras, description: Description, model: Any) -> None:
    """EfficientNet: do to the pixels what was done in training.

    The files of Keras hold standard deviations where its layer takes variances, and Keras divides
    once more by their roots when it downloads the file itself.
    """
    for name in description.names("Normalization"):
        variance = np.asarray(model.get_layer(name).get_weights()[1:2], np.float32).ravel()
        if variance.shape != (3,) or not np.allclose(variance, _STANDARD_DEVIATIONS, atol=1e-3):
            continue
        fed = [n for n in description.names("ZeroPadding2D") if name in description.fed_by(n)]
        for after in fed:
            scale = [float(value) for value in 1 / np.sqrt(_STANDARD_DEVIATIONS)]
            layer = keras.layers.Rescaling(scale, name=f"{name}_roots")
            description.insert_before(after, layer)


def _copy_weights(source: Any, target: Any) -> None:
    """Layer by layer; a layer that stands for another one has the arrays in another shape."""
    given = {layer.name: layer for layer in keras_saved.layers(source) if not _holds_layers(layer)}
    for layer in keras_saved.layers(target):
        wanted = [] if _holds_layers(layer) else layer.get_weights()
        if wanted:
            arrays = given[layer.name].get_weights()
            layer.set_weights([a.reshape(w.shape) for a, w in zip(arrays, wanted)])


def _holds_layers(layer: Any) -> bool:
    return hasattr(layer, "layers")
