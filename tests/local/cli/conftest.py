"""Running the `harness` command as a person does, with caches that the session's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command import Harness, harness_in

from harness.paths import cache_dir


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables: caches of this session's own, but for what is installed."""
    home = tmp_path_factory.mktemp("harness")
    # What is installed is the user's too: the other tests of this ring run it.
    for name in ("locks", "venvs", "wheels"):
        (cache_dir() / name).mkdir(parents=True, exist_ok=True)
        (home / "cache").mkdir(exist_ok=True)
        (home / "cache" / name).symlink_to(cache_dir() / name)
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
