"""The ways in which a Keras application is made to differ from Keras's own.

Each function changes the description of a model, and does nothing where Keras does already what is
asked for. Which variants an architecture has, `runner.architectures` says.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Tuple

from runner.architectures import Architecture, Value
from runner.errors import RunnerError
from runner.support.keras_architecture_config import Description
from runner.support.keras_engine import Keras
from runner.support.keras_names_resnet import DEPTHS_101

_BOTH_SIDES = ((1, 1), (1, 1))
Change = Callable[[Keras, Description, Any, Value], None]


def apply(
    keras: Keras,
    description: Description,
    model: Any,
    architecture: Architecture,
    values: Mapping[str, Value],
) -> None:
    """Change a description so that its model does what is asked for.

    Args:
        keras: that made the model.
        description: of the model, to be changed.
        model: as Keras made it, for the sizes of its images.
        architecture: of the model.
        values: the effective value of each variant of the architecture.

    Raises:
        RunnerError: kind `unsupported`, for a variant that Keras's model can't be given.
    """
    for key, value in values.items():
        native = architecture.variant(key)
        if native is not None and value == native.keras:
            continue
        change = _CHANGES.get((architecture.name, key)) or _EVERYWHERE.get(key)
        if change is None:
            message = f"{architecture.name}: Keras's model can't be given {key}={value}"
            raise RunnerError("unsupported", message)
        change(keras, description, model, value)


def _epsilon(keras: Keras, description: Description, model: Any, value: Value) -> None:
    del keras, model
    for name in description.names("BatchNormalization"):
        description.update(name, epsilon=float(value))


def _activation(keras: Keras, description: Description, model: Any, value: Value) -> None:
    del keras, model
    for name in description.names("ReLU"):
        description.update(name, max_value=6.0 if value == "relu6" else None)


def _symmetric_padding(keras: Keras, description: Description, model: Any, value: Value) -> None:
    """As many zeros before as behind, wherever a convolution with a wide kernel strides."""
    del model, value
    for name in description.names("Conv2D", "DepthwiseConv2D"):
        settings = description.settings(name)
        kernel, strides = tuple(settings["kernel_size"]), tuple(settings["strides"])
        if strides == (1, 1) or kernel == (1, 1):
            continue
        around = tuple((size // 2, size // 2) for size in kernel)
        if settings["padding"] == "same":
            _pad(keras, description, name, around)
            continue
        (before,) = description.fed_by(name)
        if description.kind(before) == "ZeroPadding2D":
            description.update(before, padding=around)


def _second_stride(keras: Keras, description: Description, model: Any, value: Value) -> None:
    """ResNet-50: the 3x3 convolution of a stage's first block strides, with a zero on each side."""
    del model, value
    for stage in (3, 4, 5):
        description.update(f"conv{stage}_block1_1_conv", strides=(1, 1))
        description.update(f"conv{stage}_block1_2_conv", strides=(2, 2))
        _pad(keras, description, f"conv{stage}_block1_2_conv", _BOTH_SIDES)


def _first_downsampling(keras: Keras, description: Description, model: Any, value: Value) -> None:
    """ResNet101V2: the first block of a stage strides, and not the last of the one before."""
    del keras, model, value
    for stage, depth in enumerate(DEPTHS_101[:-1], start=2):
        last = f"conv{stage}_block{depth}"
        description.update(f"{last}_2_conv", strides=(1, 1))
        for name in description.fed_by(f"{last}_out"):
            if description.kind(name) == "MaxPooling2D":
                description.remove(name)
        for part in (0, 2):
            description.update(f"conv{stage + 1}_block1_{part}_conv", strides=(2, 2))


def _ceil_pool(keras: Keras, description: Description, model: Any, value: Value) -> None:
    """ResNet-50: nothing before, and behind what the last window lacks.

    What is pooled is not negative there, so that a zero is never the largest.
    """
    del keras, value
    sizes = model.get_layer("pool1_pad").input.shape[1:3]
    # Windows of 3 at every second place: with an even size the last one lacks one place.
    behind = tuple((0, 1 - int(size) % 2) for size in sizes)
    description.update("pool1_pad", padding=behind)


def _edge_pool(keras: Keras, description: Description, model: Any, value: Value) -> None:
    """ResNet101V2: what lies beyond the border is never the largest, where Keras puts zeros.

    Keras has no layer that pads with anything else. The outermost row or column, once more, does
    the same: every window that reaches beyond the border holds it already.
    """
    del value
    layers = keras.layers
    height, width, channels = (int(n) for n in model.get_layer("pool1_pad").input.shape[1:])
    image = layers.Input((height, width, channels), name="pool1_edges_input")
    top = layers.Cropping2D(((0, height - 1), (0, 0)), name="pool1_top")(image)
    bottom = layers.Cropping2D(((height - 1, 0), (0, 0)), name="pool1_bottom")(image)
    tall = layers.Concatenate(axis=1, name="pool1_rows")([top, image, bottom])
    left = layers.Cropping2D(((0, 0), (0, width - 1)), name="pool1_left")(tall)
    right = layers.Cropping2D(((0, 0), (width - 1, 0)), name="pool1_right")(tall)
    wide = layers.Concatenate(axis=2, name="pool1_columns")([left, tall, right])
    description.insert_before("pool1_pool", keras.module.Model(image, wide, name="pool1_edges"))
    description.remove("pool1_pad")


def _counted_zeros(keras: Keras, description: Description, model: Any, value: Value) -> None:
    """InceptionV3: the zeros around an image take part in the averages of its border."""
    del model, value
    for name in description.names("AveragePooling2D"):
        _pad(keras, description, name, _BOTH_SIDES)


def _pad(keras: Keras, description: Description, name: str, around: Tuple[Any, ...]) -> None:
    """Put zeros before a layer that has padded by itself so far."""
    layer = keras.layers.ZeroPadding2D(around, data_format="channels_last", name=f"{name}_pad")
    description.insert_before(name, layer)
    description.update(name, padding="valid")


_EVERYWHERE: Dict[str, Change] = {
    "activation": _activation,
    "batch_norm_epsilon": _epsilon,
    "padding": _symmetric_padding,
}
_CHANGES: Dict[Tuple[str, str], Change] = {
    ("inception_v3", "average_pool"): _counted_zeros,
    ("resnet50", "max_pool"): _ceil_pool,
    ("resnet50", "stride"): _second_stride,
    ("resnet101_v2", "downsampling"): _first_downsampling,
    ("resnet101_v2", "max_pool"): _edge_pool,
}
