"""A container that is paused: killed, removed and told apart, however its engine sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from support.fake_containers import NUMBER, FakeContainers

from harness.containers.container import Container, remove_container
from harness.containers.engine import Engine
from harness.containers.group_files import peak_of_group
from harness.containers.rules import ContainerSpec
from harness.containers.running import start
from harness.errors import EngineError

ENGINES: dict[str, dict[str, Any]] = {
    "Docker today": {},
    "an older Docker": {"kills_paused": False, "removes_paused": False},
    "Podman": {
        "kind": "podman",
        "unpauses_killed": False,
        "counts_paused_as_running": False,
    },
}


def started(engine: FakeContainers, tmp_path: Path) -> Container:
    return start(cast("Engine", engine), ContainerSpec("i", ("true",), "it"), tmp_path / "log")


@pytest.mark.parametrize("name", ENGINES)
def test_a_paused_container_has_not_ended_and_goes_on(name: str, tmp_path: Path) -> None:
    engine = FakeContainers(**ENGINES[name])
    container = started(engine, tmp_path)
    container.pause()
    assert (container.state().running, container.state().paused) == (True, True)
    assert container.wait(0.01) is None
    container.unpause()
    assert (container.state().running, container.state().paused) == (True, False)
    container.remove()


@pytest.mark.parametrize("name", ENGINES)
def test_a_paused_container_is_killed(name: str, tmp_path: Path) -> None:
    engine = FakeContainers(**ENGINES[name])
    container = started(engine, tmp_path)
    container.pause()
    assert container.kill().status == 137
    # It must not run again before it was killed, where the engine can do that.
    assert engine.asked[:2] == ["pause", "kill"]
    container.remove()


@pytest.mark.parametrize("name", ENGINES)
def test_a_paused_container_is_removed_without_being_killed_first(
    name: str, tmp_path: Path
) -> None:
    engine = FakeContainers(**ENGINES[name])
    container = started(engine, tmp_path)
    container.pause()
    remove_container(cast("Engine", engine), NUMBER)
    assert engine.status == "gone"
    container.close()


def test_pausing_is_asked_twice_or_of_one_that_ended_without_harm(tmp_path: Path) -> None:
    engine = FakeContainers()
    container = started(engine, tmp_path)
    container.unpause()
    container.pause()
    container.pause()
    assert container.state().paused
    container.unpause()
    engine.end()
    container.pause()
    assert not container.state().running
    container.remove()


def test_an_engine_that_cannot_pause_says_so(tmp_path: Path) -> None:
    container = started(FakeContainers(freezer=False), tmp_path)
    with pytest.raises(EngineError, match="Pausing the container of it failed: cgroup freezer"):
        container.pause()
    assert container.state().running
    container.remove()


def test_dockers_own_peak_is_taken_where_no_file_says_it_and_podmans_is_not(
    tmp_path: Path,
) -> None:
    docker = started(FakeContainers(peak=5 << 20), tmp_path)
    assert docker.peak_bytes() == 5 << 20
    docker.remove()
    podman = started(FakeContainers(kind="podman", peak=5 << 20), tmp_path)
    assert podman.peak_bytes() is None
    podman.remove()
    neither = FakeContainers()
    container = started(neither, tmp_path)
    assert container.peak_bytes() is None
    neither.end()
    assert container.peak_bytes() is None
    container.remove()


@pytest.mark.parametrize(
    ("groups", "file", "found"),
    [
        pytest.param(f"0::/docker/{NUMBER}", f"docker/{NUMBER}/memory.peak", 7, id="version 2"),
        pytest.param(
            f"0::/system.slice/docker-{NUMBER}.scope",
            f"system.slice/docker-{NUMBER}.scope/memory.peak",
            7,
            id="version 2 under systemd",
        ),
        pytest.param(
            f"0::/machine.slice/libpod-{NUMBER}.scope/container",
            f"machine.slice/libpod-{NUMBER}.scope/memory.peak",
            7,
            id="a group inside of the container's",
        ),
        pytest.param(
            f"5:cpu,cpuacct:/docker/{NUMBER}\n4:memory:/docker/{NUMBER}\n0::/docker/{NUMBER}",
            f"memory/docker/{NUMBER}/memory.max_usage_in_bytes",
            7,
            id="version 1",
        ),
        pytest.param("0::/user.slice", "user.slice/memory.peak", None, id="another's process"),
        pytest.param(
            f"0::/../../docker/{NUMBER}", f"docker/{NUMBER}/memory.peak", None, id="out of sight"
        ),
        pytest.param(f"0::/docker/{NUMBER}", f"docker/{NUMBER}/x", None, id="an older kernel"),
        pytest.param("", f"docker/{NUMBER}/memory.peak", None, id="no such process"),
    ],
)
def test_the_peak_is_read_from_the_containers_own_group(
    groups: str, file: str, found: int | None, tmp_path: Path
) -> None:
    process = tmp_path / "proc" / "12"
    process.mkdir(parents=True)
    (process / "cgroup").write_text(f"{groups}\n")
    path = tmp_path / "sys/fs/cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text("7\n")
    assert peak_of_group(12, NUMBER, tmp_path) == found
