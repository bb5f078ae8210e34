"""A named volume of a real engine as a local folder, both ways."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil
import pytest
from support.containers import named

from harness.containers import volumes
from harness.containers.engine import Engine
from harness.containers.strays import here, is_stray
from harness.containers.volumes import open_volume
from harness.errors import DatasetError
from harness.progress import SilentProgress


@pytest.fixture
def volume(engine: Engine, image: str) -> Iterator[str]:
    api = engine.client.api
    name = f"harness-test-{uuid.uuid4().hex}"
    api.create_volume(name)
    try:
        fill(engine, image, name)
        yield name
    finally:
        api.remove_volume(name)


def fill(engine: Engine, image: str, name: str) -> None:
    """Put two files into a volume."""
    api = engine.client.api
    script = "mkdir -p /v/val/n01 && echo one >/v/val/n01/a.jpg && echo two >/v/b.jpg"
    host = api.create_host_config(binds=[f"{name}:/v"], network_mode="none")
    container = api.create_container(image, ["sh", "-c", script], host_config=host)
    try:
        api.start(container)
        assert api.wait(container)["StatusCode"] == 0
    finally:
        api.remove_container(container, force=True)


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def no_image() -> str:
    pytest.fail("no image is needed, and getting one may take minutes")


def test_a_volume_that_can_be_read_here_is_read_here(engine: Engine, volume: str) -> None:
    with open_volume(engine, volume, no_image, SilentProgress()) as folder:
        assert files(folder) == {"val/n01/a.jpg": "one\n", "b.jpg": "two\n"}
    with open_volume(engine, f"{volume}/val", no_image, SilentProgress()) as folder:
        assert files(folder) == {"n01/a.jpg": "one\n"}


def test_else_it_is_copied_out_by_a_container_that_never_runs(
    engine: Engine, image: str, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(mountpoint: str, folder: PurePosixPath) -> None:
        return None

    monkeypatch.setattr(volumes, "readable_folder", unreadable)
    with open_volume(engine, f"{volume}/val", lambda: image, SilentProgress()) as folder:
        assert files(folder) == {"n01/a.jpg": "one\n"}
        assert named(engine, f"volume {volume}") == []
    assert not folder.exists()
    with open_volume(engine, volume, lambda: image, SilentProgress()) as folder:
        assert files(folder) == {"val/n01/a.jpg": "one\n", "b.jpg": "two\n"}
    with (
        pytest.raises(DatasetError, match="no folder 'train'"),
        open_volume(engine, f"{volume}/train", lambda: image, SilentProgress()),
    ):
        pass
    assert named(engine, f"volume {volume}") == []


def test_a_copy_that_is_killed_leaves_a_container_that_is_known_as_a_stray(
    engine: Engine, image: str, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[dict[str, str]] = []

    def look(stream: object, target: Path) -> None:
        (number,) = named(engine, f"volume {volume}")
        labels.append(engine.client.api.inspect_container(number)["Config"]["Labels"])

    monkeypatch.setattr(volumes, "readable_folder", lambda *_: None)
    monkeypatch.setattr(volumes, "unpack", look)
    with open_volume(engine, volume, lambda: image, SilentProgress()):
        pass
    (found,) = labels
    assert not is_stray(found, here(), {os.getpid(): psutil.Process().create_time()}, frozenset())
    assert is_stray(found, here(), {}, frozenset())


def test_a_volume_that_is_not_there_is_bad_input(engine: Engine) -> None:
    with (
        pytest.raises(DatasetError, match="There is no volume 'nowhere-at-all'"),
        open_volume(engine, "nowhere-at-all", no_image, SilentProgress()),
    ):
        pass
