"""How a route is written: `auto`, `all`, or formats in order, as in `keras>onnx:tf2onnx>torch`."""

from __future__ import annotations

import re
from dataclasses import dataclass

AUTO = "auto"
ALL_ROUTES = "all"

_NODE = re.compile(
    r"(?P<format>[a-z0-9_]+)(:(?P<tool>[a-z0-9_]+))?(@(?P<environment>[A-Za-z0-9][\w.=+-]*))?"
)


@dataclass(frozen=True, slots=True)
class RouteNode:
    """A format on the way, and how it is made.

    Attributes:
        format: `onnx`, or `torch` for an exported PyTorch program.
        tool: the converter, where several lead there; None: the first there is.
        environment: where it is made; None: where such conversions usually are.
    """

    format: str
    tool: str | None = None
    environment: str | None = None

    @property
    def text(self) -> str:
        """The node as it was written, without the place."""
        return f"{self.format}:{self.tool}" if self.tool else self.format


def parse_route(text: str) -> tuple[RouteNode, ...]:
    """The nodes of a route.

    Raises:
        ValueError: text that is none, with how one is written.
    """
    nodes = []
    for part in text.split(">"):
        match = _NODE.fullmatch(part.strip())
        if match is None:
            msg = (
                f"{text!r} is no route: write auto, all, or formats in order, such as keras>onnx>torch; "
                "onnx:tf2onnx names a converter, onnx@tf2onnx-1.17 where it runs"
            )
            raise ValueError(msg)
        named = "torch" if match["format"] == "pt2" else match["format"]
        nodes.append(RouteNode(named, match["tool"], match["environment"]))
    return tuple(nodes)


def canonical_route(text: str) -> str:
    """The route without spaces, checked."""
    text = text.strip()
    if text not in {AUTO, ALL_ROUTES}:
        parse_route(text)
    return re.sub(r"\s*>\s*", ">", text)
