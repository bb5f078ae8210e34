"""The base image and built environments, for tests of the full ring; shared with the user's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.containers.engine import Engine
from harness.environments.base import ensure_base
from harness.environments.environment import Base
from harness.environments.interpreters import running
from harness.environments.provide import provide
from harness.environments.provision import Provisioned
from harness.environments.registry import resolve
from harness.progress import SilentProgress


@pytest.fixture(scope="session")
def base(engine: Engine) -> Base:
    """The base image for the running Python (or 3.11), got where it is not there."""
    return ensure_base(engine, tuple(dict.fromkeys((running().minor, "3.11"))), SilentProgress())


@pytest.fixture(scope="session")
def built(engine: Engine, base: Base) -> Callable[[str], Provisioned]:
    """Gives a named environment as an image, built where it is not there."""

    def give(name: str) -> Provisioned:
        env = resolve(name, base.python, executor="docker", engine=engine)
        return provide(env, SilentProgress(), engine)

    return give
