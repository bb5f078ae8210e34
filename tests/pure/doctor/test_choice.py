"""What `auto` takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.containers.engine import Engine, EngineInfo
from harness.doctor.choice import choose_executor, engine_name, is_local
from harness.errors import EngineError

SOCKET = "unix:///var/run/docker.sock"


class Connecting:
    """Gives an engine at an address, or none; knows whether it was asked and closed."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.asked = self.closed = 0

    def __call__(self) -> Engine:
        self.asked += 1
        if self.address is None:
            raise EngineError("No container engine answers (nothing here).", "Install Docker.")
        client: Any = SimpleNamespace(close=self._close)
        info = EngineInfo(kind="docker", version="28.2.2", api_version="1.50", address=self.address)
        return Engine(client, info)

    def _close(self) -> None:
        self.closed += 1


def test_auto_takes_containers_where_an_engine_answers() -> None:
    choice = choose_executor("auto", Connecting(SOCKET))
    assert (choice.executor, choice.reason) == ("docker", f"Docker 28.2.2 answers at {SOCKET}")
    assert choice.engine is not None


def test_auto_takes_virtual_environments_where_none_does() -> None:
    choice = choose_executor("auto", Connecting(None))
    assert choice.executor == "venv"
    assert choice.reason == "No container engine answers (nothing here)"
    assert choice.engine is None


def test_auto_leaves_an_engine_on_another_machine_alone() -> None:
    connecting = Connecting("ssh://build.example")
    choice = choose_executor("auto", connecting)
    assert (choice.executor, choice.engine, connecting.closed) == ("venv", None, 1)
    assert "ssh://build.example is on another machine" in choice.reason


def test_docker_asked_for_without_an_engine_is_refused() -> None:
    with pytest.raises(EngineError, match="No container engine answers"):
        choose_executor("docker", Connecting(None))


def test_docker_asked_for_takes_any_engine() -> None:
    choice = choose_executor("docker", Connecting("tcp://build.example:2376"))
    assert (choice.executor, choice.reason) == ("docker", "asked for")


def test_venv_asked_for_asks_no_engine() -> None:
    connecting = Connecting(SOCKET)
    assert choose_executor("venv", connecting).executor == "venv"
    assert connecting.asked == 0


@pytest.mark.parametrize(
    ("address", "local"),
    [
        (SOCKET, True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://localhost:2375", True),
        ("tcp://10.0.0.7:2375", False),
        ("ssh://me@build", False),
    ],
)
def test_where_an_engine_is(address: str, local: bool) -> None:
    info = EngineInfo(kind="podman", version="4.3.1", api_version="1.41", address=address)
    assert is_local(info) is local
    assert engine_name(info) == "Podman 4.3.1"
