"""One container, attached to this process: waited for, killed until it is gone, removed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import docker
import docker.errors

from harness.containers.engine import Engine, engine_errors
from harness.containers.group_files import peak_of_group
from harness.containers.guard import Guard
from harness.containers.rules import VOLUME, ContainerSpec
from harness.containers.streams import BoundedLog, Streams
from harness.errors import EngineError

KILL_SECONDS = 60.0
"""How long a killed container may take to be gone."""
_POLL_S = (0.01, 0.5)


@dataclass(frozen=True)
class State:
    """How a container stands; `status` is its exit status, 128 + n after signal n.

    One that is paused is `running`: it has not ended.
    """

    running: bool
    status: int
    oom_killed: bool
    error: str = ""
    paused: bool = False


class Container:
    """A container, attached to this process from before its start.

    Its standard output is read from `stdout`, a file descriptor of a pipe that ends when the
    container does; its standard error goes to the log. If its standard input was asked for, it
    is open until `close` or `remove`, or until this process ends, however suddenly. A container
    that puts more into its writable folders than its limits allow is killed.

    Attributes:
        id: the engine's id of it.
        name: what it is for.
        stdout: file descriptor; -1 once it is closed.
        exceeded_bytes: what its writable folders held when it was killed for that; 0: it was not.
    """

    def __init__(self, engine: Engine, spec: ContainerSpec, number: str, log: BoundedLog) -> None:
        self.id = number
        self.name = spec.name
        self.exceeded_bytes = 0
        self._engine = engine
        self._guard: Guard | None = None
        attached = engine.client.api.attach_socket(
            number, params={"stdin": int(spec.stdin), "stdout": 1, "stderr": 1, "stream": 1}
        )
        self.stdout, writing = os.pipe2(os.O_CLOEXEC)

        def pass_on(data: bytes) -> None:
            # Where nobody reads any more, the log is still taken.
            with contextlib.suppress(BrokenPipeError):
                while data:
                    data = data[os.write(writing, data) :]

        def end() -> None:
            os.close(writing)
            log.close()

        self._streams: Streams | None = Streams(attached, pass_on, log.write, end)

    def guard(self, folders: Sequence[Path], most_bytes: int) -> None:
        """Kill it as soon as these folders hold more than they may."""
        with engine_errors(f"Asking for the process of the container of {self.name}"):
            state = self._engine.client.api.inspect_container(self.id)["State"]
        self._guard = Guard(folders, most_bytes, self._exceeded, int(state.get("Pid") or 0))

    def state(self) -> State:
        """How it stands, as the engine says.

        Raises:
            EngineError: the engine does not answer, or no longer knows the container.
        """
        with engine_errors(f"Asking for the state of the container of {self.name}"):
            found = self._engine.client.api.inspect_container(self.id)["State"]
        return read_state(found)

    def wait(self, timeout_s: float) -> State | None:
        """Wait until it has ended; None if it still runs after `timeout_s`.

        Raises:
            EngineError: the engine went away.
        """
        deadline = time.monotonic() + timeout_s
        pause, longest = _POLL_S
        while (state := self.state()).running:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            pause = min(pause, left)
            if self._streams is None or self._streams.ended.is_set():
                time.sleep(pause)
            else:
                self._streams.ended.wait(pause)
            pause = min(2 * pause, longest)
        return state

    def kill(self) -> State:
        """End it and all that runs in it at once, and wait until it is gone.

        Raises:
            EngineError: the engine went away, or could not end it.
        """
        self._kill()
        state = self.wait(KILL_SECONDS)
        if state is None:
            raise EngineError(
                f"The container of {self.name} ({self.id[:12]}) still runs after it was killed.",
                f"See what holds it: `docker inspect {self.id[:12]}`, `docker top {self.id[:12]}`.",
            )
        return state

    def pause(self) -> None:
        """Stop all that runs in it, by the kernel's freezer; one that has ended is left alone.

        Raises:
            EngineError: the engine went away, or cannot pause containers here.
        """
        with engine_errors(f"Pausing the container of {self.name}"):
            try:
                self._engine.client.api.pause(self.id)
            except docker.errors.APIError:
                state = self.state()
                if state.running and not state.paused:
                    raise

    def unpause(self) -> None:
        """Let it go on after `pause`; one that is not paused is left alone.

        Raises:
            EngineError: the engine went away, or it stays paused.
        """
        with engine_errors(f"Unpausing the container of {self.name}"):
            try:
                self._engine.client.api.unpause(self.id)
            except docker.errors.APIError:
                if self.state().paused:
                    raise

    def peak_bytes(self) -> int | None:
        """The most memory it has used so far, page cache and `/tmp` included; None: nobody says.

        To be asked while it runs: its control group goes with it.

        Raises:
            EngineError: the engine went away.
        """
        with engine_errors(f"Asking for the memory of the container of {self.name}"):
            found = self._engine.client.api.inspect_container(self.id)["State"]
            pid = int(found.get("Pid") or 0)
            if not pid:
                return None
            if (peak := peak_of_group(pid, self.id)) is not None:
                return peak
            if self._engine.info.kind != "docker":
                return None  # Podman says its limit there
            stats = self._engine.client.api.stats(self.id, stream=False, one_shot=True)
            return int(stats.get("memory_stats", {}).get("max_usage") or 0) or None

    def close(self) -> None:
        """Let go of its streams: its standard input ends."""
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self.stdout >= 0:
            # First, so that a thread that waits to pass something on is set free.
            os.close(self.stdout)
            self.stdout = -1
        if self._streams is not None:
            self._streams.close()
            self._streams = None

    def remove(self) -> None:
        """Remove it, killing it first if it still runs, with the volumes that are its own.

        Raises:
            EngineError: the engine went away, or could not remove it.
        """
        try:
            remove_container(self._engine, self.id)
        finally:
            self.close()

    def _kill(self) -> None:
        with engine_errors(f"Killing the container of {self.name}"):
            for last in (False, True):
                try:
                    self._engine.client.api.kill(self.id)
                except docker.errors.APIError:
                    # Engines have several words for one that does not run any more, and older
                    # ones refuse it of one that is paused.
                    state = self.state()
                    if state.running and (last or not state.paused):
                        raise
                else:
                    state = self.state()
                if not state.paused:
                    return
                # Not before it was killed, so that nothing of it runs again; Podman leaves that to
                # us, and a freezer of version 1 lets nothing end.
                self.unpause()

    def _exceeded(self, found_bytes: int) -> None:
        self.exceeded_bytes = found_bytes
        # An engine that went away is told by whoever waits for this container.
        with contextlib.suppress(EngineError):
            self._kill()


def remove_container(engine: Engine, number: str) -> None:
    """Remove a container in whatever state, and wait until it is gone.

    Raises:
        EngineError: the engine went away, or could not remove it.
    """
    api = engine.client.api
    with engine_errors(f"Removing the container {number[:12]}"):
        deadline = time.monotonic() + KILL_SECONDS
        try:
            mounts = api.inspect_container(number)["Mounts"]
        except docker.errors.NotFound:
            return
        while True:
            try:
                api.remove_container(number, v=True, force=True)
                break
            except docker.errors.NotFound:
                break
            except docker.errors.APIError as error:
                if time.monotonic() > deadline:
                    raise
                if _unpaused(api, number):
                    continue
                # 409: somebody else is removing it at this moment.
                if error.status_code != HTTPStatus.CONFLICT:
                    raise
                time.sleep(_POLL_S[1])
        for name in (str(mount.get("Name") or "") for mount in mounts):
            if name.startswith(VOLUME):
                with contextlib.suppress(docker.errors.NotFound):
                    api.remove_volume(name)


def _unpaused(api: docker.APIClient, number: str) -> bool:
    """Unpause a container; whether it was paused. Older engines refuse to remove one that is."""
    try:
        paused = bool(api.inspect_container(number)["State"].get("Paused"))
        if paused:
            api.unpause(number)
    except docker.errors.APIError:
        return False
    return paused


def read_state(found: dict[str, Any]) -> State:
    """The engine's `State` as a value."""
    paused = bool(found.get("Paused")) or found.get("Status") == "paused"
    waiting = found.get("Status") in {"created", "restarting"}
    return State(
        # Podman does not count one that is paused.
        running=bool(found.get("Running")) or waiting or paused,
        status=int(found.get("ExitCode") or 0),
        oom_killed=bool(found.get("OOMKilled")),
        error=str(found.get("Error") or ""),
        paused=paused,
    )
