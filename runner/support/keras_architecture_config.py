"""The description of a functional Keras model, edited, and built again.

Keras 2 and 3 write down differently which layer feeds which; everything else of a description is
the same here.
"""

from __future__ import annotations

import copy
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from runner.support.keras_engine import Keras

Reference = Tuple[str, int, int]
"""The name of a layer, which of its calls, and which of its outputs."""


class Description:
    """The layers of one model by name, to be changed, wired anew, and built."""

    def __init__(self, keras: Keras, model: Any) -> None:
        self._keras = keras
        self._kind = type(model)
        self._config: Dict[str, Any] = copy.deepcopy(model.get_config())
        for entry in self._entries():
            # Shapes of the model as it was; without them a layer takes its shape from its input.
            entry.pop("build_config", None)
        self.changed = False

    def names(self, *kinds: str) -> List[str]:
        """The layers of any of these classes, in the order of the model."""
        return [e["config"]["name"] for e in self._entries() if e["class_name"] in kinds]

    def kind(self, name: str) -> str:
        """A layer's class."""
        return str(self._entry(name)["class_name"])

    def settings(self, name: str) -> Dict[str, Any]:
        """A layer's arguments, to be read."""
        config: Dict[str, Any] = self._entry(name)["config"]
        return config

    def update(self, name: str, **settings: Any) -> None:
        """Change arguments of a layer."""
        self._entry(name)["config"].update(settings)
        self.changed = True

    def fed_by(self, name: str) -> List[str]:
        """The layers that feed a layer."""
        return [reference[0] for reference in _references(self._entry(name)["inbound_nodes"])]

    def insert_before(self, name: str, layer: Any) -> None:
        """Put a layer, or a model as a layer, between a layer and all that feeds it."""
        entry = self._entry(name)
        self._add(layer, copy.deepcopy(entry["inbound_nodes"]))
        put = (layer.name, self._call(layer), 0)
        entry["inbound_nodes"] = _rewired(entry["inbound_nodes"], lambda _: put)

    def replace(self, name: str, layer: Any) -> None:
        """Put a layer of the same name in the place of another."""
        nodes = self._entry(name)["inbound_nodes"]
        self._config["layers"] = [e for e in self._entries() if e["config"]["name"] != name]
        self._add(layer, nodes)

    def remove(self, name: str) -> None:
        """Take out a layer with one input, and feed what it fed from there."""
        (before,) = _references(self._entry(name)["inbound_nodes"])
        self._config["layers"] = [e for e in self._entries() if e["config"]["name"] != name]
        for entry in self._entries():
            entry["inbound_nodes"] = _rewired(
                entry["inbound_nodes"], lambda found: before if found[0] == name else found
            )
        self.changed = True

    def build(self) -> Any:
        """The model that is described now, with weights of its own."""
        return self._kind.from_config(self._config)

    def _add(self, layer: Any, nodes: Any) -> None:
        entry = self._keras.module.saving.serialize_keras_object(layer)
        entry.update(name=layer.name, inbound_nodes=nodes)
        entry.pop("build_config", None)
        self._config["layers"].append(entry)
        self.changed = True

    def _call(self, layer: Any) -> int:
        """The call of a new layer: Keras 2 counts the making of a model as its first."""
        return 1 if self._keras.major < 3 and hasattr(layer, "layers") else 0

    def _entries(self) -> List[Dict[str, Any]]:
        entries: List[Dict[str, Any]] = self._config["layers"]
        return entries

    def _entry(self, name: str) -> Dict[str, Any]:
        return next(entry for entry in self._entries() if entry["config"]["name"] == name)


def _references(nodes: Any) -> List[Reference]:
    found: List[Reference] = []

    def note(reference: Reference) -> Reference:
        found.append(reference)
        return reference

    _rewired(nodes, note)
    return found


def _rewired(node: Any, change: Callable[[Reference], Reference]) -> Any:
    """The same, with every reference to a layer changed.

    Keras 3: a mapping with `keras_history`. Keras 2: a sequence of a name, two numbers, and
    perhaps arguments, which may hold references too.
    """
    if isinstance(node, dict):
        return {
            key: list(change((str(value[0]), int(value[1]), int(value[2]))))
            if key == "keras_history"
            else _rewired(value, change)
            for key, value in node.items()
        }
    if not isinstance(node, (list, tuple)):
        return node
    if _is_reference(node):
        first = change((node[0], node[1], node[2]))
        return [*first, *(_rewired(part, change) for part in node[3:])]
    return type(node)(_each(node, change))


def _each(node: Sequence[Any], change: Callable[[Reference], Reference]) -> Iterator[Any]:
    return (_rewired(part, change) for part in node)


def _is_reference(node: Sequence[Any]) -> bool:
    return (
        len(node) in (3, 4)
        and isinstance(node[0], str)
        and all(isinstance(place, int) and not isinstance(place, bool) for place in node[1:3])
    )
