"""An environment resolved for this machine: which lock, which Python, and its identity."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

from harness.canonical import key_of
from harness.environments.folders import EnvironmentFolder, lock_hash
from harness.environments.interpreters import Interpreter

_ASK_SECONDS = 10
Executor = Literal["venv", "docker"]
Kind = Literal["folder", "image", "python"]


@dataclass(frozen=True)
class Base:
    """The image that environment images are built from: a small Linux with one Python."""

    reference: str
    """What was asked for: `python:3.11-slim-bookworm`, or `local:bookworm` for one made here."""
    digest: str
    """`sha256:…` of its content: the registry's digest, or where there is none the hash of its
    layers and variables. Never an image id, which holds the time of building."""
    python: str
    """X.Y of its Python."""
    source: Literal["registry", "local"]
    glibc: str = "2.28"
    """Version of its C library: which wheels fit."""
    machine: str = "x86_64"

    @property
    def tag(self) -> str:
        """The local tag that it is built from, whatever its own name is."""
        return f"harness/base:{self.digest.removeprefix('sha256:')[:12]}"


@dataclass(frozen=True)
class Preparing:
    """What an environment can do to images before a model sees them."""

    preprocessors: tuple[str, ...] = ()
    """Libraries that decode and resize image files, the stack's own means first."""
    corruptions: tuple[str, ...] = ()
    """Libraries that corrupt pixels."""


NOTHING = Preparing()


@dataclass(frozen=True)
class Environment:
    """A pinned software stack, as it is or will be installed on this machine."""

    name: str
    stack: str
    version: str
    accelerator: str
    backends: tuple[str, ...]
    converters: Mapping[str, tuple[str, ...]]
    formats: Mapping[str, tuple[str, ...]] = field(hash=False)
    """The model formats that each backend reads."""
    python: str
    """X.Y.Z of its interpreter; of one built on a base, X.Y (its probe says the rest)."""
    identity: str
    """SHA-256 (hex) of what is in it: lock, Python, platform. Known before it is installed, except
    for an adopted one, which is asked."""
    interpreter: Path | None = None
    """What a virtual environment is made from."""
    lock_path: Path | None = None
    lock_sha256: str | None = None
    folder: EnvironmentFolder | None = None
    """Where it is written down; None for one that somebody else made."""
    executor: Executor = "venv"
    """How its cells run: as processes on this machine, or in containers."""
    kind: Kind = "folder"
    """Made from a folder by the harness, or adopted: an image or a Python that was there."""
    reference: str = ""
    """What a person named."""
    base: Base | None = None
    """What its image is built from, for one of a folder that runs in containers."""
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict, hash=False)
    """Stack and version of each backend, for an adopted one: it may hold several stacks."""
    instruction_sets: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict, hash=False)
    """Ceilings on the processor's that each backend keeps to; a text says why it keeps to none."""
    preparing: Preparing = NOTHING
    """What it can do to images. One without backends does only that: it runs no model."""


@dataclass(frozen=True)
class FromFolder:
    """The parts of an environment that a folder makes: present, where `Environment` says maybe."""

    folder: EnvironmentFolder
    lock_path: Path
    lock_sha256: str


def from_folder(env: Environment) -> FromFolder:
    """The folder and lock of an environment that is made from them.

    Raises:
        ValueError: it is an adopted one; a mistake of the caller's.
    """
    if env.folder is None or env.lock_path is None or env.lock_sha256 is None:
        raise ValueError(f"{env.name} is not made from a folder")
    return FromFolder(env.folder, env.lock_path, env.lock_sha256)


def environment_of(
    folder: EnvironmentFolder, interpreter: Interpreter, reference: str = ""
) -> Environment:
    """The virtual environment that a folder makes with an interpreter.

    Raises:
        EnvironmentSpecError: the folder has no lock for that Python, or one without hashes.
    """
    made = _of_folder(folder, interpreter.minor, reference)
    return replace(
        made,
        python=interpreter.version,
        identity=identity_of(folder, from_folder(made).lock_sha256, interpreter.version),
        interpreter=interpreter.path,
    )


def image_environment_of(
    folder: EnvironmentFolder, base: Base, dockerfile_sha256: str, reference: str = ""
) -> Environment:
    """The container environment that a folder makes on a base.

    Raises:
        EnvironmentSpecError: the folder has no lock for the base's Python, or one without hashes.
    """
    made = _of_folder(folder, base.python, reference)
    lock_sha256 = from_folder(made).lock_sha256
    return replace(
        made,
        identity=image_identity(folder, lock_sha256, base, dockerfile_sha256),
        executor="docker",
        base=base,
    )


def _of_folder(folder: EnvironmentFolder, python: str, reference: str) -> Environment:
    """What a folder says whatever it is made into; its identity is still to be given."""
    lock_path = folder.lock_path(python)
    file = folder.file
    return Environment(
        name=folder.name,
        stack=file.stack,
        version=file.version,
        accelerator=file.accelerator,
        backends=tuple(file.backends),
        converters=file.converters,
        formats=dict(file.backends),
        python=python,
        identity="",
        lock_path=lock_path,
        lock_sha256=lock_hash(lock_path),
        folder=folder,
        reference=reference or folder.name,
        instruction_sets=file.instruction_sets,
        preparing=Preparing(file.preprocessors, file.corruptions),
    )


def identity_of(folder: EnvironmentFolder, lock_sha256: str, python: str) -> str:
    """The hash of what a virtual environment holds; name, description and place have no part.

    What an image gets from Debian packages, a virtual environment takes from this machine: its
    compilers count where an environment names such packages.
    """
    file = folder.file
    taken = {"compilers": compilers()} if file.system_packages else {}
    return key_of(
        {
            **taken,
            "schema_version": 1,
            "stack": file.stack,
            "version": file.version,
            "accelerator": file.accelerator,
            "system_packages": sorted(file.system_packages),
            "lock_sha256": lock_sha256,
            "python": python,
            "system": platform.system(),
            "machine": platform.machine(),
        }
    )


@cache
def compilers() -> dict[str, str]:
    """The C and C++ compilers of this machine, each in its own words; an absent one is left out."""
    found = {}
    for name in ("cc", "c++"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(
                [name, "--version"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_ASK_SECONDS,
                check=True,
            ).stdout
            found[name] = said.partition("\n")[0].strip()
    return found


def image_identity(
    folder: EnvironmentFolder, lock_sha256: str, base: Base, dockerfile_sha256: str
) -> str:
    """The hash of what an environment image is made of; never of the image that came out."""
    file = folder.file
    return key_of(
        {
            "schema_version": 1,
            "stack": file.stack,
            "version": file.version,
            "accelerator": file.accelerator,
            "system_packages": sorted(file.system_packages),
            "lock_sha256": lock_sha256,
            "dockerfile_sha256": dockerfile_sha256,
            "base": base.digest,
            "python": base.python,
            "system": "Linux",
            "machine": base.machine,
        }
    )
