"""What leads from one cell's settings to another's, change by change: pure.

A list of names (passes) is taken apart name by name, a mapping (flags, environment variables) entry
by entry; every other setting is one change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.plan.cells import shown

Settings = Mapping[str, Any]

DISABLED = "disabled_passes"
"""The setting that every compiler with named passes has: all that it runs but these."""

ONLY = "passes"
"""The setting of some: these and no others, of those that are optional."""

_ABSENT = object()


@dataclass(frozen=True)
class Change:
    """One step from A's settings to B's.

    Attributes:
        name: as it is printed: `+FuseOps` (that pass runs in B), `fast_math: False → True`.
        setting: which setting it is about.
        kind: `value` (all of it), `member` (one name of a list) or `entry` (one of a mapping).
        member: the name in the list, or the entry's.
    """

    name: str
    setting: str
    kind: Literal["value", "member", "entry"] = "value"
    member: str = ""


def changes(a: Settings, b: Settings, known: Mapping[str, Sequence[str]]) -> list[Change]:
    """Every change between two cells' settings, in a fixed order.

    Args:
        a: of the cell to start from.
        b: of the cell to arrive at.
        known: every name that a list may hold, by setting, as the backend's probe tells.
    """
    found: list[Change] = []
    for setting in sorted({*a, *b}):
        x, y = a.get(setting, _ABSENT), b.get(setting, _ABSENT)
        if _same(x, y):
            continue
        members = _members(setting, x, known), _members(setting, y, known)
        entries = _entries(x), _entries(y)
        if members[0] is not None and members[1] is not None and set(members[0]) != set(members[1]):
            found += [
                Change(_member_name(setting, one, added=one in members[1]), setting, "member", one)
                for one in _symmetric(members[0], members[1])
            ]
        elif entries[0] is not None and entries[1] is not None:
            named = sorted({*entries[0], *entries[1]})
            found += [
                Change(
                    _value_name(f"{setting}.{one}", entries[0].get(one), entries[1].get(one)),
                    setting,
                    "entry",
                    one,
                )
                for one in named
                if entries[0].get(one) != entries[1].get(one)
            ]
        else:
            found.append(Change(_value_name(setting, _told(x), _told(y)), setting))
    return found


def between(
    a: Settings,
    b: Settings,
    chosen: Collection[Change],
    known: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """A's settings with the chosen changes made; with all of them they are B's."""
    settings = dict(a)
    for setting in sorted({change.setting for change in chosen}):
        mine = [change for change in chosen if change.setting == setting]
        kind = mine[0].kind
        every = [change for change in changes(a, b, known) if change.setting == setting]
        if kind == "value" or len(mine) == len(every):
            _put(settings, setting, b.get(setting, _ABSENT))
        elif kind == "member":
            settings[setting] = _some_members(a, b, setting, {c.member for c in mine}, known)
        else:
            settings[setting] = _some_entries(a, b, setting, {c.member for c in mine})
    return settings


def alike(
    a: Settings, b: Settings, known: Mapping[str, Sequence[str]]
) -> tuple[Settings, Settings]:
    """Both cells' settings in the same terms, where one says which passes run and one which do not."""
    running = known.get(DISABLED) or known.get(ONLY)
    named = {name for one in (a, b) for name in (ONLY, DISABLED) if one.get(name) is not None}
    if running is None or named != {ONLY, DISABLED}:
        return a, b
    return _as_only(a, running), _as_only(b, running)


def _as_only(settings: Settings, running: Sequence[str]) -> Settings:
    off = set(settings.get(DISABLED) or ())
    kept = {name: value for name, value in settings.items() if name not in {DISABLED, ONLY}}
    runs = settings.get(ONLY)
    return {**kept, ONLY: [name for name in (running if runs is None else runs) if name not in off]}


def without(settings: Settings, off: Sequence[str]) -> dict[str, Any]:
    """Settings with more passes switched off."""
    before = list(settings.get(DISABLED) or ())
    return {**settings, DISABLED: [*before, *(name for name in off if name not in before)]}


def _put(settings: dict[str, Any], name: str, value: Any) -> None:
    if value is _ABSENT:
        settings.pop(name, None)
    else:
        settings[name] = value


def _some_members(
    a: Settings,
    b: Settings,
    setting: str,
    moved: Collection[str],
    known: Mapping[str, Sequence[str]],
) -> list[str]:
    """A's list with some of its differences to B's made: what stays first, then what comes."""
    x = _members(setting, a.get(setting, _ABSENT), known) or ()
    y = _members(setting, b.get(setting, _ABSENT), known) or ()
    stays = [one for one in x if one not in moved]
    return [*stays, *(one for one in y if one in moved and one not in x)]


def _some_entries(a: Settings, b: Settings, setting: str, moved: Collection[str]) -> dict[str, Any]:
    x, y = _entries(a.get(setting, _ABSENT)) or {}, _entries(b.get(setting, _ABSENT)) or {}
    kept = {name: value for name, value in x.items() if name not in moved}
    return {**kept, **{name: value for name, value in y.items() if name in moved}}


def _members(setting: str, value: Any, known: Mapping[str, Sequence[str]]) -> Sequence[str] | None:
    """The names of a list; where it is not given, those that this means. None: it is no list."""
    if value is _ABSENT or value is None:
        # Unasked those run that can be switched off; there may be more that can be added.
        return (known.get(DISABLED) or known.get(ONLY)) if setting == ONLY else ()
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    return None


def _entries(value: Any) -> Mapping[str, Any] | None:
    if value is _ABSENT or value is None:
        return {}
    return value if isinstance(value, Mapping) else None


def _symmetric(x: Sequence[str], y: Sequence[str]) -> list[str]:
    return [*(one for one in x if one not in y), *(one for one in y if one not in x)]


def _same(x: Any, y: Any) -> bool:
    x, y = (list(v) if isinstance(v, tuple) else v for v in (x, y))
    return bool(x is y or (type(x) is type(y) and x == y))


def _told(value: Any) -> Any:
    return None if value is _ABSENT else value


def _member_name(setting: str, name: str, *, added: bool) -> str:
    """`+NAME` where the pass runs in B and not in A."""
    if setting in {DISABLED, ONLY}:
        return f"{'+' if added == (setting == ONLY) else '-'}{name}"
    return f"{setting} {'+' if added else '-'}{name}"


def _value_name(name: str, x: Any, y: Any) -> str:
    return f"{name}: {'not given' if x is None else shown(x)} → {'not given' if y is None else shown(y)}"
