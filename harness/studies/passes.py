"""Which points an ablation tries: all passes off, all on, each alone, all but each. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import UsageError
from harness.studies.points import Point

ONLY, DISABLED = "passes", "disabled_passes"
"""Settings of backends: only these of the optional passes; all but these."""

OFF_LABEL, ON_LABEL = "all off", "all on"

ALONE, WITHOUT = "alone", "without"
ARMS = (ALONE, WITHOUT)
"""What is tried of a pass: nothing but it, against all off; all but it, against all on."""


@dataclass(frozen=True)
class Ablation:
    """The points of an ablation.

    Attributes:
        known: every pass that there is.
        chosen: those that are tried, in the compiler's order.
        off: with none of the passes.
        on: as one gets it unasked.
        alone: nothing but this pass, by its name.
        without: all but this pass, by its name; a pass that does not run unasked has none.
        ways: the arms in which each chosen pass can be tried, also those that nobody wanted.
    """

    known: tuple[str, ...]
    chosen: tuple[str, ...]
    off: Point
    on: Point
    alone: Mapping[str, Point] = field(default_factory=dict)
    without: Mapping[str, Point] = field(default_factory=dict)
    ways: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def points(self) -> tuple[Point, ...]:
        """Everything, what others are compared with first."""
        return (self.off, self.on, *self.alone.values(), *self.without.values())


def of_backend(
    names: Mapping[str, Sequence[str]],
    *,
    backend: str,
    chosen: Sequence[str] = (),
    arms: Iterable[str] = ARMS,
    given: Mapping[str, Any] | None = None,
) -> Ablation:
    """The points of a backend whose offer says which passes it knows by name.

    Args:
        names: `names` of its offer.
        backend: its name, for messages.
        chosen: try only these; all by default.
        arms: which of `ARMS`.
        given: the settings that every point shares.

    Raises:
        UsageError: the backend has no passes that can be named, or one that is asked for is not
            among them, or the shared settings name passes themselves.
    """
    optional, running = tuple(names.get(ONLY) or ()), tuple(names.get(DISABLED) or ())
    known = tuple(dict.fromkeys((*running, *optional)))
    if not known:
        raise UsageError(
            f"{backend} offers no passes by name, so there is nothing to switch off.",
            "`harness env probe NAME` shows what each backend offers; `harness sweep --level` "
            "compares levels of all of them.",
        )
    if taken := [name for name in (ONLY, DISABLED) if name in (given or {})]:
        raise UsageError(
            f"{', '.join(taken)} is what an ablation changes itself.",
            "Leave that setting away; --pass NAME limits which passes are tried.",
        )
    wanted, which = _chosen(known, chosen, backend), set(arms)

    def only(kept: Sequence[str]) -> dict[str, Any]:
        if optional:
            return {ONLY: list(kept)}
        return {DISABLED: [name for name in known if name not in kept]}

    def but(one: str) -> dict[str, Any]:
        return {DISABLED: [one]} if running else only([name for name in known if name != one])

    alone = {
        one: Point(f"only {one}", only([one])) for one in wanted if not optional or one in optional
    }
    without = {
        one: Point(f"all but {one}", but(one)) for one in wanted if not running or one in running
    }
    return _ablation(
        known, wanted, Point(OFF_LABEL, only([])), Point(ON_LABEL), alone, without, which
    )


def of_file(
    tool: str,
    known: Sequence[str],
    unasked: Sequence[str],
    *,
    chosen: Sequence[str] = (),
    arms: Iterable[str] = ARMS,
) -> Ablation:
    """The points of a tool that rewrites the ONNX file before a backend reads it.

    All off is the file as it is, all on what the tool does unasked.

    Args:
        tool: as the wish `optimise` names it: `onnxoptimizer`, `onnxsim`.
        known: its passes.
        unasked: those of them that run where none is named.
        chosen: try only these; all by default.
        arms: which of `ARMS`.

    Raises:
        UsageError: an unknown pass.
    """
    wanted, which = _chosen(known, chosen, tool), set(arms)

    alone = {one: Point(f"only {one}", wishes={"optimise": f"{tool}={one}"}) for one in wanted}
    without = {
        one: Point(f"all but {one}", wishes={"optimise": f"{tool}-{one}"})
        for one in wanted
        if one in unasked
    }
    on = Point(ON_LABEL, wishes={"optimise": tool})
    return _ablation(tuple(known), wanted, Point(OFF_LABEL), on, alone, without, which)


def _ablation(
    known: tuple[str, ...],
    wanted: tuple[str, ...],
    off: Point,
    on: Point,
    alone: Mapping[str, Point],
    without: Mapping[str, Point],
    which: Collection[str],
) -> Ablation:
    ways = {
        one: tuple(arm for arm, there in zip(ARMS, (alone, without), strict=True) if one in there)
        for one in wanted
    }
    return Ablation(
        known,
        wanted,
        off,
        on,
        alone if ALONE in which else {},
        without if WITHOUT in which else {},
        ways,
    )


def _chosen(known: Sequence[str], chosen: Sequence[str], owner: str) -> tuple[str, ...]:
    """Those that are asked for, in the order in which they are known."""
    unknown = [name for name in chosen if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=3, cutoff=0.4)
        hint = f" Near ones: {', '.join(near)}." if near else ""
        raise UsageError(
            f"{owner} has no pass {', '.join(unknown)}; it has {len(known)}.{hint}",
            f"It has: {', '.join(known)}.",
        )
    return tuple(name for name in known if name in chosen) if chosen else tuple(known)
