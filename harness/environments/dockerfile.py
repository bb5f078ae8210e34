"""The one Dockerfile that builds every environment image: where it is, and its hash."""

from __future__ import annotations

from pathlib import Path

from harness.canonical import sha256_file
from harness.errors import EnvironmentSpecError
from harness.paths import shipped


def path() -> Path:
    """Where it is."""
    return shipped("images") / "Dockerfile"


def sha256() -> str:
    """SHA-256 (hex) of its bytes: part of the identity of every image that it builds.

    Raises:
        EnvironmentSpecError: it is missing.
    """
    try:
        return sha256_file(path())
    except OSError as error:
        raise EnvironmentSpecError(
            f"{path()}, which environment images are built by, cannot be read: {error.strerror}.",
            "Install the harness again.",
        ) from error
