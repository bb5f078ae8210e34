"""What a runner says that a model was compiled to: looked at before it is kept, and added later.

It comes from inside an environment and may be anything: what is no fingerprint is kept as absent,
with the reason, and costs no answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.execution.bundles import answers_folder, seal

_MOST_NAMES = 5000
_MOST_CHARACTERS = 500
_DIGITS = frozenset("0123456789abcdef")


def form_of(told: object) -> dict[str, Any]:
    """A fingerprint as `answers.json` keeps it: the document itself, or `{"absent": why}`."""
    if not isinstance(told, Mapping):
        return {"absent": "the runner told nothing of it"}
    if isinstance(why := told.get("absent"), str) and why:
        return {"absent": why[:_MOST_CHARACTERS]}
    if fault := _fault(told):
        return {"absent": f"what the backend told of it is no fingerprint: {fault}"}
    return {
        "form": told["form"],
        "sha256": told["sha256"],
        "operators": dict(told["operators"]),
        "passes": None if told.get("passes") is None else list(told["passes"]),
        "code_bytes": told.get("code_bytes"),
    }


def costs_of(loaded: Mapping[str, Any]) -> dict[str, Any]:
    """What compiling cost beside time, as `answers.json` keeps it."""
    peak, cache = loaded.get("compile_peak_mib"), loaded.get("compile_cache")
    return {
        "compile_peak_mib": peak if _is_number(peak) else None,
        "compile_cache": cache if cache in {"none", "cold", "warm"} else None,
    }


def has_form(store: Path, key: str) -> bool:
    """Whether a cell's answers say what it was compiled to, or why that is not shown."""
    try:
        text = (answers_folder(store, key) / "answers.json").read_text(encoding="utf-8")
        return isinstance(json.loads(text).get("compiled"), dict)
    except (OSError, ValueError, AttributeError):
        return False


def add_form(store: Path, key: str, told: object) -> None:
    """Add what a cell was compiled to to answers that were given without it.

    The answers are those of the same key, so that the same was compiled. A machine that dies
    between the two files leaves a bundle that does not validate, and it is made again.
    """
    folder = answers_folder(store, key)
    document = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    document["compiled"] = form_of(told)
    part = folder.with_name(f".{folder.name}.answers")
    part.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(folder / "answers.json")
    seal(folder)


def _fault(told: Mapping[str, Any]) -> str | None:
    form, digest, operators = told.get("form"), told.get("sha256"), told.get("operators")
    if not _is_text(form):
        return "no form"
    if not isinstance(digest, str) or len(digest) != 64 or not set(digest) <= _DIGITS:
        return "no SHA-256"
    if not isinstance(operators, Mapping) or len(operators) > _MOST_NAMES:
        return "no table of operators"
    if not all(_is_text(kind) and _is_count(count) for kind, count in operators.items()):
        return "a kind of operators without a count"
    passes = told.get("passes")
    if passes is not None and not (
        isinstance(passes, list) and len(passes) <= _MOST_NAMES and all(map(_is_text, passes))
    ):
        return "no list of passes"
    size = told.get("code_bytes")
    return None if size is None or _is_count(size) else "no size of its code"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MOST_CHARACTERS and value.isprintable()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
