"""Running the `harness` command as a person does, with caches that the session's tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import Done, Harness


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables: caches of this session's own; uv's downloads are the user's."""
    home = tmp_path_factory.mktemp("harness")
    return {
        **os.environ,
        "HARNESS_CACHE": str(home / "cache"),
        "HARNESS_HOME": str(home / "data"),
        "COLUMNS": "160",
    }


@pytest.fixture
def harness(surroundings: dict[str, str], tmp_path: Path) -> Harness:
    """`harness ARGUMENTS…` in a folder of the test's own."""

    def run(*arguments: object, cwd: Path = tmp_path, env: dict[str, str] | None = None) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli.main", *map(str, arguments)],
            cwd=cwd,
            env={**surroundings, **(env or {})},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run
