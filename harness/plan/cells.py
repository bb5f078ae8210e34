"""Cells and the keys that make their results reusable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from harness.canonical import key_of
from harness.environments.instruction_sets import OWN
from harness.plan.conversions import Conversion
from harness.plan.feeds import USUAL, CellInputs, Feed
from harness.plan.levels import beside
from harness.plan.wishes import NO_WISHES, Wishes
from harness.spec.models import OWN as OWN_LEVEL

KEY_SCHEMA_VERSION = 1
_FEW_NAMES = 3


def point_key(settings: Mapping[str, Any], wishes: Mapping[str, Any]) -> str:
    """What tells points apart that differ in settings and in wishes of conversions alone."""
    return key_of({"settings": dict(settings), "wishes": dict(wishes)})


def shown(value: Any) -> str:
    """A setting's value as labels show it: of a long list, how many there are."""
    if isinstance(value, list | tuple):
        few = len(value) <= _FEW_NAMES
        return "+".join(map(str, value)) or "none" if few else f"{len(value)} names"
    if isinstance(value, Mapping):
        return ",".join(f"{name}={one}" for name, one in sorted(value.items()))
    return str(value)


@dataclass(frozen=True)
class Cell:
    """One point of the matrix."""

    model: str
    model_path: Path
    model_format: str
    model_sha256: str
    class_offset: int
    output: str
    environment: str
    environment_identity: str
    stack: str
    version: str
    backend: str
    settings: Mapping[str, Any]
    precision: str
    device: str
    device_name: str
    threads: int
    batch: int
    executor: str
    runner_sha256: str
    route: str
    conversion: Conversion | None
    inputs: CellInputs
    repeat: int = 0
    role: Literal["cell", "control"] = "cell"
    output_bytes: int = field(default=2 << 30, compare=False)
    gpu: str | None = field(default=None, compare=False)
    """UUID of the GPU it runs on: one like it gives the same key."""
    lock_sha256: str | None = None
    feed: Feed = USUAL
    """Names of the points on the axes that concern inputs; what they mean is in `inputs`."""
    architecture: str | None = None
    variant: Mapping[str, Any] = field(default_factory=dict)
    """How the network is built where that was said; its conversion's key holds it."""
    wishes: Wishes = NO_WISHES
    """What was wanted of the conversions; their keys hold it."""
    instruction_set: str = OWN
    """The highest of the processor's that may run; `own`: what it has."""
    level: str = field(default=OWN_LEVEL, compare=False)
    """Which optimisation level its settings stand for; `own`: none. No part of the key."""
    called: str = field(default="", compare=False)
    """What a study calls the point that it tries, in place of long settings: `only FuseOps`."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that may change an answer or a time, and nothing else."""
        return {
            "schema_version": KEY_SCHEMA_VERSION,
            "artifact": {
                "source": self.model_sha256,
                "format": self.model_format,
                "conversion": self.conversion.key if self.conversion else None,
            },
            "checkpoint": {"class_offset": self.class_offset, "output": self.output},
            "environment": self.environment_identity,
            "executor": self.executor,
            "runner": self.runner_sha256,
            "backend": self.backend,
            "settings": dict(self.settings),
            "precision": self.precision,
            "device": {"kind": self.device, "name": self.device_name},
            "threads": self.threads,
            "batch": self.batch,
            "pixels": self.inputs.pixels_key,
            "feeding": self.inputs.feeding,
            "repeat": self.repeat,
            # Left out where there is no ceiling: keys are older than this axis.
            **({} if self.instruction_set == OWN else {"instruction_set": self.instruction_set}),
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of the identity."""
        return key_of(self.identity)

    @cached_property
    def twin(self) -> str:
        """The same for the same cell over other images, and for its controls.

        The model counts by its name: weights that are drawn are fitted on the images.
        """
        return key_of(
            {
                "model": [self.model, dict(self.variant)],
                "environment": [self.environment_identity, self.executor],
                "backend": [self.backend, dict(self.settings), self.precision],
                "place": [self.device, self.device_name, self.threads, self.batch],
                "way": [self.route, self.wishes.asked, self.instruction_set],
                "feed": asdict(self.feed),
            }
        )

    def again(self, repeat: int) -> Cell:
        """The same cell, run once more as an A/A control."""
        return replace(self, repeat=repeat, role="control")

    @property
    def label(self) -> str:
        """How the cell is called in progress and messages."""
        settings = beside(self.backend, self.level, self.settings)
        extra = [] if self.level == OWN_LEVEL else [self.level]
        extra += [f"{k}={shown(v)}" for k, v in sorted({**settings, **self.variant}.items())]
        extra += [f"{name} {value}" for name, value in self._unusual_feed.items()]
        extra += [f"{name}={value}" for name, value in self.wishes.asked.items()]
        if self.called:
            extra = [self.called]
        if self.conversion is not None and self.conversion.before is not None:
            extra.append(self.route)
        if self.precision != "f32":
            extra.append(f"precision={self.precision}")
        if self.instruction_set != OWN:
            extra.append(f"up to {self.instruction_set}")
        if self.threads != 1:
            extra.append(f"threads={self.threads}")
        if self.batch != 1:
            extra.append(f"batch={self.batch}")
        if self.device != "cpu":
            extra.append(self.device)
        if self.role == "control":
            extra.append("A/A control")
        tail = f" ({', '.join(extra)})" if extra else ""
        return f"{self.model} · {self.environment} · {self.backend}{tail}"

    @property
    def _unusual_feed(self) -> dict[str, str]:
        usual, own = asdict(USUAL), {**asdict(self.feed), "preprocessing": self.preprocessing}
        return {name: value for name, value in own.items() if value != usual[name]}

    @property
    def preprocessing(self) -> str:
        """Who made the pixels, with its settings; `native` is spelled out."""
        return self.inputs.preprocessing

    def record(self) -> dict[str, Any]:
        """The cell as `cell.json` holds it."""
        return {
            "schema_version": KEY_SCHEMA_VERSION,
            "key": self.key,
            "identity": self.identity,
            "model": self.model,
            "environment": self.environment,
            "stack": self.stack,
            "version": self.version,
            "backend": self.backend,
            "settings": dict(self.settings),
            "level": self.level,
            "precision": self.precision,
            "instruction_set": self.instruction_set,
            "device": self.device,
            "device_name": self.device_name,
            "threads": self.threads,
            "batch": self.batch,
            "executor": self.executor,
            "lock_sha256": self.lock_sha256,
            "repeat": self.repeat,
            "role": self.role,
            "inputs_key": self.inputs.inputs_key,
            "preprocessing": self.preprocessing,
            "prepared_in": self.inputs.prepared_in,
            "prepared_by": self.inputs.prepared_by,
            "corruption": self.feed.corruption,
            "corrupted_by": self.inputs.corrupted_by,
            "mistake": self.feed.mistake,
            "recipe": self.inputs.recipe,
            "recipe_key": self.inputs.recipe_key,
            "variant": dict(self.variant),
            "checkpoint": {
                "architecture": self.architecture,
                "class_offset": self.class_offset,
                "output": self.output,
                "format": self.model_format,
                "sha256": self.model_sha256,
            },
            "route": self.route,
            "converted_in": self.conversion.environment if self.conversion else None,
            "way": self.conversion.way if self.conversion else None,
            "steps": [step.record() for step in self.conversion.chain] if self.conversion else [],
            **asdict(self.wishes),
        }
