"""Workers without processes: they answer a session's commands on a clock of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import ExecutionError
from harness.execution.turns import Member


class Clock:
    """A clock that only work and waiting move; nanoseconds."""

    def __init__(self) -> None:
        self.now_ns = 0

    def read(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@dataclass
class FakeWorker:
    """A model whose call takes `call_ns`; idle, it uses `idle_share` of a core unless frozen.

    Those of `beside` that are idle and not frozen take that share from it.
    """

    clock: Clock
    call_ns: int = 1_000_000
    idle_share: float = 0.0
    fails_after: int | None = None
    freezes: bool = True
    said: list[str] = field(default_factory=list)
    frozen: bool = False
    closed: bool = False
    beside: list[FakeWorker] = field(default_factory=list)
    _rested_ns: int = 0
    _frozen_ns: int = 0
    _calls: int = 0

    def event(self, name: str, *_: Any) -> dict[str, Any]:
        return {"event": name}

    def command(self, document: Mapping[str, Any], *_: Any) -> dict[str, Any]:
        name = str(document["command"])
        self.said.append(name)
        assert not self.frozen, "a frozen worker answers nothing"
        idle_ns = self.clock.now_ns - self._rested_ns - self._frozen_ns
        self._frozen_ns = 0
        runs = {
            "warmup": document.get("min_iterations", 0),
            "round": document.get("iterations", 0) + document.get("warmup", 0),
            "stages": document.get("iterations", 0),
        }.get(name, 0)
        self._calls += runs
        if self.fails_after is not None and self._calls > self.fails_after:
            raise ExecutionError("backend", "it failed")
        others = (one for one in self.beside if one is not self and not one.closed)
        taken = sum(one.idle_share for one in others if not one.frozen)
        call_ns = round(self.call_ns * (1 + taken))
        self.clock.now_ns += runs * call_ns
        self._rested_ns = self.clock.now_ns
        used = {
            "cpu_ns": runs * call_ns,
            "cpu_ns_since_last": round(idle_ns * self.idle_share),
            "wait_ns": 0,
            "rss_mib": 10.0 + self._calls,
            "peak_rss_mib": 20.0,
        }
        if name == "stages":
            return {"stages": {"compute": [call_ns] * runs}, "absent": {}}
        if name == "timed_outputs":
            return {"outputs": [], "first_row": 0, "rows": 1}
        recorded = document["iterations"] if name == "round" else runs
        return {"durations_ns": [call_ns] * recorded, "steady": True, **used}

    def freeze(self) -> None:
        if not self.freezes:
            raise ExecutionError("engine", "the engine does not pause")
        self.said.append("freeze")
        self.frozen = True
        self._since = self.clock.now_ns

    def thaw(self) -> None:
        self.said.append("thaw")
        self.frozen = False
        self._frozen_ns = self.clock.now_ns - self._since

    def peak_mib(self) -> float | None:
        return None

    def close(self) -> None:
        self.closed = True

    def kill(self) -> None:
        self.closed = True


def member(key: str, worker: FakeWorker, **more: Any) -> Member:
    return Member(key, worker, Path("unused"), {}, **more)
