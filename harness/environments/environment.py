"""An environment resolved for this machine: which lock, which Python, and its identity."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.canonical import key_of
from harness.environments.folders import EnvironmentFolder, lock_hash
from harness.environments.interpreters import Interpreter


@dataclass(frozen=True)
class Environment:
    """A pinned software stack, as it is or will be installed on this machine."""

    name: str
    stack: str
    version: str
    accelerator: str
    backends: tuple[str, ...]
    converters: tuple[str, ...]
    formats: Mapping[str, tuple[str, ...]] = field(hash=False)
    """The model formats that each backend reads."""
    python: str
    """X.Y.Z of the interpreter it is made from."""
    interpreter: Path
    lock_path: Path
    lock_sha256: str
    identity: str
    """SHA-256 (hex) of what is in it: lock, Python, platform. Known before it is installed."""
    folder: EnvironmentFolder


def environment_of(folder: EnvironmentFolder, interpreter: Interpreter) -> Environment:
    """The environment that a folder makes with an interpreter.

    Raises:
        EnvironmentSpecError: the folder has no lock for that Python, or one without hashes.
    """
    lock_path = folder.lock_path(interpreter.minor)
    lock_sha256 = lock_hash(lock_path)
    file = folder.file
    return Environment(
        name=folder.name,
        stack=file.stack,
        version=file.version,
        accelerator=file.accelerator,
        backends=tuple(file.backends),
        converters=file.converters,
        formats=dict(file.backends),
        python=interpreter.version,
        interpreter=interpreter.path,
        lock_path=lock_path,
        lock_sha256=lock_sha256,
        identity=identity_of(folder, lock_sha256, interpreter.version),
        folder=folder,
    )


def identity_of(folder: EnvironmentFolder, lock_sha256: str, python: str) -> str:
    """The hash of what an environment holds; its name, description and place have no part."""
    file = folder.file
    return key_of(
        {
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
