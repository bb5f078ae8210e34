"""Failures are results too: each attempt that failed is kept with its kind and its log."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.canonical import atomic_folder

# Kinds that say something of the moment rather than of the cell: the next sweep tries again.
TRANSIENT = frozenset({"environment", "engine"})
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
    timeout_s: float | None = None

    def lasts(self, timeout_s: float) -> bool:
        """Whether trying again with this time limit would only fail again, as far as is known."""
        if self.kind == "timeout":
            return self.timeout_s is not None and timeout_s <= self.timeout_s
        return self.kind not in TRANSIENT

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
            "timeout_s": failure.timeout_s,
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
                timeout_s=document.get("timeout_s"),
            )
        except (OSError, ValueError, KeyError):
            continue
    return None
