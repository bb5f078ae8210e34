"""Running the `harness` command as a person does, with caches that the session's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command import Harness, harness_in


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables: caches of this session's own; uv's downloads are the user's."""
    home = tmp_path_factory.mktemp("harness")
    return {
        **os.environ,
        "HARNESS_CACHE": str(home / "cache"),
        "HARNESS_HOME": str(home / "data"),
        # This ring needs no container engine, and must not change with one.
        "HARNESS_EXECUTOR": "venv",
        "COLUMNS": "160",
    }


@pytest.fixture
def harness(surroundings: dict[str, str], tmp_path: Path) -> Harness:
    """`harness ARGUMENTS…` in a folder of the test's own."""

    return harness_in(tmp_path, surroundings)
