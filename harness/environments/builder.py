"""Finds a program on this machine that builds images with BuildKit, and runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.containers.engine import Engine
from harness.environments.uv import redact
from harness.errors import ProvisionError
from harness.progress import Task

_ANSWER_SECONDS = 30
_BUILDX_FROM = 23
"""From this major version on, Docker's client builds with BuildKit only through buildx."""
_PLAIN = ("--progress", "plain")
_TAIL_LINES = 12
_STEP = re.compile(r"#\d+ \[(?P<step>.+)")
_found: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {}
"""The command and its words, by the engine's address and PATH."""
_NOISE = re.compile(r"^#\d+ (?:\d+\.\d+ )?")


@dataclass(frozen=True)
class Builder:
    """A command that builds images, up to its options."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(hash=False)
    words: str
    """What it is, for records: `docker 20.10.24 with BuildKit`."""


def can_build(engine: Engine) -> str:
    """What builds images for an engine here, in words: `docker 20.10.24 with BuildKit`.

    Raises:
        ProvisionError: nothing does; with what was found and what to install.
    """
    return find_builder(engine).words


def find_builder(engine: Engine) -> Builder:
    """The first program on PATH that can build for an engine.

    Programs are asked once in the life of this process; what was not found is looked for again.

    Raises:
        ProvisionError: none can; with what was found.
    """
    environment = {**os.environ, "DOCKER_HOST": engine.info.address}
    environment.pop("DOCKER_CONTEXT", None)
    environment.pop("BUILDX_BUILDER", None)
    if engine.info.kind == "podman":
        podman = shutil.which("podman")
        if podman is None:
            raise ProvisionError(
                "The engine is Podman, but its program `podman`, which builds images, is not here.",
                "Install podman on this machine, or do without containers: --executor venv.",
            )
        words = f"podman {engine.info.version}"
        return Builder((podman, "build", "--format", "docker"), environment, words)
    asked = (engine.info.address, os.environ.get("PATH", os.defpath))
    if asked not in _found:
        _found[asked] = _docker(environment)
    command, words = _found[asked]
    if "buildx" not in command:
        environment["DOCKER_BUILDKIT"] = "1"
    return Builder(command, environment, words)


def _docker(environment: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """The first of Docker's programs that builds with BuildKit: its command, and what it is."""
    tried = []
    for docker in programs("docker"):
        version = _answer([str(docker), "version", "--format", "{{.Client.Version}}"], environment)
        major = int(found[0]) if (found := re.match(r"\d+", version)) else 0
        if 0 < major < _BUILDX_FROM:
            return (str(docker), "build", *_PLAIN), f"docker {version} with BuildKit"
        if buildx := _answer([str(docker), "buildx", "version"], environment):
            return (
                (str(docker), "buildx", "build", "--builder", "default", "--load", *_PLAIN),
                f"docker {version}, {' '.join(buildx.split()[:2])}",
            )
        tried.append(f"{docker} is {version or 'of no known version'} and has no buildx")
    raise ProvisionError(
        "No program here builds images with BuildKit "
        f"({'; '.join(tried) or 'there is no docker on PATH'}).",
        "Install Docker's plug-in buildx (package docker-buildx or docker-buildx-plugin), or do "
        "without containers: --executor venv.",
    )


def programs(name: str, path: str | None = None) -> Iterator[Path]:
    """Every program of a name on PATH, in its order; each file once."""
    seen: set[Path] = set()
    places = os.environ.get("PATH", os.defpath) if path is None else path
    for place in places.split(os.pathsep):
        found = shutil.which(name, path=place) if place else None
        if found is not None and (real := Path(found).resolve()) not in seen:
            seen.add(real)
            yield Path(found)


def run_builder(builder: Builder, arguments: Sequence[str], name: str, task: Task) -> None:
    """Build an image; the builder's steps are shown on `task`.

    Raises:
        ProvisionError: it failed, with its last lines; a full disk is named.
    """
    try:
        process = subprocess.Popen(
            [*builder.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=dict(builder.environment),
        )
    except OSError as error:
        raise ProvisionError(
            f"{builder.command[0]}, which builds images, cannot be started: {error.strerror}."
        ) from error
    said: list[str] = []
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for above
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if match := _STEP.match(line):
                task.describe(f"Building {name}: [{match['step'].strip()[:60]}")
        status = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if status != 0:
        raise build_failure(name, said, status)


def build_failure(name: str, said: Sequence[str], status: int) -> ProvisionError:
    """The error of a build that failed, from what the builder said."""
    text = redact("\n".join(said))
    if re.search(r"no space left on device|disk quota exceeded", text, re.IGNORECASE):
        return ProvisionError(
            f"The image of {name} cannot be built: no space is left on the engine's disk.",
            "Free some: `docker system df` says what is there, `harness env remove NAME` removes "
            "an environment, `docker builder prune` the builder's cache.",
        )
    if re.search(r"cannot connect to the docker daemon|error during connect", text, re.IGNORECASE):
        return ProvisionError(
            f"The image of {name} cannot be built: the container engine went away.",
            "See whether it still runs (`docker info`), then start the same command again.",
        )
    # The builder repeats the Dockerfile under its complaint; the step's own words come before it.
    lines = [_NOISE.sub("", line).rstrip() for line in text.splitlines()]
    end = next((i for i, line in enumerate(lines) if line.startswith("------")), len(lines))
    kept = [
        line for line in lines[:end] if line and not re.match(r"^(?:CACHED|DONE|sha256:)", line)
    ]
    tail = "\n".join(f"  {line}" for line in kept[-_TAIL_LINES:])
    return ProvisionError(
        f"The image of {name} cannot be built (exit status {status}). The builder's last lines:\n"
        f"{tail}"
    )


def _answer(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a program prints; nothing where it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=dict(environment),
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
