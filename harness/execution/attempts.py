"""Failures are results too: each attempt that failed is kept with its kind and its log."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.canonical import atomic_folder

# Kinds that say something of the moment rather than of the cell: the next sweep tries again.
TRANSIENT = frozenset({"environment", "engine", "disk-full", "wrong-device"})
# Kinds that another limit may mend, and the limit (its name in a sweep file): the first of them
# under which it failed.
_BOUNDED = {
    "timeout": ("conversions.timeout_seconds", "compile_seconds", "timeout_seconds"),
    "out-of-memory": ("conversions.memory_mib", "memory_mib"),
    "output-limit": ("output_bytes",),
    "disagreement": (
        "conversions.tolerance",
        "conversions.float16_tolerance",
        "conversions.quantised_tolerance",
    ),
}
_LOG_TAIL_BYTES = 64 << 10


@dataclass(frozen=True)
class Failure:
    """Why a cell has no answers."""

    key: str
    kind: str
    message: str
    detail: str = ""
    exit_status: int | None = None
    signal: int | None = None
    started: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Under which it failed, by their names in a sweep file."""

    def lasts(self, limits: Mapping[str, float]) -> bool:
        """Whether trying again with these limits would only fail again, as far as is known."""
        if self.kind not in _BOUNDED:
            return self.kind not in TRANSIENT
        bound = next((name for name in _BOUNDED[self.kind] if name in self.limits), None)
        return bound is not None and limits[bound] <= self.limits[bound]

    def record(self) -> dict[str, Any]:
        """The failure as the sweep's result shows it."""
        return {"key": self.key, "kind": self.kind, "message": self.message}


def now() -> str:
    """The time now: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def tail(log: Path | None, size_bytes: int = _LOG_TAIL_BYTES) -> str:
    """The end of a log file, or nothing."""
    if log is None or not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - size_bytes))
        return stream.read().decode("utf-8", errors="replace")


def keep(store: Path, failure: Failure, cell: dict[str, Any], log: Path | None) -> Path:
    """Keep a failed attempt under `attempts/<key>/<time>-<id>/`."""
    ended = now()
    stamp = ended.replace(":", "").replace("-", "").replace("+0000", "Z")
    target = store / "attempts" / failure.key / f"{stamp}-{uuid.uuid4().hex[:6]}"
    with atomic_folder(target) as staged:
        (staged / "log.txt").write_text(tail(log), encoding="utf-8")
        document = {
            "schema_version": 1,
            "key": failure.key,
            "kind": failure.kind,
            "message": failure.message,
            "detail": failure.detail,
            "exit_status": failure.exit_status,
            "signal": failure.signal,
            "limits": dict(failure.limits),
            "started": failure.started or ended,
            "ended": ended,
            "cell": cell,
        }
        (staged / "attempt.json").write_text(
            json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return target


def last(store: Path, key: str) -> Failure | None:
    """The latest failed attempt at a cell, if there is one."""
    folder = store / "attempts" / key
    if not folder.is_dir():
        return None
    for attempt in sorted((p for p in folder.iterdir() if p.name[0] != "."), reverse=True):
        try:
            document = json.loads((attempt / "attempt.json").read_text(encoding="utf-8"))
            return Failure(
                key=key,
                kind=document["kind"],
                message=document["message"],
                detail=document["detail"],
                exit_status=document["exit_status"],
                signal=document["signal"],
                started=document["started"],
                limits=document.get("limits", {}),
            )
        except (OSError, ValueError, KeyError):
            continue
    return None
