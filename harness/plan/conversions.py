"""Conversions and the keys that make what they leave reusable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.canonical import key_of
from harness.plan.feeds import CellInputs

KEY_SCHEMA_VERSION = 1

# Two cells that differ in one of these alone need two artifacts, and are a controlled pair.
_AXES = frozenset(
    {
        *("batch", "variant", "calibration", "opset", "quantisation", "folding", "layout"),
        *("passes", "disabled_passes"),
    }
)


@dataclass(frozen=True)
class Checker:
    """Who runs a file to see what it answers.

    Attributes:
        environment: its name.
        environment_identity: what is in it.
        backend: of that environment.
        format: the file's.
    """

    environment: str
    environment_identity: str
    backend: str
    format: str


@dataclass(frozen=True)
class Conversion:
    """One step of a route: what a cell's artifact comes from. Its key is its lineage, not its bytes.

    Attributes:
        converter: such as `onnx>torch`.
        environment: name of the one it runs in.
        environment_identity: what is in that.
        executor: that runs it.
        source: the model file that the route begins with.
        source_sha256: of that file.
        source_format: of what this step reads.
        target_format: of what it leaves behind.
        runner_sha256: hash of the runner.
        options: what the converter is told.
        before: the step before; None for the first.
        inputs: what the model is fed to check and calibrate the conversion; None: nothing.
        source_checker: who runs what this step reads; None: nobody can (named arrays).
        checker: who runs what it leaves behind.
    """

    converter: str
    environment: str
    environment_identity: str
    source: Path
    source_sha256: str
    source_format: str
    target_format: str
    runner_sha256: str
    options: Mapping[str, Any]
    before: Conversion | None = None
    executor: str = "venv"
    inputs: CellInputs | None = field(default=None, compare=False)
    source_checker: Checker | None = field(default=None, compare=False)
    checker: Checker | None = field(default=None, compare=False)

    @cached_property
    def key(self) -> str:
        """SHA-256 of the lineage."""
        source = self.before.key if self.before else None
        return key_of({**self._made_by(source), "options": dict(self.options)})

    @cached_property
    def way(self) -> str:
        """SHA-256 of the lineage without what is an axis: the same way for the same model."""
        source = self.before.way if self.before else None
        options = {k: v for k, v in self.options.items() if k not in _AXES}
        return key_of({**self._made_by(source), "options": options})

    @property
    def chain(self) -> tuple[Conversion, ...]:
        """The steps from the model file to this one."""
        return (*(self.before.chain if self.before else ()), self)

    @property
    def label(self) -> str:
        """How the step is called in progress and messages."""
        number = len(self.chain)
        step = f"step {number}, " if number > 1 else ""
        return f"{step}{self.converter} in {self.environment}"

    def record(self) -> dict[str, Any]:
        """The step as `cell.json` holds it."""
        return {
            "key": self.key,
            "converter": self.converter,
            "environment": self.environment,
            "options": dict(self.options),
        }

    def _made_by(self, source: str | None) -> dict[str, Any]:
        return {
            "schema_version": KEY_SCHEMA_VERSION,
            "converter": self.converter,
            "environment": self.environment_identity,
            "source": self.source_sha256 if source is None else source,
            "source_format": self.source_format,
            "runner": self.runner_sha256,
        }
