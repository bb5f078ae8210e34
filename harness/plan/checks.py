"""What a plan refuses: names that are not there, and a model or an environment without a cell."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from harness.errors import SpecError
from harness.plan.cells import Cell
from harness.plan.parts import Place, Skipped, Stack, Subject
from harness.spec.models import ALL, SweepSpec
from harness.spec.routes import ALL_ROUTES, AUTO

_UNFED = "can be fed in none of the ways that this sweep asks for"


def baseline_name(spec: SweepSpec, stacks: Sequence[Stack]) -> str | None:
    """The name of the environment that a spec calls the baseline; None: it names none of them."""
    for stack in stacks:
        if spec.baseline in {*stack.entry.names, stack.name}:
            return stack.name
    return None


def check_names(spec: SweepSpec, stacks: Sequence[Stack]) -> None:
    """Refuse names of environments and backends that a spec uses and that are not there.

    Raises:
        SpecError: the baseline, a backend, or an environment that runs no model.
    """
    if spec.baseline is not None and baseline_name(spec, stacks) is None:
        raise SpecError(
            f"The baseline {spec.baseline!r} is none of the environments of this sweep.",
            f"Choose one of: {', '.join(s.name for s in stacks)}.",
        )
    for stack in stacks:
        if not stack.formats:
            raise SpecError(
                f"{stack.name} runs no model: it prepares images.",
                "Leave it out of the environments; --preprocessing and --corruption use it by "
                "themselves.",
            )
        wanted = set(stack.entry.backends or ()) - {ALL}
        if absent := sorted(wanted - set(stack.formats)):
            raise SpecError(
                f"{stack.name} does not offer the backend {', '.join(absent)}.",
                f"It offers: {', '.join(stack.formats)}.",
            )
    offered = {backend for stack in stacks for backend in stack.formats}
    if unknown := sorted(set(spec.backends or ()) - offered - {ALL}):
        close = difflib.get_close_matches(unknown[0], offered, n=1)
        raise SpecError(
            f"No environment of this sweep offers the backend {', '.join(unknown)}.",
            (f"Did you mean {close[0]}? " if close else "")
            + f"They offer: {', '.join(sorted(offered))}.",
        )


def check_devices(place: Place) -> None:
    """Refuse two devices that no key can tell apart.

    Raises:
        SpecError: which two.
    """
    seen: dict[tuple[str, str], str] = {}
    for asked, device in place.devices.items():
        first = seen.setdefault((device.kind, device.name), asked)
        if first != asked:
            raise SpecError(
                f"{first} and {asked} are both {device.name}: their results would be the same cell.",
                "Name one of them.",
            )


def check_routes(spec: SweepSpec, unreached: Mapping[str, str], reached: Collection[str]) -> None:
    """Refuse a route that was named and that no model takes to any environment.

    Args:
        spec: the sweep.
        unreached: routes that some environment cannot have, and why.
        reached: routes of which there is a cell.

    Raises:
        SpecError: which one, and why.
    """
    named = {*spec.axes.route, *(r for entry in spec.environments for r in entry.route or ())}
    for route in sorted(named - {AUTO, ALL_ROUTES}):
        if route not in reached and route in unreached:
            raise SpecError(
                f"The route {route} leads nowhere in this sweep: {unreached[route]}.",
                "`harness model routes` shows what there is.",
            )


def check_coverage(
    subjects: Sequence[Subject],
    stacks: Sequence[Stack],
    cells: Sequence[Cell],
    skipped: Sequence[Skipped],
    unfed: Collection[tuple[str, str]],
) -> None:
    """Refuse a model or an environment without a cell.

    Args:
        subjects: the models.
        stacks: the environments.
        cells: of the plan.
        skipped: what cannot be, with its reasons.
        unfed: model and environment of those that would run but get no inputs.

    Raises:
        SpecError: which one, with the reasons.
    """
    for subject in subjects:
        if not any(cell.model == subject.name for cell in cells):
            why = sorted({s.reason for s in skipped if s.model == subject.name})
            if any(model == subject.name for model, _ in unfed):
                raise SpecError(f"{subject.name} {_UNFED}.", "; ".join(why) + ".")
            raise SpecError(
                f"None of the environments can run {subject.name} ({subject.format}).",
                "; ".join(why) + ". `harness env list` shows what each environment reads.",
            )
    for stack in stacks:
        if not any(cell.environment == stack.name for cell in cells):
            why = sorted({s.reason for s in skipped if s.environment == stack.name})
            if any(environment == stack.name for _, environment in unfed):
                raise SpecError(f"Environment {stack.name} {_UNFED}.", "; ".join(why) + ".")
            raise SpecError(
                f"Environment {stack.name} can run none of the models.",
                ("; ".join(why) if why else _not_asked(stack)) + ".",
            )


def _not_asked(stack: Stack) -> str:
    return (
        f"No backend of it was asked for; it offers {', '.join(stack.formats)}: name one of these "
        "with --backend too, or give each environment its own `backends` in a sweep file"
    )
