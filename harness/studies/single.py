"""That a study is about one cell: what is said where it would be about none, or several."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import UsageError
from harness.spec.models import SweepSpec


def require_single(base: SweepSpec) -> None:
    """Check that a sweep names one of each.

    Raises:
        UsageError: several models, environments, backends or points of settings, or a level.
    """
    entry = base.environments[0]
    backends = entry.backends or base.backends or ()
    for what, several in (
        ("model", [m.name or m.checkpoint or str(m.path) for m in base.models]),
        ("environment", [", ".join(one.names) for one in base.environments]),
        ("backend", list(backends)),
        ("point of settings", list(map(str, entry.settings or base.axes.settings))),
    ):
        if len(several) > 1 or several == ["all"]:
            raise UsageError(
                f"A study is about one {what}; named are {', '.join(several)}.",
                f"Name one {what}, and run the study again for the next.",
            )
    if set(entry.level or base.axes.level) != {"own"}:
        raise UsageError(
            "A study names settings itself, and a level stands for settings.",
            "Leave the level away, or give the level's settings (docs/levels.md).",
        )


def not_one_cell(labels: Sequence[str]) -> UsageError:
    """The error of a base that makes these cells: none, or several."""
    if not labels:
        return UsageError(
            "The model does not reach this backend.", "`harness model routes` shows what does."
        )
    return UsageError(
        f"A study is about one cell; this names {len(labels)}: {'; '.join(labels[:4])}.",
        "Give each option once (threads, precision, device, route …), and name the backend.",
    )
