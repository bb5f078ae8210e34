"""Fixtures for the ring that needs a real container engine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.images import base, built

from harness.containers.engine import Engine, connect
from harness.errors import EngineError

__all__ = ["base", "built", "engine"]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine of this machine; the test is skipped where none answers."""
    try:
        connected = connect()
    except EngineError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error.message} (nothing is skipped in CI)")
        pytest.skip(error.message)
    yield connected
    connected.close()
