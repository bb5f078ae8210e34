"""Starting, ending and removing containers of a real engine; and what is said when it goes away."""

from __future__ import annotations

import contextlib
import gc
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from support.containers import PYTHON, TIMEOUT_S, Open, exists, ignore, named

from harness.containers.engine import Engine
from harness.containers.rules import ContainerSpec, Mount
from harness.containers.running import run_to_end, start
from harness.errors import EngineError, ExecutionError


def test_output_log_and_status_come_back_and_the_container_is_gone(
    engine: Engine, image: str, name: str
) -> None:
    code = (
        "import os, sys; os.write(1, bytes(range(256))); print('log', file=sys.stderr); sys.exit(3)"
    )
    finished = run_to_end(engine, ContainerSpec(image, (PYTHON, "-c", code), name), TIMEOUT_S)
    assert (finished.status, finished.oom_killed, finished.timed_out) == (3, False, False)
    assert finished.stdout == bytes(range(256))
    assert finished.log == "log\n"
    assert named(engine, name) == []


def test_a_container_that_takes_too_long_is_killed_and_gone(
    engine: Engine, image: str, name: str
) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(3600)"
    finished = run_to_end(engine, ContainerSpec(image, (PYTHON, "-c", code), name), 3)
    assert finished.timed_out
    assert finished.status == 137
    assert named(engine, name) == []


def test_a_container_that_closes_its_streams_and_runs_on_is_killed_too(
    engine: Engine, image: str, name: str
) -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(3600)"
    finished = run_to_end(engine, ContainerSpec(image, (PYTHON, "-c", code), name), 3)
    assert finished.timed_out
    assert named(engine, name) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mounts": (Mount("/nowhere/at/all", "/inputs/x"),)}, "/nowhere/at/all"),
        ({"cores": (4095,)}, "4095"),
        ({"image": "sha256:" + 64 * "0"}, "not there any more"),
    ],
)
def test_a_start_that_fails_leaves_nothing(
    change: dict[str, Any], said: str, engine: Engine, image: str, name: str, tmp_path: Path
) -> None:
    spec = ContainerSpec(image, ("true",), name)
    with pytest.raises(EngineError, match=said):
        start(engine, replace(spec, **change), tmp_path / "log")
    assert named(engine, name) == []


@pytest.mark.parametrize("place", ["mount", "output"])
def test_what_is_reached_by_a_link_is_not_mounted(
    place: str, engine: Engine, image: str, name: str, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to("/etc")
    spec = ContainerSpec(image, ("true",), name)
    shown = {"mount": {"mounts": (Mount(str(link), "/inputs/x"),)}, "output": {"output": link}}
    owner = Path("/etc").stat().st_uid
    with pytest.raises(EngineError, match=f"{link}, which .*, is a link"):
        start(engine, replace(spec, **shown[place]), tmp_path / "log")
    assert Path("/etc").stat().st_uid == owner
    assert named(engine, name) == []


def test_a_container_that_was_created_and_cannot_be_started_is_removed(
    engine: Engine, image: str, name: str, tmp_path: Path
) -> None:
    """A mount under a file of the image is found out only at the start."""
    spec = ContainerSpec(
        image, ("true",), name, mounts=(Mount(str(tmp_path), "/etc/passwd/inside"),)
    )
    with pytest.raises(EngineError, match=f"Starting a container of {name} failed"):
        start(engine, spec, tmp_path / "log")
    assert named(engine, name) == []


def test_a_gpu_that_cannot_be_given_is_refused_before_anything_starts(
    engine: Engine, image: str, name: str, tmp_path: Path
) -> None:
    info = replace(engine.info, kind="docker", runtimes=("runc",), cdi_spec_dirs=(), cdi_devices=())
    without = Engine(engine.client, info)
    spec = ContainerSpec(image, ("true",), name, gpu="0")
    with pytest.raises(EngineError, match="GPU 0 cannot be given") as caught:
        start(without, spec, tmp_path / "log")
    assert "nvidia-ctk" in caught.value.remedy
    assert named(engine, name) == []


class Relay:
    """An engine's socket between client and engine, which can go away."""

    def __init__(self, engine_socket: str, path: str) -> None:
        self._target = engine_socket
        self._clients: list[socket.socket] = []
        self._servers: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                self._clients.append(client)
                self._servers.append(server)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        if sink in self._clients:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """The engine is gone for the client; its containers do not notice yet."""
        self._break(self._listener, *self._clients)

    def let_go(self) -> None:
        """The engine notices that the client is gone."""
        self._break(*self._servers)

    def _break(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def relayed(engine: Engine) -> Iterator[tuple[Engine, Relay]]:
    address = engine.info.address.removeprefix("unix://")
    if not Path(address).exists():
        pytest.skip(f"the engine listens at {address}, which is no socket of this machine")
    with tempfile.TemporaryDirectory(prefix="h-") as folder:
        relay = Relay(address, f"{folder}/s")
        client = docker.DockerClient(base_url=f"unix://{folder}/s", version="auto")
        yield Engine(client, engine.info), relay
        relay.vanish()
        relay.let_go()
        client.close()
        gc.collect()


# The SDK does not close a socket that it could not connect.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_an_engine_that_goes_away_in_the_middle_is_named(
    engine: Engine,
    relayed: tuple[Engine, Relay],
    open_worker: Open,
    null_job: Callable[..., dict[str, Any]],
) -> None:
    through, relay = relayed
    worker = open_worker(null_job(fault="hang", fault_after=1), engine=through)
    worker.event("loaded", TIMEOUT_S, ignore)
    threading.Timer(1.0, relay.vanish).start()
    with pytest.raises(ExecutionError) as caught:
        worker.command({"command": "answers"}, TIMEOUT_S, ignore)
    assert caught.value.kind == "engine"
    assert "docker info" in caught.value.remedy
    assert "failed" in worker.left_behind
    # It outlives its engine, until its lifeline tells it that nobody holds its standard input.
    assert engine.client.api.inspect_container(worker.id)["State"]["Running"]
    relay.let_go()
    assert engine.client.api.wait(worker.id)["StatusCode"] == 130
    engine.client.api.remove_container(worker.id, v=True, force=True)
    assert not exists(engine, worker.id)
