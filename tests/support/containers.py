"""What tests of real containers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import docker.errors

from harness.containers.engine import Engine
from harness.execution.container_worker import ContainerWorker

TAG = "harness-test/base:bookworm"
PYTHON = "/usr/bin/python3"
COUNT = 6
TIMEOUT_S = 240.0
"""Never waited for when all is well; a slow machine must not fail a test."""

Open = Callable[..., ContainerWorker]


def ignore(_: object) -> None:
    """Nobody listens to other events."""


def exists(engine: Engine, number: str) -> bool:
    """Whether the engine still knows a container."""
    try:
        engine.client.api.inspect_container(number)
    except docker.errors.NotFound:
        return False
    return True


@contextmanager
def nothing_new(engine: Engine, name: str) -> Iterator[None]:
    """Fail if containers for `name` are left at the end, in whatever state."""
    yield
    assert named(engine, name) == []


def named(engine: Engine, name: str) -> list[str]:
    """The ids of the containers that are there for `name`."""
    filters = {"label": f"io.harness.name={name}"}
    found = engine.client.api.containers(all=True, filters=filters)
    return [str(one["Id"]) for one in found]
