"""A process beside a conductor that ends what is frozen if the conductor is killed.

A stopped process and a paused container cannot notice that nobody holds their standard input any
more. The runner's first process gets a death signal from the kernel, which reaches it stopped as
well; what it started gets none, and a container's processes have another parent. So whoever
freezes something tells this process beforehand. `python -m harness.execution.guardian` waits in
the kernel for its standard input to end, however suddenly, and ends what it was told of last.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterable

from harness.errors import EngineError, ExecutionError

_END_SECONDS = 60.0
"""How long the guardian may take at the end; what is left to it then are containers."""
_SAME_S = 1.0
"""A process that was created at another time than this is another one with the same number."""


class Guardian:
    """What this process has frozen, known to a process that outlives it.

    The guardian is started when it is first told of something, in a session of its own, so that
    nothing that ends this process's group ends it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._processes: dict[str, tuple[tuple[int, float], ...]] = {}
        self._containers: set[str] = set()

    def hold_processes(self, name: str, processes: Iterable[tuple[int, float]]) -> None:
        """Processes to end if this one is killed: their numbers, and when they were created.

        Args:
            name: whose they are, for `release`; told again, these take the place of the others.
            processes: number and time of creation in seconds, as psutil says them.

        Raises:
            ExecutionError: the guardian cannot be started; nothing may be frozen then.
        """
        found = tuple(processes)
        with self._lock:
            if self._processes.get(name) != found:
                self._processes[name] = found
                self._tell()

    def hold_container(self, number: str) -> None:
        """A container to remove if this process is killed, by its id.

        Raises:
            ExecutionError: the guardian cannot be started; nothing may be frozen then.
        """
        with self._lock:
            if number not in self._containers:
                self._containers.add(number)
                self._tell()

    def release(self, name: str) -> None:
        """Forget the processes of this name, or the container of this id: they are gone."""
        with self._lock:
            known = name in self._processes or name in self._containers
            self._processes.pop(name, None)
            self._containers.discard(name)
            if known and self._process is not None:
                with contextlib.suppress(OSError):
                    self._write(self._process)

    def close(self) -> None:
        """Let the guardian end, and what it holds with it."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                _finish(process)

    def _tell(self) -> None:
        for _ in range(2):  # one that somebody killed is started anew
            try:
                if self._process is None:
                    self._process = _start()
                    atexit.register(self.close)
                self._write(self._process)
            except OSError as error:
                problem = error
                if self._process is not None:
                    _finish(self._process)
                    self._process = None
            else:
                return
        raise ExecutionError(
            "environment",
            f"Nothing can be frozen: the process that looks after it does not start ({problem}).",
            "See whether this machine can start more processes (`ulimit -u`).",
        )

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        """All that is held, on one line: the last one counts."""
        held = {
            "processes": [one for found in self._processes.values() for one in found],
            "containers": sorted(self._containers),
        }
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        process.stdin.write(json.dumps(held).encode() + b"\n")


GUARDIAN = Guardian()
"""This process's own."""


def _start() -> subprocess.Popen[bytes]:
    """Start one, and wait until it listens: what it does at its start would disturb a timing."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "harness.execution.guardian"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        bufsize=0,
    )
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    with process.stdout as stdout:
        if not stdout.read(1):
            _finish(process)
            raise ChildProcessError(f"it ended at once with status {process.returncode}")
    return process


def _finish(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Wait until nobody holds standard input any more, then end what was told last."""
    last = b"{}"
    sys.stdout.write("\n")
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        if line.endswith(b"\n"):  # whoever was killed while writing told the rest before
            last = line
    held = json.loads(last)
    _end_processes(held.get("processes", ()))
    _remove_containers(held.get("containers", ()))


def _end_processes(processes: Iterable[tuple[int, float]]) -> None:
    # Imported only now: it waits with as little memory as it can.
    import psutil  # noqa: PLC0415

    for pid, created in processes:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < _SAME_S:
                process.kill()


def _remove_containers(numbers: Iterable[str]) -> None:
    if not numbers:
        return
    from harness.containers.container import remove_container  # noqa: PLC0415
    from harness.containers.engine import connect  # noqa: PLC0415

    try:
        engine = connect()
        for number in numbers:
            remove_container(engine, number)
    except EngineError as error:
        # What is left is a stray of the next start.
        print(f"guardian: {error}", file=sys.stderr)  # noqa: T201 - the conductor's log


if __name__ == "__main__":
    main()
