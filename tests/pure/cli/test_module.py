"""`python -m harness` is the command, with its exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "status", "said"), [(["--help"], 0, "sweep"), (["nonsense"], 2, "nonsense")]
)
def test_the_package_runs_as_the_command_does(arguments: list[str], status: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert said in done.stdout + done.stderr
