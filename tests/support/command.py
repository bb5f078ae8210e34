"""Running the `harness` command as a person does, and what that gave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Harness = Callable[..., Done]


def harness_in(folder: Path, surroundings: Mapping[str, str]) -> Harness:
    """`harness ARGUMENTS…` in a folder, with these environment variables."""

    def run(*arguments: object, cwd: Path = folder, env: Mapping[str, str] | None = None) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli.main", *map(str, arguments)],
            cwd=cwd,
            env={**surroundings, **(env or {})},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run
