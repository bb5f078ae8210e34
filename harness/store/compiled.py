"""What a cell's model was compiled to, as its bundle tells it; and the level it was compiled at.

The document comes from inside an environment, which may say anything: what is not of the expected
kind counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.plan.levels import OWN, beside

Document = dict[str, Any]

NOT_SHOWN = "not shown by its library"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CACHES = ("none", "cold", "warm")


@dataclass(frozen=True, slots=True)
class Compiled:
    """The compiled form of a model.

    Attributes:
        form: the kind of program: `onnx`, `tir`, `hlo` …
        sha256: of everything that is executed, constants included; the same in every process.
        operators: how many there are, by kind.
        passes: those that ran, in order; None: the library does not tell.
        code_bytes: size of the code; None: not told.
        absent: why there is no hash; empty where there is one.
    """

    form: str = ""
    sha256: str = ""
    operators: Mapping[str, int] = field(default_factory=dict)
    passes: tuple[str, ...] | None = None
    code_bytes: int | None = None
    absent: str = ""

    @property
    def count(self) -> int | None:
        """How many operators there are; None where none were counted."""
        return sum(self.operators.values()) if self.operators else None

    def document(self) -> Document:
        """As a JSON object: the form, or the reason why there is none."""
        if self.absent:
            return {"absent": self.absent}
        return {
            "form": self.form,
            "sha256": self.sha256,
            "operators": dict(self.operators),
            "passes": None if self.passes is None else list(self.passes),
            "code_bytes": self.code_bytes,
        }


def compiled_of(answers: Document) -> Compiled | None:
    """The compiled form that answers.json holds; None where nobody asked for it."""
    found = answers.get("compiled")
    if found is None:
        return None
    if not isinstance(found, dict):
        return Compiled(absent=NOT_SHOWN)
    sha256 = found.get("sha256")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        why = found.get("absent")
        return Compiled(absent=why if isinstance(why, str) and why else NOT_SHOWN)
    passes, size = found.get("passes"), found.get("code_bytes")
    counts = found.get("operators")
    operators = counts.items() if isinstance(counts, dict) else ()
    return Compiled(
        form=str(found.get("form") or ""),
        sha256=sha256,
        operators={str(kind): n for kind, n in operators if _is_count(n)},
        passes=tuple(map(str, passes)) if isinstance(passes, list) else None,
        code_bytes=size if _is_count(size) else None,
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def compile_costs(answers: Document) -> Document:
    """`compile_peak_mib` and `compile_cache` (`none`, `cold` or `warm`); None where not known."""
    peak, cache = answers.get("compile_peak_mib"), answers.get("compile_cache")
    known = isinstance(peak, int | float) and not isinstance(peak, bool)
    return {
        "compile_peak_mib": float(peak) if known and peak is not None else None,
        "compile_cache": cache if cache in _CACHES else None,
    }


def level_of(cell: Document) -> str:
    """The optimisation level of a cell; cells are older than levels, and those are `own`."""
    return str(cell.get("level") or OWN)


def given_settings(cell: Document) -> Document:
    """A cell's settings without those that its level stands for."""
    return beside(str(cell.get("backend")), level_of(cell), cell.get("settings") or {})
