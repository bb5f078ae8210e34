"""Environments of a test's own, built from the wheels and the base that the user has already."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.containers.engine import Engine
from harness.environments.environment import Base, Environment
from harness.environments.image_records import remove_images
from harness.environments.registry import find, resolve

NAME = "harness-test-b"
"""Tests remove images of this name; no person's environment is called so."""


@pytest.fixture
def own(engine: Engine, base: Base, tmp_path: Path) -> Iterator[Callable[..., Environment]]:
    """Makes an environment of the test's own from onnxruntime-1.31; its images go in the end."""
    names: list[str] = []

    def make(suffix: str = "1.0", edit: Callable[[Path], None] | None = None) -> Environment:
        folder = tmp_path / "images" / f"{NAME}-{suffix}"
        shutil.copytree(find("onnxruntime-1.31").path, folder)
        if edit is not None:
            edit(folder)
        names.append(folder.name)
        return resolve(str(folder), base.python, executor="docker", engine=engine)

    yield make
    for name in names:
        remove_images(name, engine)
