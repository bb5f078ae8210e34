"""A compiler that is not there: trials of settings whose answers a function gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.canonical import key_of


class CompilerCrashed(Exception):  # noqa: N818
    """What a function raises for settings that kill the compiler."""


@dataclass(frozen=True)
class FakeTrial:
    """As `studies.points.Trial`, with its answers in memory."""

    point: Any
    status: str
    scores: Any = None
    kind: str = ""
    message: str = ""
    ran: tuple[str, ...] | None = None

    @property
    def key(self):
        return key_of(dict(self.point.settings))

    @property
    def label(self):
        return self.point.label

    @property
    def answered(self):
        return self.status == "done"

    @property
    def compiled(self):
        return {"passes": None if self.ran is None else list(self.ran)}

    @property
    def fingerprint(self):
        return None

    def answers(self):
        names = tuple(f"images/{i}.png" for i in range(len(self.scores)))
        return SimpleNamespace(
            key=self.key,
            scores=self.scores,
            kind="logits",
            others=(),
            labels=None,
            names=names,
            count=len(names),
        )


@dataclass
class FakeTrials:
    """Answers points by a function of their settings: float32 [N, C], or it crashes."""

    answer: Callable[[Mapping[str, Any]], Any]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ran: Callable[[Mapping[str, Any]], tuple[str, ...] | None] = lambda _: None
    asked: list[Any] = field(default_factory=list)
    store: Path = Path("nowhere")

    def offer(self):
        return {"names": dict(self.names)}

    def run(self, points, *, timed=False):
        assert not timed
        return [self._trial(point) for point in points]

    def _trial(self, point):
        self.asked.append(point)
        try:
            scores = np.asarray(self.answer(point.settings), np.float32)
        except CompilerCrashed as error:
            return FakeTrial(point, "failed", kind="signal", message=str(error))
        return FakeTrial(point, "done", scores, ran=self.ran(point.settings))
