"""Environments that tests run in: what may be missing from a machine, and what is a fault."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from harness.errors import HarnessError

_MISSING = ("cannot be reached", "uv could not bring one")
"""What a machine may lack: the package index, or a Python that a lock is for."""


def cannot_install(name: str, error: HarnessError) -> NoReturn:
    """Skip where this machine lacks what an environment is made from; else fail.

    A lock that cannot be installed or a backend that does not start is a fault, and must not turn
    its own tests green. In CI nothing is skipped.
    """
    said = str(error)
    if not os.environ.get("CI") and any(words in said for words in _MISSING):
        pytest.skip(f"{name} can't be installed here: {error}")
    raise error
