"""`harness model routes`: the graph of formats and converters, and the ways through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from harness.cli.env_options import AsJson, print_json, print_out
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.execution.route_search import Edge, Reached
    from harness.plan.routes import Route

_NOTHING = "\u2013"


def routes(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model file or a name of `model list`: the ways that begin at it. Without one: "
            "every converter there is.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(help="Only what ends in this format: onnx, torch, keras, tflite, …"),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            help="Only this environment: its converters; with a model, the ways to its backends."
        ),
    ] = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="With a model: every way of up to three steps, not the shortest."
        ),
    ] = False,
    architecture: Annotated[
        str | None, typer.Option(help="Of weights: the network that they belong to.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which conversions there are, where each is made, and what a person may choose of it.

    Read from the environments' folders: nothing is built or run. What is shown is what
    `--route` of a sweep and of `harness model convert` takes.

    Examples: harness model routes; harness model routes --to tflite;
    harness model routes m.onnx; harness model routes resnet50@keras --to torch --all
    """
    from harness.environments.registry import find, folders
    from harness.execution import route_search

    known = folders()
    target = None if to is None else route_search.check_format(to, known)
    only = None if env is None else find(env).name
    if model is None:
        if every or architecture:
            raise UsageError("--all and --architecture belong to a model.", "Name one.")
        _edges(
            [
                edge
                for edge in route_search.edges(known)
                if target in (None, edge.target) and (only is None or only in edge.environments)
            ],
            only,
            as_json=as_json,
        )
        return
    subject, readers, others = _ends(model, architecture, only)
    found = route_search.reached(subject, readers, others, every=every)
    found = [one for one in found if target in (None, one.format)]
    chosen = route_search.by_format(found) if every else route_search.shortest_of(found)
    automatic = {
        reader.name: {
            backend: route
            for backend, route in route_search.automatic(subject, reader, others).items()
            if target is None or target in reader.formats[backend]
        }
        for reader in readers
    }
    if as_json:
        print_json(
            {
                "model": model,
                "format": subject.format,
                "formats": [_reached(one) for one in chosen],
                "environments": [
                    {"environment": name, "backend": backend, **_route(route)}
                    for name, ways in automatic.items()
                    for backend, route in ways.items()
                ],
            }
        )
        return
    if not chosen:
        print_out(f"Nothing here converts {subject.format} to {to or 'anything that is read'}.")
        return
    _print_formats(chosen, subject.format, every=every)
    if not every:
        _print_environments(automatic)


def _ends(model: str, architecture: str | None, only: str | None) -> Any:
    """What the model is, the environments where routes may end, and those that convert for all."""
    from harness.cli.sweep_options import model_of
    from harness.environments.registry import folders
    from harness.execution import route_search
    from harness.spec.models import ModelEntry

    known = folders()
    subject = route_search.subject_of(
        ModelEntry.model_validate(model_of(model, architecture=architecture))
    )
    readers = route_search.readers_of(known, subject)
    if only is not None:
        readers = [one for one in readers if one.name == only]
        if not readers:
            raise UsageError(
                f"{only} runs no model.", f"`harness model routes --env {only}` shows what it does."
            )
    return subject, readers, route_search.makers_of(known, subject)


def _edges(found: Sequence[Edge], only: str | None, *, as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "converter": edge.converter,
                "source": edge.source,
                "target": edge.target,
                "environments": {
                    name: list(options)
                    for name, options in edge.environments.items()
                    if only in (None, name)
                },
            }
            for edge in found
        ]
        print_json({"converters": rows})
        return
    table = _table("converter", "options", "environments")
    for edge in found:
        for options, names in _by_options(edge, only):
            table.add_row(edge.converter, ", ".join(options) or _NOTHING, ", ".join(names))
    print_out(table)
    print_out("`harness model routes MODEL` shows the ways that begin at a model.")


def _by_options(edge: Edge, only: str | None) -> Iterable[tuple[tuple[str, ...], list[str]]]:
    """The environments of a converter, those together where the same may be chosen."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, options in edge.environments.items():
        if only in (None, name):
            found.setdefault(options, []).append(name)
    return found.items()


def _print_formats(found: Sequence[Reached], begin: str, *, every: bool) -> None:
    from harness.plan.routes import word_of

    table = _table("to", "route", "made in", "read by")
    for one in found:
        table.add_row(word_of(one.format), one.route.name, _places(one.route), one.environment)
    print_out(table)
    more = "" if every else " --all shows every way of up to three steps."
    print_out(f"A model that is {begin}, by --route of a sweep or of `model convert`.{more}")


def _print_environments(automatic: dict[str, dict[str, Route | None]]) -> None:
    table = _table("environment", "backends", "by itself (auto)", "made in")
    for name, ways in automatic.items():
        alike: dict[tuple[str, str], list[str]] = {}
        for backend, route in ways.items():
            if route is not None:
                alike.setdefault((route.name, _places(route)), []).append(backend)
        for (route_name, places), backends in alike.items():
            table.add_row(name, ", ".join(backends), route_name, places)
    print_out(table)
    none = [name for name, ways in automatic.items() if not any(ways.values())]
    if none:
        print_out(f"No way leads to: {', '.join(none)}.")


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _places(route: Route) -> str:
    return " > ".join(step.maker for step in route.steps) or _NOTHING


def _route(route: Route | None) -> dict[str, Any]:
    if route is None:
        return {"route": None, "steps": []}
    steps = [{"converter": one.converter, "environment": one.maker} for one in route.steps]
    return {"route": route.name, "steps": steps}


def _reached(one: Reached) -> dict[str, Any]:
    return {
        "format": one.format,
        "read_in": one.environment,
        "backends": list(one.backends),
        **_route(one.route),
    }
