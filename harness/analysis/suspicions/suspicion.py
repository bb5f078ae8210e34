"""What is found: one suspicion with its evidence, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Confidence = Literal["certain", "likely", "possible"]

ORDER: tuple[Confidence, ...] = ("certain", "likely", "possible")
"""Most sure first."""


@dataclass(frozen=True)
class Suspicion:
    """One thing that is probably wrong with a cell.

    Attributes:
        kind: `nan-or-infinite`, `constant`, `stuck`, `class-offset`, `shuffled-labels`,
            `double-softmax`, `probabilities-as-logits`, `missing-softmax`, `bgr`,
            `sides-swapped`, `wrong-normalisation`, `quantised-badly` or `low-accuracy`.
        title: what is suspected, in a few words.
        confidence: `certain`, `likely` or `possible`.
        evidence: sentences with the numbers that speak for it.
        remedy: what to look at first.
        numbers: the same numbers by name.
    """

    kind: str
    title: str
    confidence: Confidence
    evidence: tuple[str, ...]
    remedy: str
    numbers: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def document(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "kind": self.kind,
            "title": self.title,
            "confidence": self.confidence,
            "evidence": list(self.evidence),
            "remedy": self.remedy,
            "numbers": dict(self.numbers),
        }
