"""The paper's twelve conversions as a square: what all routes of each pair came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.conversion_steps import FAILED
from harness.analysis.paper import FRAMEWORKS, paper_findings
from harness.report import words

Document = dict[str, Any]


@dataclass(frozen=True)
class FieldView:
    """One of the twelve conversions: what all its routes came to.

    Attributes:
        state: `self`, `absent`, `same`, `differs`, `works` (not compared) or `failed`.
        said: in a word or two.
        more: what stands below.
    """

    state: str
    said: str
    more: str = ""


def square(found: Sequence[Document]) -> tuple[tuple[str, tuple[FieldView, ...]], ...]:
    """A row a framework, a field a framework it leads to; empty without any of the pairs.

    Args:
        found: the `conversions` of one model in a sweep's result.
    """
    if not any(one["paper"] for one in found):
        return ()
    return tuple(
        (start, tuple(_field(start, end, found) for end in FRAMEWORKS)) for start in FRAMEWORKS
    )


def _field(start: str, end: str, found: Sequence[Document]) -> FieldView:
    """What all routes of a pair came to.

    Quantised ones, and those that another than the framework ran, count only without others.
    """
    if start == end:
        return FieldView("self", "\u00b7")
    routes = [one for one in found if one["paper"] == f"{start} to {end}"]
    plain = [one for one in routes if one["quantisation"] in (None, "none")]
    if not routes:
        return FieldView("absent", words.NOTHING)
    tail = "" if plain else ", quantised"
    chosen = plain or routes
    if any(one["status"] != "failed" and not one["paper_foreign"] for one in chosen):
        chosen = _itself(chosen)
    working = [one for one in chosen if one["status"] != "failed"]
    if not working:
        return FieldView("failed", "failed", failure(chosen[0], 60)[1] + tail)
    several = f"{len(working)} of {len(chosen)} routes work" if len(chosen) > 1 else ""
    counted = _itself([one for one in working if one["paper_flips"] is not None])
    if not counted:
        none = f"no cell run alike runs it as {start}"
        more = _joined(several, none, *_foreign(working)) + tail
        return FieldView("works", "works", more)
    flips = sorted({one["paper_flips"] for one in counted})
    said = words.count(flips[0])
    if len(flips) > 1:
        said += f" to {words.count(flips[-1])}"
    images = {one["paper_images"] for one in counted}
    # Routes over unlike sets of images have no one number of them.
    labels = f"of {words.count(images.pop())} labels" if len(images) == 1 else "labels"
    more = _joined(labels, several, *_foreign(counted)) + tail
    return FieldView("differs" if flips[-1] else "same", said, more)


def _itself(found: Sequence[Document]) -> list[Document]:
    """The cells whose frameworks ran their own models; all of them where there are none."""
    return [one for one in found if not one["paper_foreign"]] or list(found)


def _foreign(found: Sequence[Document]) -> list[str]:
    """What ran a framework's models in its place."""
    ran = [one for conversion in found for one in conversion["paper_foreign"]]
    return list(dict.fromkeys(f"{one['framework']} run by {one['backend']}" for one in ran))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def findings(found: Sequence[Document]) -> tuple[str, ...]:
    """Each sentence once, whatever pairs it is about."""
    pairs = [str(one["paper"]).split(" to ") for one in found if one["paper"]]
    return tuple(dict.fromkeys(said for pair in pairs for said in paper_findings(*pair)))


def failure(one: Document, length: int = 110) -> tuple[str, str]:
    """Why a cell failed, whole where the first words are not all, and the first words of it."""
    if one["status"] != "failed":
        return "", ""
    # The step is named where it stands: what matters is what its converter said.
    said = [step["note"] for step in one["steps"] if step["status"] == FAILED]
    message = " ".join(str(said[0] if said else one["message"] or "no reason is recorded").split())
    reason = words.reason(message, length)
    return ("" if reason == message else message), reason
