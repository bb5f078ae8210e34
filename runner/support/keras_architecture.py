"""Models of `keras.applications`, made to take the arrays of a weights file.

Their outputs are logits. Images are channels-last, and the batch is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from runner import architectures
from runner.architectures import Architecture, Value
from runner.errors import RunnerError, classify
from runner.support import (
    keras_names_convnext,
    keras_names_densenet,
    keras_names_efficientnet,
    keras_names_inception,
    keras_names_mobilenet,
    keras_names_resnet,
    keras_saved,
    keras_variants,
    weights_folded,
)
from runner.support.keras_architecture_config import Description
from runner.support.keras_engine import Keras
from runner.support.keras_names_rows import Row, Slot, slots

_NO_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Application:
    """How Keras makes one architecture.

    `rows(major)` pairs its layers with PyTorch's names. `smallest` is the least height and width in
    pixels. `bare` are the arguments that leave its own preprocessing out, and `preprocessing` the
    classes of the layers that have to be taken out for that.
    """

    rows: Callable[[int], Iterator[Row]]
    smallest: int = 32
    bare: Tuple[str, ...] = ()
    preprocessing: Tuple[str, ...] = ()


_APPLICATIONS: Mapping[str, Application] = {
    "mobilenet_v2": Application(keras_names_mobilenet.v2),
    "resnet101_v2": Application(keras_names_resnet.v2_101),
    "densenet121": Application(keras_names_densenet.rows),
    "inception_v3": Application(keras_names_inception.rows, smallest=75),
    "resnet50": Application(keras_names_resnet.v1_50),
    "efficientnet_b0": Application(
        keras_names_efficientnet.rows, preprocessing=("Rescaling", "Normalization")
    ),
    "mobilenet_v3_large": Application(
        keras_names_mobilenet.v3_large, bare=("include_preprocessing",)
    ),
    "convnext_tiny": Application(keras_names_convnext.rows, bare=("include_preprocessing",)),
}


def of_arrays(
    keras: Keras,
    name: str,
    arrays: Mapping[str, np.ndarray],
    variant: Mapping[str, Any],
    item_shape: Sequence[int] = (),
) -> Any:
    """Keras's own model of an architecture with the weights of a file.

    Args:
        keras: to make it with.
        name: the architecture's.
        arrays: of the file, under any names that the architecture knows, in PyTorch's layouts. The
            head's says how many classes there are.
        variant: where the model is to differ from Keras's own.
        item_shape: the shape of one image as PyTorch has it, [3, H, W]; empty: the architecture's.

    Returns:
        a functional model: images [N, H, W, 3] float32, normalised as they are for PyTorch, to
        logits [N, classes]. What Keras would do to raw pixels first is left out.

    Raises:
        RunnerError: kind `unsupported` for the architecture, variant or size; `model` for arrays
            that do not fit, naming them.
    """
    architecture = architectures.find(name)
    values = architectures.effective(architecture, variant, "keras")
    classes = weights_folded.classes_of(arrays, architecture)
    made = native(keras, architecture, classes, item_shape, own_input=False)
    fitted = _fitted(keras, made, architecture, arrays, values)
    description = Description(keras, made)
    keras_variants.apply(keras, description, made, architecture, values)
    for layer in description.names(*_APPLICATIONS[name].preprocessing):
        description.remove(layer)
    for layer in _to_be_scaled(keras, made, name, fitted):
        description.update(layer, scale=True)
    make_storable(keras, description)
    model = description.build() if description.changed else made
    for slot in _slots(keras, model, name):
        if slot.variable is not None:
            slot.variable.assign(slot.value(fitted[slot.name]))
    return model


def native(
    keras: Keras,
    architecture: Architecture,
    classes: int,
    item_shape: Sequence[int],
    *,
    own_input: bool,
) -> Any:
    """Keras's own model, with weights that mean nothing.

    Args:
        keras: to make it with.
        architecture: that Keras has.
        classes: how many.
        item_shape: [3, H, W]; empty: the architecture's own.
        own_input: whether it is to take raw pixels, 0 to 255, where Keras has it do so.

    Raises:
        RunnerError: kind `unsupported`, for a size that the architecture can't take, or a Keras
            that has not got it.
    """
    application = _APPLICATIONS[architecture.name]
    height, width = _sizes(architecture, application, item_shape)
    build = getattr(keras.module.applications, str(architecture.keras), None)
    if build is None:
        raise RunnerError(
            "unsupported",
            f"Keras {keras.version} has no {architecture.keras}: use an environment with a newer one",
        )
    # Layers that are given no name are numbered, and their numbers are how they are found.
    keras.module.backend.clear_session()
    arguments: Dict[str, Any] = {} if own_input else dict.fromkeys(application.bare, False)
    try:
        return build(
            weights=None,
            input_shape=(height, width, 3),
            classes=classes,
            classifier_activation=None,
            **arguments,
        )
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"Keras {keras.version} can't make {architecture.keras}: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error


def make_storable(keras: Keras, description: Description) -> None:
    """Replace the layers that Keras 2 saves and can't load again without code."""
    if keras.major >= 3:
        return
    for name in description.names("LayerScale"):
        layer = keras.layers.DepthwiseConv2D(1, use_bias=False, name=name)
        description.replace(name, layer)


def _sizes(
    architecture: Architecture, application: Application, item_shape: Sequence[int]
) -> Tuple[int, int]:
    shape = tuple(item_shape) or (3, architecture.size, architecture.size)
    if len(shape) != 3 or shape[0] != 3 or min(shape[1:]) < application.smallest:
        raise RunnerError(
            "unsupported",
            f"{architecture.name} takes images [3, height, width] of at least "
            f"{application.smallest} pixels a side, and {list(shape)} was asked for",
        )
    return shape[1], shape[2]


def _slots(keras: Keras, model: Any, name: str) -> List[Slot]:
    layers = {layer.name: layer for layer in keras_saved.layers(model)}
    rows = list(_APPLICATIONS[name].rows(keras.major))
    absent = [row.layer for row in rows if row.layer not in layers]
    if absent:
        raise RunnerError(
            "unsupported",
            f"Keras {keras.version} names the layers of {name} in a way that is not known here "
            f"(it has no {', '.join(absent[:5])}): use an environment with Keras 2.15 or 3",
        )
    return [slot for row in rows for slot in slots(row, layers[row.layer])]


def _fitted(
    keras: Keras,
    model: Any,
    architecture: Architecture,
    arrays: Mapping[str, np.ndarray],
    values: Mapping[str, Value],
) -> Dict[str, np.ndarray]:
    expected = {slot.name: slot.shape for slot in _slots(keras, model, architecture.name)}
    epsilon = float(values.get("batch_norm_epsilon", _NO_NORM_EPSILON))
    return weights_folded.complete(arrays, expected, architecture, epsilon)


def _to_be_scaled(
    keras: Keras, model: Any, name: str, fitted: Mapping[str, np.ndarray]
) -> List[str]:
    """The batch norms that do not scale in Keras and have to, for these weights."""
    by_name = {layer.name: layer for layer in keras_saved.layers(model)}
    return [
        row.layer
        for row in _APPLICATIONS[name].rows(keras.major)
        for slot in slots(row, by_name[row.layer])
        if slot.variable is None and (fitted[slot.name] != 1).any()
    ]
