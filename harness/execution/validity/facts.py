"""What a session's document, its times and its samples say, in a form that can be judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Finding(NamedTuple):
    """Something that was found; without a kind it is something that could not be judged."""

    key: str | None
    """The cell that it concerns; None: the whole session."""
    kind: str
    message: str

    @classmethod
    def unjudged(cls, message: str) -> Finding:
        """Something that could not be judged, and why."""
        return cls(None, "", message)

    def reason(self) -> dict[str, str]:
        """The finding as `session.json` holds it."""
        return {"kind": self.kind, "message": self.message}


@dataclass(frozen=True)
class Turn:
    """One cell's part of one round. Times are nanoseconds from the session's start.

    None is what was not recorded. Of the leased cores together: `busy_ns`, `steal_ns`.
    """

    key: str
    round: int
    start_ns: int
    end_ns: int
    cpu_ns: int | None
    wait_ns: int | None
    idle_cpu_ns: int | None
    busy_ns: int | None
    steal_ns: int | None
    cores: int
    slices: tuple[tuple[int, int], ...] = ()
    """When its parts began and ended; others had their turn between them."""
    idle_ns: int | None = None
    """How long it had waited before its parts; None in older sessions."""

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """When its parts began and ended; one that was not cut is one part."""
        return self.slices or ((self.start_ns, self.end_ns),)

    @property
    def wall_ns(self) -> int:
        """How long it took."""
        return max(1, sum(end - start for start, end in self.parts))

    @property
    def foreign_ns(self) -> int | None:
        """What others did on the leased cores meanwhile."""
        if self.busy_ns is None or self.cpu_ns is None:
            return None
        return max(0, self.busy_ns - self.cpu_ns)


@dataclass(frozen=True)
class Facts:
    """A session, read."""

    document: Mapping[str, Any]
    keys: tuple[str, ...]
    """The cells, by position."""
    times: Mapping[str, Mapping[int, NDArray[np.int64]]]
    """Durations in nanoseconds, by cell and round."""
    turns: Mapping[str, Sequence[Turn]]
    """In the order in which they were had."""
    samples: Sequence[Mapping[str, Any]]
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why a field is in no sample."""

    @classmethod
    def read(
        cls,
        document: Mapping[str, Any],
        rounds: NDArray[np.int64],
        members: NDArray[np.int64],
        durations: NDArray[np.int64],
        samples: Sequence[Mapping[str, Any]],
    ) -> Facts:
        """Read a session; see `judge` for the arguments."""
        positions = {str(m["key"]): int(m["position"]) for m in document.get("members", ())}
        times = {}
        for key, position in positions.items():
            mine = members == position
            at, spent = rounds[mine], durations[mine]
            times[key] = {int(number): spent[at == number] for number in np.unique(at)}
        turns: dict[str, list[Turn]] = {key: [] for key in positions}
        for turn in document.get("turns") or ():
            if turn.get("key") in turns:
                turns[turn["key"]].append(_turn(turn, document))
        absent = samples[0].get("absent", {}) if samples else {}
        return cls(document, tuple(positions), times, turns, list(samples), absent)

    @cached_property
    def medians(self) -> dict[str, dict[int, float]]:
        """The median duration of each round in nanoseconds, by cell and round."""
        return {
            key: {number: float(np.median(values)) for number, values in rounds.items()}
            for key, rounds in self.times.items()
        }

    @cached_property
    def by_cell(self) -> dict[str, list[Mapping[str, Any]]]:
        """The samples that were taken while each cell had its turn.

        Where no turns were recorded, all samples stand under one empty name.
        """
        spans = sorted(
            (start, end, key)
            for key, turns in self.turns.items()
            for turn in turns
            for start, end in turn.parts
        )
        if not spans:
            return {"": list(self.samples)}
        starts = np.asarray([start for start, _, _ in spans])
        found: dict[str, list[Mapping[str, Any]]] = {key: [] for key in self.keys}
        for sample in self.samples:
            at = int(sample.get("t_ns", -1))
            index = int(np.searchsorted(starts, at, side="right")) - 1
            if index >= 0 and at <= spans[index][1]:
                found[spans[index][2]].append(sample)
        return found

    def names(self, keys: Iterable[str]) -> str:
        """Cells in words, short: `all cells`, or the beginnings of their keys."""
        keys = list(keys)
        if len(keys) == len(self.keys) and len(keys) > 1:
            return "all cells"
        return ", ".join(key[:12] for key in keys)


def _turn(turn: Mapping[str, Any], document: Mapping[str, Any]) -> Turn:
    def number(name: str) -> int | None:
        value = turn.get(name)
        return None if value is None else int(value)

    return Turn(
        key=str(turn["key"]),
        round=int(turn.get("round", 0)),
        start_ns=int(turn.get("start_ns", 0)),
        end_ns=int(turn.get("end_ns", 0)),
        cpu_ns=number("cpu_ns"),
        wait_ns=number("wait_ns"),
        idle_cpu_ns=number("idle_cpu_ns"),
        busy_ns=number("busy_ns"),
        steal_ns=number("steal_ns"),
        cores=_core_count(document),
        slices=tuple((int(start), int(end)) for start, end in turn.get("slices") or ()),
        idle_ns=number("idle_ns"),
    )


def _core_count(document: Mapping[str, Any]) -> int:
    """How many cores are leased; where none are named, all that may be used."""
    usable = ((document.get("machine") or {}).get("cpu") or {}).get("usable_cores")
    return len(document.get("cores") or usable or [0])
