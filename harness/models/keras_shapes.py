"""Shapes of what a Keras layer gives, for the layers that classifiers end with."""

from __future__ import annotations

import math
from typing import Any

from harness.models.model_file import Shape

_MOST_DEPTH = 16
_KEEP_SHAPE = {
    "Activation",
    "BatchNormalization",
    "Dropout",
    "Identity",
    "LayerNormalization",
    "LeakyReLU",
    "ReLU",
    "Rescaling",
    "Softmax",
}
_GLOBAL_POOLING = {"GlobalAveragePooling2D", "GlobalMaxPooling2D"}


def output_shape(
    layer: dict[str, Any], layers: dict[str, Any] | None = None, depth: int = 0
) -> Shape | None:
    """The shape [batch, …] that a layer gives.

    Args:
        layer: as Keras wrote it: class_name, config, build_config, inbound_nodes.
        layers: of the same model by name, to look up what feeds it.
        depth: how many models and layers lie around it.

    Returns:
        None where the file does not tell it.
    """
    if depth > _MOST_DEPTH:
        return None
    kind, config = layer["class_name"], layer["config"]
    if kind == "Sequential" or "output_layers" in config:
        return _of_model(layer, layers, depth)
    if kind == "InputLayer":
        return _sizes(config.get("batch_shape") or config.get("batch_input_shape"))
    fed = _fed(layer, layers, depth)
    if kind == "Reshape":
        target = (int(size) for size in config["target_shape"])
        return (fed[0] if fed else None, *(None if size < 0 else size for size in target))
    if fed is None or kind in _KEEP_SHAPE:
        return fed
    return _reduced(kind, config, fed)


def _reduced(kind: str, config: dict[str, Any], fed: Shape) -> Shape | None:
    if kind == "Dense":
        return (*fed[:-1], int(config["units"]))
    if kind == "Flatten":
        sides = [size for size in fed[1:] if size is not None]
        return (fed[0], math.prod(sides) if len(sides) == len(fed) - 1 else None)
    if kind in _GLOBAL_POOLING and len(fed) == 4 and not config.get("keepdims"):
        return (fed[0], fed[1] if config.get("data_format") == "channels_first" else fed[3])
    return None


def _of_model(model: dict[str, Any], around: dict[str, Any] | None, depth: int) -> Shape | None:
    config = model["config"]
    inner = config["layers"]
    fed = _fed(model, around, depth)
    if model["class_name"] == "Sequential":
        chain = [layer["config"].get("name") for layer in inner]
        by_name = dict(zip(chain, inner, strict=True))
        # A sequential model names no feeds: each layer is fed by the one before it.
        feeds = dict(zip(chain[1:], chain, strict=False))
        named = {
            name: {**layer, "inbound_nodes": [[[feeds[name], 0, 0, {}]]] if name in feeds else []}
            for name, layer in by_name.items()
        }
        shape = output_shape(named[chain[-1]], named, depth + 1) if chain else None
    else:
        ends = config["output_layers"]
        while isinstance(ends, list) and ends and isinstance(ends[0], list):
            ends = ends[0]
        by_name = {layer["config"].get("name", layer.get("name")): layer for layer in inner}
        last = by_name.get(ends[0]) if isinstance(ends, list) and ends else None
        shape = output_shape(last, by_name, depth + 1) if last else None
    if shape and fed:
        return (fed[0], *shape[1:])
    return shape


def _fed(layer: dict[str, Any], layers: dict[str, Any] | None, depth: int) -> Shape | None:
    """The shape of a layer's first input: as stated, or what the layer before it gives."""
    built = (layer.get("build_config") or {}).get("input_shape")
    if built and not isinstance(built[0], list):
        return _sizes(built)
    for value in _values(layer.get("inbound_nodes") or []):
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            return _sizes(value["config"]["shape"])
        if isinstance(value, str) and layers and value in layers:
            return output_shape(layers[value], layers, depth + 1)
    return None


def _values(nodes: Any) -> list[Any]:
    """Feeds of the first node: Keras 3's tensors, or the names of Keras 2."""
    if not nodes:
        return []
    node = nodes[0]
    if isinstance(node, dict):
        waiting, found = list(node.get("args") or []), []
        while waiting:
            value = waiting.pop(0)
            if isinstance(value, list):
                waiting = value + waiting
            else:
                found.append(value)
        return found
    first = node[0] if isinstance(node, list) and node else None
    return [first[0]] if isinstance(first, list) and first else []


def _sizes(sizes: Any) -> Shape | None:
    if not isinstance(sizes, list | tuple):
        return None
    return tuple(None if size is None else int(size) for size in sizes)
