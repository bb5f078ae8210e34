"""What a session's document says, as rows for the catalogue's tables."""

from __future__ import annotations

from typing import Any

from harness.store.layout import Document
from harness.store.sessions import SINGLE_STREAM, ratio_validity, validity_of

Row = dict[str, Any]


def session_rows(session_id: str, document: Document) -> dict[str, list[Row]]:
    """Rows of `sessions` (one, without its path), `session_members`, `time_reasons`, `stages`.

    Args:
        session_id: the session's name.
        document: session.json, of any version: what it does not hold is None.
    """
    keys = [str(member["key"]) for member in document.get("members") or []]
    whole = validity_of(document, keys)
    session = {
        "id": session_id,
        **{name: document.get(name) for name in ("created", "reference", "control", "rounds")},
        "scenario": document.get("scenario") or SINGLE_STREAM,
        "fresh_processes": bool(document.get("fresh_processes")),
        "floor": document.get("floor"),
        "valid": whole.valid,
    }
    return {
        "sessions": [session],
        "session_members": [
            _member(session_id, document, str(member["key"]), member.get("position"))
            for member in document.get("members") or []
        ],
        "time_reasons": [{"session": session_id, **reason} for reason in whole.reasons],
        "stages": [row for key in keys for row in _stages(session_id, document, key)],
    }


def _member(session_id: str, document: Document, key: str, place: object) -> Row:
    energy = (document.get("energy") or {}).get(key) or {}
    return {
        "session": session_id,
        "key": key,
        "place": place,
        "batch": (document.get("batch") or {}).get(key),
        "valid": validity_of(document, [key]).valid,
        "ratios_valid": ratio_validity(document, [key]).valid,
        "peak_rss_mib": (document.get("peak_rss_mib") or {}).get(key),
        "joules_per_query": energy.get("joules_per_query"),
        "power_w": energy.get("power_w"),
    }


def _stages(session_id: str, document: Document, key: str) -> list[Row]:
    found = ((document.get("stages") or {}).get(key) or {}).get("stages") or {}
    return [
        {"session": session_id, "key": key, "stage": name, "median_ns": said.get("median_ns")}
        for name, said in found.items()
    ]
