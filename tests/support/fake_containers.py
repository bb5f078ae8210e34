"""An engine that only knows one container, and how engines differ over one that is paused."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import docker.errors
import requests

from harness.containers.engine import EngineInfo

NUMBER = 64 * "c"


def refusal(status: int, words: str) -> docker.errors.APIError:
    """An engine's answer that is no success."""
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError(words, response=response, explanation=words)


class FakeContainers:
    """Used as an `Engine`; keeps one container and what it was asked for.

    Attributes:
        status: how the container stands, in the engine's words.
        asked: the calls that change something, in order.
    """

    def __init__(
        self,
        *,
        kind: str = "docker",
        kills_paused: bool = True,
        unpauses_killed: bool = True,
        removes_paused: bool = True,
        counts_paused_as_running: bool = True,
        freezer: bool = True,
        peak: int | None = None,
        pid: int = 1 << 30,
    ) -> None:
        self.info = EngineInfo(kind, "1", "1.41", "unix:///fake.sock")  # type: ignore[arg-type]
        images = SimpleNamespace(get=lambda _: SimpleNamespace(attrs={"Config": {}}))
        containers = SimpleNamespace(create=lambda **_: SimpleNamespace(id=NUMBER))
        self.client = SimpleNamespace(api=self, images=images, containers=containers)
        self.status = "created"
        self.asked: list[str] = []
        self._kills_paused, self._unpauses_killed = kills_paused, unpauses_killed
        self._removes_paused, self._counts = removes_paused, counts_paused_as_running
        self._freezer, self._peak, self._pid = freezer, peak, pid
        self._signalled = False
        self._inside: socket.socket | None = None

    def attach_socket(self, number: str, params: dict[str, int]) -> socket.socket:
        """The streams; what is inside says nothing."""
        assert number == NUMBER
        assert params["stream"]
        outside, self._inside = socket.socketpair()
        return outside

    def start(self, number: str) -> None:
        """Let it run."""
        assert number == NUMBER
        self.status = "running"

    def inspect_container(self, number: str) -> dict[str, Any]:
        """How it stands."""
        self._look(number)
        running = self.status == "running" or (self.status == "paused" and self._counts)
        return {
            "State": {
                "Status": self.status,
                "Running": running,
                "Paused": self.status == "paused",
                "ExitCode": 137 if self.status == "exited" else 0,
                "Pid": self._pid if self.status in {"running", "paused"} else 0,
            },
            "Mounts": [],
        }

    def pause(self, number: str) -> None:
        """Freeze it."""
        self._look(number)
        self.asked.append("pause")
        if not self._freezer:
            raise refusal(500, "cgroup freezer is not mounted")
        if self.status != "running":
            raise refusal(409, f"container is {self.status}")
        self.status = "paused"

    def unpause(self, number: str) -> None:
        """Let it go on; what was killed ends then."""
        self._look(number)
        self.asked.append("unpause")
        if self.status != "paused":
            raise refusal(409, f"container is {self.status}")
        self.status = "running"
        if self._signalled:
            self.end()

    def kill(self, number: str) -> None:
        """Signal it."""
        self._look(number)
        self.asked.append("kill")
        if self.status == "paused" and not self._kills_paused:
            raise refusal(500, "container is paused. Unpause the container before stopping")
        if self.status not in {"running", "paused"}:
            raise refusal(409, "container is not running")
        self._signalled = True
        if self.status == "running" or self._unpauses_killed:
            self.end()

    def end(self) -> None:
        """It ends."""
        self.status = "exited"
        if self._inside is not None:
            self._inside.close()

    def remove_container(self, number: str, *, v: bool, force: bool) -> None:
        """Remove it."""
        self._look(number)
        assert v
        assert force
        self.asked.append("remove")
        if self.status == "paused" and not self._removes_paused:
            raise refusal(500, "cannot remove - container is paused")
        self.end()
        self.status = "gone"

    def stats(self, number: str, *, stream: bool, one_shot: bool) -> dict[str, Any]:
        """Its memory, where the engine says a peak."""
        self._look(number)
        assert one_shot
        assert not stream
        return {"memory_stats": {} if self._peak is None else {"max_usage": self._peak}}

    def _look(self, number: str) -> None:
        assert number == NUMBER
        if self.status == "gone":
            raise docker.errors.NotFound("no such container")
