"""Times in words: what may be said of a pair, and whether a time may be believed at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from harness.report import words

Document = dict[str, Any]
State = Literal["even", "faster", "slower", "unknown"]

_STATES: dict[str, State] = {
    "faster": "faster",
    "slower": "slower",
    "no-difference": "even",
    "inert": "even",
}

CLAIMS = (
    "A time is called faster or slower only if it is not INVALID, a sign-flip permutation test "
    "over its rounds is below 0.05 after Holm's correction, and the whole interval lies beyond the "
    "noise floor. The correction is over all timed pairs of one model and scenario that are shown "
    "against the same reference. The floor is the larger of the recorded one (1 % unless asked "
    "otherwise; by the root of the number of rounds less where each had fresh processes) and what "
    "the reference run twice came out apart."
)


def state(verdict: Document) -> State:
    """What a verdict claims, for colours: nothing (`even`), or that it knows nothing."""
    return _STATES.get(verdict["verdict"], "unknown")


def said(verdict: Document) -> str:
    """A pair's verdict in one phrase."""
    if verdict["verdict"] in {"faster", "slower"}:
        return f"{verdict['verdict']}: {_change(verdict['ratio'])}"
    if verdict["verdict"] == "no-difference":
        return f"no difference that this measurement can see ({_could(verdict)})"
    if verdict["verdict"] == "inert":
        return "inert: both run the very same program"
    told = "; ".join(reason["message"] for reason in verdict["reasons"])
    return f"INVALID: {told or 'no reason is recorded'}" if verdict["valid"] is False else told


def short(verdict: Document) -> str:
    """The same in a word or two, for a column; a dash where nothing was timed."""
    if verdict["verdict"] in {"faster", "slower"}:
        return str(verdict["verdict"])
    if verdict["verdict"] == "no-difference":
        visible = verdict["smallest_visible"]
        return "none seen" if visible is None else f"none seen ({_size(visible)})"
    if verdict["verdict"] == "inert":
        return "inert"
    if verdict["ratio"] is None:
        return words.NOTHING
    return "INVALID" if verdict["valid"] is False else "unknown"


def floor(verdict: Document) -> str:
    """The noise floor: smaller differences were not claimed; a dash where nothing was timed."""
    return words.NOTHING if verdict["ratio"] is None else _size(verdict["floor"])


def _change(ratio: float) -> str:
    if ratio < 1:
        return f"takes {_size(1 - ratio)} less time"
    return (
        f"takes {_size(ratio - 1)} more time" if ratio < 2 else f"takes {ratio:.1f} times as long"
    )


def _could(verdict: Document) -> str:
    visible = verdict["smallest_visible"]
    if visible is None:
        return "with so few rounds it could see none"
    return f"smallest it could: {_size(visible)}"


def _size(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def validity(valid: bool | None, reasons: Sequence[Document], *, timed: bool = True) -> str:
    """VALID, or INVALID with the kinds of its reasons; what nobody judged is said to be so."""
    if not timed:
        return words.NOTHING
    if valid is None:
        return "not judged"
    kinds = ", ".join(dict.fromkeys(str(reason["kind"]) for reason in reasons))
    return "VALID" if valid else f"INVALID: {kinds}" if kinds else "INVALID"


def cell_validity(cell: Document) -> str:
    """Whether a cell's times may be believed, in all the scenarios that it was timed in."""
    found = (cell.get("scenarios") or {}).values()
    judged = [one["valid"] for one in found]
    valid = False if False in judged else None if None in judged else True
    reasons = [reason for one in found for reason in one["reasons"]]
    return validity(valid, reasons, timed=bool(judged))


def invalid_in_words(
    cells: Iterable[Document], names: dict[str, str], pairs: Iterable[Document] = ()
) -> list[str]:
    """Why times are INVALID, a line a reason: whose time, the kind, and the message.

    What is wrong with a whole session is said once, not once for each of its cells.

    Args:
        cells: those shown.
        names: what to call a cell, by key.
        pairs: the comparisons shown: a reference may be INVALID in the session that a ratio is
            of, and VALID in the one that its own times are of.
    """
    lines: dict[str, None] = {}
    for cell in cells:
        for scenario, one in (cell.get("scenarios") or {}).items():
            for reason in one["reasons"]:
                lines[_reason(reason, names, scenario)] = None
    for pair in pairs:
        verdict = pair["time_verdict"]
        if verdict["valid"] is False:
            lines |= dict.fromkeys(_reason(reason, names) for reason in verdict["reasons"])
    return list(lines)


def _reason(reason: Document, names: dict[str, str], scenario: str = "single_stream") -> str:
    whose = names.get(str(reason["key"]), "the whole session")
    if scenario != "single_stream":
        whose += f", {scenario}"
    return f"{whose}: {reason['kind']}: {reason['message']}"


def unjudged_in_words(cells: Iterable[Document]) -> list[str]:
    """What no session could judge, a line each: VALID says nothing about it."""
    found = [one for cell in cells for one in (cell.get("scenarios") or {}).values()]
    return list(dict.fromkeys(line for one in found for line in one.get("unjudged") or ()))


def times_in_words(pairs: Sequence[Document], names: dict[str, str]) -> str:
    """A sentence or two for pairs with one reference; empty where nothing may be claimed."""
    found: dict[State, list[str]] = {}
    for pair in pairs:
        if pair["time_ratio"] is None:
            continue
        verdict = pair["time_verdict"]
        name = names[pair["b"]]
        if state(verdict) in {"faster", "slower"}:
            name += f" ({words.ratio(pair['time_ratio'])})"
        if state(verdict) != "unknown" or verdict["valid"] is False:
            found.setdefault(state(verdict), []).append(name)
    heads: tuple[tuple[State, str], ...] = (
        ("faster", "Faster"),
        ("slower", "Slower"),
        ("unknown", "Times INVALID, so nothing is said of them"),
    )
    told = [f"{head}: {'; '.join(found[kind])}." for kind, head in heads if kind in found]
    return " ".join(told)
