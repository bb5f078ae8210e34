"""The architectures that are known: what their arrays are called, and how libraries differ."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Tuple

from runner.architectures import (
    convnext_tiny,
    densenet121,
    efficientnet_b0,
    inception_v3,
    mobilenet_v2,
    mobilenet_v3_large,
    resnet50,
    resnet101_v2,
    squeezenet1_1,
    vit_b_16,
)
from runner.architectures.base import Architecture, Value, Variant
from runner.errors import RunnerError

__all__ = ["Architecture", "Value", "Variant", "effective", "find", "names"]

_ALL: Dict[str, Architecture] = {
    module.ARCHITECTURE.name: module.ARCHITECTURE
    for module in (
        mobilenet_v2,
        resnet101_v2,
        densenet121,
        inception_v3,
        resnet50,
        efficientnet_b0,
        mobilenet_v3_large,
        convnext_tiny,
        vit_b_16,
        squeezenet1_1,
    )
}


def names() -> Tuple[str, ...]:
    """All of them."""
    return tuple(_ALL)


def find(name: Any) -> Architecture:
    """The architecture of a name.

    Raises:
        RunnerError: kind `unsupported`, naming those that there are.
    """
    if isinstance(name, str) and name in _ALL:
        return _ALL[name]
    message = f"the architecture {name!r} is not known; there are {', '.join(_ALL)}"
    raise RunnerError("unsupported", message)


def effective(
    architecture: Architecture, variant: Mapping[str, Any], library: str
) -> Dict[str, Value]:
    """What a network does in each of the ways that may vary, by key.

    Args:
        architecture: the network's.
        variant: what was asked for; a key that is absent is what the library does.
        library: `torchvision`, `timm`, `torch` (the canonical one of these two) or `keras`.

    Raises:
        RunnerError: kind `unsupported` for an unknown key or value, or Keras where it does not
            have the architecture; it names what there is.
    """
    if library == "keras" and architecture.keras is None:
        message = f"keras.applications has no {architecture.name}: use a PyTorch environment"
        raise RunnerError("unsupported", message)
    for key in variant:
        if architecture.variant(key) is None:
            keys = ", ".join(one.key for one in architecture.variants) or "none"
            message = f"{architecture.name} has no variant {key!r}; it has: {keys}"
            raise RunnerError("unsupported", message)
    values: Dict[str, Value] = {}
    for known in architecture.variants:
        value = variant.get(known.key, known.native(library))
        values[known.key] = _checked(architecture, known, value)
    return values


def _checked(architecture: Architecture, known: Variant, value: Any) -> Value:
    if known.values:
        if value in known.values:
            return str(value)
        wanted = " or ".join(known.values)
    else:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and 0 < value < 1:
            return float(value)
        wanted = "a number between 0 and 1"
    raise RunnerError(
        "unsupported", f"{architecture.name}: {known.key} can't be {value!r}; it can be {wanted}"
    )
