"""Programs of the tests, run by the Python of a shipped environment."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

from .installed import cannot_install

_REPOSITORY = Path(__file__).resolve().parents[2]


@cache
def interpreter(environment: str) -> str:
    """The Python of a shipped environment, installed if it is not yet; skips where it can't be."""
    try:
        return str(provision(resolve(environment), SilentProgress()).python)
    except HarnessError as error:
        cannot_install(environment, error)


def run_inside(environment: str, program: Path, *arguments: object) -> str:
    """What a program writes on standard output; the runner can be imported there."""
    done = subprocess.run(
        [interpreter(environment), str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ, PYTHONPATH=str(_REPOSITORY), CUDA_VISIBLE_DEVICES="-1"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
