"""The graph of formats and converters as the environment folders have it, and the ways through it.

Nothing is built or asked: all is read from `env.toml` files.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.environments.folders import EnvironmentFolder
from harness.errors import UsageError
from harness.execution.workshops import able
from harness.models.entries import CheckpointEntry
from harness.models.inspect import inspect_model
from harness.models.registry import find_checkpoint
from harness.models.user_models import SUFFIX, read_user_model
from harness.plan.parts import Workshop
from harness.plan.routes import Route, find_routes, produces, shortest, word_of
from harness.plan.ways import Makers, barred_for, without
from harness.plan.wishes import NO_WISHES, Wishes, granted
from harness.spec.models import ModelEntry
from harness.spec.routes import ALL_ROUTES, AUTO, parse_route


@dataclass(frozen=True)
class Edge:
    """A converter.

    Attributes:
        converter: `keras>onnx:tf2onnx`.
        source: the format that it reads.
        target: the format that it writes.
        environments: those that offer it, each with the options that a person may choose.
    """

    converter: str
    source: str
    target: str
    environments: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Reached:
    """A route to what an environment reads.

    Attributes:
        format: what it ends in.
        environment: that reads it.
        backends: those of the environment that read it.
        route: the conversions on the way.
    """

    format: str
    environment: str
    backends: tuple[str, ...]
    route: Route


@dataclass(frozen=True)
class Subject:
    """A model as far as routes are concerned.

    Attributes:
        format: of its file.
        barred: converters that are no use for it.
    """

    format: str
    barred: frozenset[str] = frozenset()


def edges(known: Iterable[EnvironmentFolder]) -> list[Edge]:
    """Every converter that an environment offers, in the order of its formats."""
    offered: dict[str, dict[str, tuple[str, ...]]] = {}
    for folder in known:
        for converter, options in folder.file.converters.items():
            offered.setdefault(converter, {})[folder.name] = tuple(options)
    return [
        Edge(converter, *produces(converter), offered[converter])
        for converter in sorted(offered, key=lambda one: (produces(one), one))
    ]


def subject_of(model: ModelEntry) -> Subject:
    """What a model is, from its file or from what is known of its name; nothing is downloaded.

    Raises:
        ModelError: an unknown name, or a file that is not there or cannot be read.
    """
    known = known_model(model)
    architecture = model.architecture or (known.architecture if known else None)
    path = model.path if known is None else known.path
    if known is not None and known.origin != "file" and known.format is not None:
        return Subject(known.format, barred_for(known.format, architecture))
    assert path is not None  # noqa: S101 - a person's own names its file
    file = inspect_model(path, architecture)
    return Subject(file.format, barred_for(file.format, file.architecture))


def known_model(model: ModelEntry) -> CheckpointEntry | None:
    """What the registry, or a description in TOML, says of a model; None for a file alone."""
    if model.checkpoint is not None:
        return find_checkpoint(model.checkpoint)
    if model.path is not None and model.path.suffix.lower() == SUFFIX:
        return read_user_model(model.path.expanduser())
    return None


def makers_of(known: Sequence[EnvironmentFolder], model: Subject) -> list[Workshop]:
    """The environments that convert for all, the preferred first, as far as a model is concerned."""
    return [without(one, model.barred) for one in able(known, "venv")]


def readers_of(known: Sequence[EnvironmentFolder], model: Subject) -> list[Workshop]:
    """Every environment that runs models; those that also convert for all come first."""
    first = makers_of(known, model)
    names = {one.name for one in first}
    more = [
        without(Workshop(f.name, "", "venv", f.file.converters, f.file.backends), model.barred)
        for f in known
        if f.name not in names
    ]
    return [one for one in (*first, *more) if one.formats]


def reached(
    model: Subject, readers: Sequence[Workshop], others: Sequence[Workshop], *, every: bool = False
) -> list[Reached]:
    """The routes to each format that each reader reads.

    Args:
        model: where they begin.
        readers: the environments that they may end in.
        others: the environments that convert for all.
        every: all routes of up to three steps; else the shortest one to each format.
    """
    found: list[Reached] = []
    for reader in readers:
        for target in dict.fromkeys(one for read in reader.formats.values() for one in read):
            backends = tuple(b for b, read in reader.formats.items() if target in read)
            routes = find_routes(
                model.format, (target,), reader, others, ALL_ROUTES if every else AUTO
            )
            if not isinstance(routes, str):
                found += [Reached(target, reader.name, backends, route) for route in routes]
    usual = {one: _usual_reader(one, readers) for one in {one.format for one in found}}
    return sorted(found, key=lambda one: one.environment != usual[one.format])


def _usual_reader(target: str, readers: Sequence[Workshop]) -> str | None:
    """Who runs a format where nobody is named: by the backend which is closest to it."""
    found = Makers(Workshop("", "", "venv", {}), tuple(readers)).checker(target, None)
    return found[0].name if found else None


def by_format(found: Iterable[Reached]) -> list[Reached]:
    """The same without routes that lead to a format a second time, and of each the shortest first.

    A route counts once, whoever reads what it ends in: the first reader is kept.
    """
    kept: dict[tuple[str, str], Reached] = {}
    for one in found:
        kept.setdefault((one.format, one.route.name), one)
    return sorted(kept.values(), key=lambda one: (one.format, len(one.route.steps)))


def shortest_of(found: Sequence[Reached]) -> list[Reached]:
    """One route to each format: the shortest, and of these the first."""
    best: dict[str, Reached] = {}
    for one in sorted(found, key=lambda one: len(one.route.steps)):
        best.setdefault(one.format, one)
    return [best[name] for name in sorted(best)]


def automatic(
    model: Subject, reader: Workshop, others: Sequence[Workshop]
) -> dict[str, Route | None]:
    """What a sweep's `route: auto` takes to each backend of an environment; None: nothing."""
    return {
        backend: shortest(model.format, accepted, reader, others)
        for backend, accepted in reader.formats.items()
    }


def check_format(text: str, known: Sequence[EnvironmentFolder]) -> str:
    """The format that is meant by a word, which may be the one of converters (`torch` for `pt2`).

    Raises:
        UsageError: nothing reads or writes it; close ones are suggested.
    """
    formats = {one for edge in edges(known) for one in (edge.source, edge.target)}
    formats |= {one for f in known for read in f.file.backends.values() for one in read}
    words = {word_of(one): one for one in formats} | {one: one for one in formats}
    if text in words:
        return words[text]
    close = difflib.get_close_matches(text, words, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise UsageError(
        f"No environment reads or writes the format {text!r}.",
        f"{hint}There are: {', '.join(sorted(map(word_of, formats)))}.",
    )


def choose(
    model: Subject,
    target: str,
    asked: str,
    readers: Sequence[Workshop],
    others: Sequence[Workshop],
    wishes: Wishes = NO_WISHES,
) -> tuple[Workshop, Route]:
    """The route to a format that does what is wanted, and who reads what comes of it.

    Args:
        model: where it begins.
        target: the format in the end.
        asked: `auto` for the shortest that can do what is wanted, or a route by its formats.
        readers: who may read the result, the preferred first.
        others: the environments that convert for all.
        wishes: what is wanted of the conversions.

    Raises:
        UsageError: there is none, and why.
    """
    able_to = [one for one in readers if any(target in read for read in one.formats.values())]
    if not able_to:
        reads = ", ".join(
            sorted({word_of(f) for r in readers for b in r.formats.values() for f in b})
        )
        who = readers[0].name if len(readers) == 1 else "No environment"
        raise UsageError(
            f"{who} {'does not read' if len(readers) == 1 else 'reads'} {word_of(target)}, and a "
            "conversion is checked by running what was made.",
            f"What is read: {reads}.",
        )
    usual = _usual_reader(target, able_to)
    ways: list[tuple[tuple[int, bool, int], Workshop, Route]] = []
    reasons: list[str] = []
    for tries in (asked, ALL_ROUTES) if asked == AUTO else (asked,):
        for place, reader in enumerate(able_to):
            routes = find_routes(model.format, (target,), reader, others, tries)
            if isinstance(routes, str):
                reasons.append(f"{word_of(target)} {_of_a_format(routes)}")
                continue
            for route in routes:
                told = granted(route, wishes, reader, others)
                if isinstance(told, str):
                    reasons.append(told)
                else:
                    order = (len(told.steps), reader.name != usual, place)
                    ways.append((order, reader, route))
        if ways:
            _, reader, route = min(ways, key=lambda way: way[0])
            return reader, route
    raise UsageError(
        f"There is no such conversion: {reasons[0]}.",
        "`harness model routes MODEL` shows the ways there are, and which options they take.",
    )


def _of_a_format(reason: str) -> str:
    """What `find_routes` says of a backend, said of the format that is wanted."""
    if reason.startswith("reads "):
        return f"cannot be reached: {reason.partition(', and ')[2]}"
    return reason


def end_of(route: str, model: Subject) -> str:
    """The format that a route ends in, as it is written.

    Raises:
        UsageError: `auto` and `all`, which end nowhere by themselves, or what is no route.
    """
    if route in {AUTO, ALL_ROUTES}:
        raise UsageError(
            f"The route {route} does not say where it ends.",
            "Name the format with --to, or the formats on the way: --route 'keras>onnx>torch'.",
        )
    try:
        nodes = parse_route(route)
    except ValueError as error:
        raise UsageError(f"{error}.", "`harness model routes` shows what there is.") from error
    last = nodes[-1].format
    return produces(f"{word_of(model.format)}>{last}")[1]
