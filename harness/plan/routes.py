"""Routes: the conversions that take a model file to what a backend reads, found or named.

Formats are the nodes of a graph and converters its edges. Each step of a route is made in an
environment: the cell's own where the result is read there, else always the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from harness.spec.routes import ALL_ROUTES, AUTO, RouteNode, parse_route

PORTABLE = frozenset({"onnx", "tflite", "savedmodel", "graphdef", "openvino"})
"""Formats that other stacks and versions read too. Others (`keras`, `pt2`, `jax`) are read by the
stack that wrote them, so they are made where they are read, unless a person names another place."""

LONGEST = 3
"""Conversions in a route that nobody named."""

# What a format is called in converters' names, where that is another word.
_WORDS = {"pt2": "torch"}
_FORMATS = {word: file_format for file_format, word in _WORDS.items()}


class Maker(Protocol):
    """An environment that converts."""

    @property
    def name(self) -> str:
        """Of the environment."""

    @property
    def converters(self) -> Mapping[str, Sequence[str]]:
        """What it offers, each with the options that a person may choose."""


@dataclass(frozen=True, slots=True)
class Step:
    """One conversion of a route.

    Attributes:
        converter: `keras>onnx:tf2onnx`.
        maker: name of the environment that makes it.
        options: those that a person chose.
    """

    converter: str
    maker: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The format that it leaves behind."""
        return produces(self.converter)[1]


@dataclass(frozen=True, slots=True)
class Route:
    """The way from a model file to what a backend executes.

    Attributes:
        source: the file's format.
        steps: the conversions in order; none where the file is read as it is.
    """

    source: str
    steps: tuple[Step, ...] = ()

    @property
    def format(self) -> str:
        """The format that the backend opens."""
        return self.steps[-1].target if self.steps else self.source

    @property
    def name(self) -> str:
        """`onnx`, or `keras>onnx:tf2onnx>torch`."""
        return spelled(self.source, [step.converter for step in self.steps])


def spelled(source: str, converters: Sequence[str]) -> str:
    """A route in words: its formats, each with the tool that made it where there are several."""
    if not converters:
        return source
    ends = [converter.partition(">")[2] for converter in converters]
    return ">".join([word_of(source), *ends])


def word_of(file_format: str) -> str:
    """What converters and routes call a format."""
    return _WORDS.get(file_format, file_format)


def produces(converter: str) -> tuple[str, str]:
    """The format that a converter reads, and the one that it leaves behind."""
    source, _, target = converter.partition(":")[0].partition(">")
    return _FORMATS.get(source, source), _FORMATS.get(target, target)


def find_routes(
    file_format: str, accepted: Sequence[str], own: Maker, others: Sequence[Maker], asked: str
) -> list[Route] | str:
    """The routes that somebody asked for; a text, said of the backend, says why there is none.

    Args:
        file_format: the model's.
        accepted: formats that the backend reads, the preferred first.
        own: the environment of the cell.
        others: the environments that convert for all, the preferred first.
        asked: `auto` for the shortest, `all`, or a route by its formats.
    """
    if asked == ALL_ROUTES:
        return list(_every(file_format, accepted, own, others)) or _nothing(file_format, accepted)
    if asked == AUTO:
        found = shortest(file_format, accepted, own, others)
        return [found] if found else _nothing(file_format, accepted)
    return _named(file_format, accepted, own, others, parse_route(asked))


def shortest(
    file_format: str,
    accepted: Sequence[str],
    own: Maker,
    others: Sequence[Maker],
    longest: int = LONGEST,
) -> Route | None:
    """The shortest route from a file's format to one that a backend accepts; None: there is none.

    Of several as short, one whose last conversion the cell's own environment offers, in the order
    in which it offers them; then the format that the backend names first.
    """
    if file_format in accepted:
        return Route(file_format)
    edges = _edges((own, *others))
    offered = list(own.converters)
    for length in range(1, longest + 1):
        ways = []
        for chain in _chains(file_format, accepted, edges, length):
            steps = _placed([(one, None) for one in chain], own, others, portable=True)
            if steps is None:
                continue
            at_home = chain[-1] in own.converters
            place = offered.index(chain[-1]) if at_home else accepted.index(steps[-1].target)
            order = tuple(edges.index(one) for one in chain)
            ways.append((not at_home, place, order, steps))
        if ways:
            return Route(file_format, min(ways, key=lambda way: way[:3])[3])
    return None


def _every(
    file_format: str, accepted: Sequence[str], own: Maker, others: Sequence[Maker]
) -> Iterator[Route]:
    """All routes without a format twice, the short ones first."""
    if file_format in accepted:
        yield Route(file_format)
    edges = _edges((own, *others))
    for length in range(1, LONGEST + 1):
        for chain in _chains(file_format, accepted, edges, length):
            steps = _placed([(one, None) for one in chain], own, others, portable=True)
            if steps is not None:
                yield Route(file_format, steps)


def _named(
    file_format: str,
    accepted: Sequence[str],
    own: Maker,
    others: Sequence[Maker],
    nodes: Sequence[RouteNode],
) -> list[Route] | str:
    first, *rest = nodes
    start = _FORMATS.get(first.format, first.format)
    head: list[tuple[str, str | None]] = []
    edges = _edges((own, *others))
    if start != file_format or first.tool is not None:
        begun = _edge(edges, word_of(file_format), first)
        if begun is None:
            return _no_edge(edges, word_of(file_format), first)
        head = [(begun, first.environment)]
    chain = head
    for before, node in pairwise([first, *rest]):
        converter = _edge(edges, before.format, node)
        if converter is None:
            return _no_edge(edges, before.format, node)
        chain.append((converter, node.environment))
    end = produces(chain[-1][0])[1] if chain else file_format
    if end not in accepted:
        reads = ", ".join(map(word_of, accepted))
        route = ">".join(node.text for node in nodes)
        return f"reads {reads}, and the route {route} ends at {word_of(end)}"
    steps = _placed(chain, own, others, portable=False)
    if steps is None:
        return next(
            f"cannot be reached: {environment} does not offer {converter}"
            for converter, environment in chain
            if environment is not None and not _offers(converter, environment, (own, *others))
        )
    return [Route(file_format, steps)]


def _offers(converter: str, environment: str, makers: Sequence[Maker]) -> bool:
    return any(m.name == environment and converter in m.converters for m in makers)


def _edge(edges: Sequence[str], source: str, node: RouteNode) -> str | None:
    """The converter of one step: the tool that is named, else the first there is."""
    wanted = f"{word_of(_FORMATS.get(source, source))}>{node.format}"
    for edge in edges:
        plain, _, tool = edge.partition(":")
        if plain == wanted and node.tool in (None, tool):
            return edge
    return None


def _no_edge(edges: Sequence[str], source: str, node: RouteNode) -> str:
    tools = [e.partition(":")[2] for e in edges if e.partition(":")[0] == f"{source}>{node.format}"]
    known = ", ".join(filter(None, tools))
    there = f" (there is: {known})" if known and node.tool else ""
    return f"cannot be reached: nothing here converts {source} to {node.text}{there}"


def _edges(makers: Sequence[Maker]) -> list[str]:
    """All converters, the cell's own first, then in the order of who offers them."""
    return list(dict.fromkeys(converter for maker in makers for converter in maker.converters))


def _chains(
    source: str, accepted: Sequence[str], edges: Sequence[str], length: int
) -> Iterator[tuple[str, ...]]:
    """Converters that lead from a format to an accepted one in so many steps, no format twice."""

    def extend(at: str, seen: frozenset[str], left: int) -> Iterator[tuple[str, ...]]:
        for edge in edges:
            begins, ends = produces(edge)
            if begins != at or ends in seen:
                continue
            if left == 1:
                if ends in accepted:
                    yield (edge,)
            elif ends not in accepted or length > 1:
                for rest in extend(ends, seen | {ends}, left - 1):
                    yield (edge, *rest)

    yield from extend(source, frozenset({source}), length)


def _placed(
    chain: Sequence[tuple[str, str | None]],
    own: Maker,
    others: Sequence[Maker],
    *,
    portable: bool,
) -> tuple[Step, ...] | None:
    """Who makes each step; None: somebody who is named does not, or (portable) nobody fits.

    What only its own stack reads is made where it is read, if that can be; what everybody reads is
    made in the same place for all, but for the last step, which a cell makes for itself if it can.
    """
    steps: list[Step] = []
    reader: Maker = own
    for place, (converter, named) in reversed(list(enumerate(chain))):
        last = place == len(chain) - 1
        local = produces(converter)[1] not in PORTABLE
        able = [maker for maker in others if converter in maker.converters]
        if named is not None:
            makers = [m for m in (own, *others) if m.name == named and converter in m.converters]
        elif converter in reader.converters and (last or local):
            makers = [reader]
        elif local and portable:
            makers = []
        else:
            makers = able or ([own] if converter in own.converters else [])
        if not makers:
            return None
        reader = makers[0]
        steps.append(Step(converter, reader.name))
    return tuple(reversed(steps))


def _nothing(file_format: str, accepted: Sequence[str]) -> str:
    reads = ", ".join(accepted) or "nothing"
    return f"reads {reads}, and nothing here converts {file_format} to that"
