"""Compose, as the machine has it or as `.ci/compose-plugins` fetches it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PROJECT = "harness-test-compose"
VOLUMES = ("DATA", "MODELS", "JOBS", "RESULTS", "CACHE")
Compose = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def plugins() -> Mapping[str, str]:
    """Variables with which `docker compose` is there; skipped where it is not (in CI: fails)."""
    if _answers(os.environ):
        return os.environ
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    fetched = {**os.environ, "DOCKER_CONFIG": str(cached / "harness-docker-plugins")}
    if _answers(fetched):
        return fetched
    if not os.environ.get("CI"):
        pytest.skip("there is no Docker Compose v2 here; `.ci/compose-plugins` fetches one")
    done = subprocess.run(
        [REPOSITORY / ".ci" / "compose-plugins"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"Docker Compose v2 could not be fetched: {done.stderr.strip()}")
    return {**os.environ, "DOCKER_CONFIG": done.stdout.strip()}


@pytest.fixture(scope="session")
def compose(plugins: Mapping[str, str]) -> Iterator[Compose]:
    """`docker compose -f FILE… ARGUMENTS…` with variables, as a person runs it.

    The project and its volumes have names of their own, so that nothing of the person's is touched.
    """
    names = {f"HARNESS_{name}_VOLUME": f"{PROJECT}-{name.lower()}" for name in VOLUMES}

    def run(
        *arguments: str,
        files: tuple[str, ...] = ("cpu.yaml",),
        timeout: int = 300,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        chosen = [part for file in files for part in ("-f", f"compose/{file}")]
        own = {key: value for key, value in plugins.items() if not key.startswith("HARNESS_")}
        return subprocess.run(
            ["docker", "compose", "--project-name", PROJECT, *chosen, *arguments],
            cwd=REPOSITORY,
            env={**own, **names, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    yield run
    run("down", "--volumes", "--remove-orphans")


def _answers(environment: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            ["docker", "compose", "version"],
            env=dict(environment),
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0
