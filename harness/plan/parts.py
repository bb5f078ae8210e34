"""What a plan is made of: models, environments, devices, and what cannot be combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.plan.feeds import Feeds
from harness.spec.models import EnvironmentEntry


@dataclass(frozen=True)
class Network:
    """What a file of weights has to be put into.

    Attributes:
        architecture: its name.
        variants: how it is built, each a cell of its own; {} is as each framework has it.
        library: whose names the weights have, where there are several; None: they tell.
    """

    architecture: str
    variants: tuple[Mapping[str, Any], ...] = ({},)
    library: str | None = None

    def options(self, variant: Mapping[str, Any]) -> dict[str, Any]:
        """What a converter is told of it."""
        library = {"library": self.library} if self.library else {}
        return {"architecture": self.architecture, "variant": dict(variant), **library}


@dataclass(frozen=True)
class Subject:
    """A model with its inputs, ready to be crossed with environments."""

    name: str
    path: Path
    format: str
    sha256: str
    class_offset: int
    output: str
    feeds: Feeds
    batch: int | None = None
    """The batch that the file is fixed to; None where it is open."""
    item_shape: tuple[int, ...] | None = None
    """The shape of one input where the file leaves it open and a converter must be told."""
    network: Network | None = None
    """Of a file that holds weights alone."""


@dataclass(frozen=True)
class Stack:
    """What planning needs to know of an environment."""

    entry: EnvironmentEntry
    name: str
    stack: str
    version: str
    identity: str
    formats: Mapping[str, tuple[str, ...]]
    converters: Mapping[str, tuple[str, ...]]
    executor: str
    accelerator: str = "cpu"
    lock_sha256: str | None = None
    """Of what is installed, where that is a lock; None for what was found installed."""
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Stack and version of a backend, where an environment holds several stacks."""
    instruction_sets: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict)
    """The ceilings that each backend keeps to; a text says why it keeps to none."""


@dataclass(frozen=True)
class Workshop:
    """An environment that converts models, or checks what others made.

    Attributes:
        name: of the environment.
        identity: of the environment.
        executor: that runs it.
        converters: what it offers, each with the options that a person may choose.
        formats: the model formats that each of its backends reads.
    """

    name: str
    identity: str
    executor: str
    converters: Mapping[str, Sequence[str]]
    formats: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceHere:
    """A device as it was found on this machine.

    Attributes:
        kind: `cpu` or `cuda`.
        name: the model, and of a GPU the driver too: its identity in every key.
        gpu: UUID of the GPU; None for the CPU.
    """

    kind: str
    name: str
    gpu: str | None = None


@dataclass(frozen=True)
class Place:
    """The machine that the cells run on: the runner, and devices by the name asked for.

    Attributes:
        runner_sha256: hash of the runner's tree.
        devices: by the name asked for.
        cpu_flags: the features of its processor, by the kernel's names.
    """

    runner_sha256: str
    devices: Mapping[str, DeviceHere]
    cpu_flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Skipped:
    """A combination that cannot exist, and why: planned away in the open, never dropped."""

    model: str
    environment: str
    backend: str
    reason: str

    def record(self) -> dict[str, str]:
        """The combination as documents hold it."""
        return {
            "model": self.model,
            "environment": self.environment,
            "backend": self.backend,
            "reason": self.reason,
        }
