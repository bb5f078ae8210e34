"""Workers: a runner that stays loaded and takes commands; here, one that is a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

from harness.environments.variables import runner_variables
from harness.errors import ExecutionError
from harness.execution.attempts import tail
from harness.execution.cores import own_cores
from harness.execution.exits import explain_exit, read_error
from harness.execution.freezing import end, family, go_on, stop_family
from harness.execution.guardian import GUARDIAN
from harness.execution.link import Link, OnEvent
from harness.execution.memory import MemoryWatch, session_pids

KILL_WAIT_S = 10.0
"""How long a worker may take to finish when asked."""
DETAIL_BYTES = 4000
"""What a failure keeps of the log's end."""


class Worker(Protocol):
    """A loaded model somewhere: a process, or a container (`container_worker.py`)."""

    def event(self, name: str, timeout_s: float, on_event: OnEvent) -> dict[str, Any]:
        """Wait for an event of this name; others go to `on_event`."""

    def command(
        self, document: Mapping[str, Any], timeout_s: float, on_event: OnEvent
    ) -> dict[str, Any]:
        """Send a command and wait for its reply; a frozen worker is thawed first."""

    def freeze(self) -> None:
        """Stop it with everything it started, until `thaw`; it uses no processor time then.

        A worker that has ended, or is frozen already, is left as it is.

        Raises:
            ExecutionError: it cannot be frozen; it runs on.
        """

    def thaw(self) -> None:
        """Let it go on after `freeze`; a worker that is not frozen is left as it is.

        Raises:
            ExecutionError: it stays frozen, so it is of no more use.
        """

    def peak_mib(self) -> float | None:
        """The most memory it has used so far as a container, MiB; None where nobody says.

        What a process used at most, its runner says itself in its replies.
        """

    def close(self) -> None:
        """Ask it to finish, and make sure that it is gone."""

    def kill(self) -> None:
        """End it at once, with everything it started, and wait until it is gone."""


class ProcessWorker:
    """A worker that is a process of its own in a virtual environment.

    Args:
        python: the environment's interpreter.
        runner: the folder that holds the package `runner`.
        job: the job document; `work` and (for `infer`) `socket` are added here.
        work: the worker's own folder: outputs, log, home.
        socket_path: where it listens; a socket's path holds 107 bytes, so a short one.
        cores: the cores that it may run on; None: all that this process had before `keep_off`.
        environment: variables beside the usual ones, such as CUDA_VISIBLE_DEVICES.
        memory_mib: what it may use with all that it starts; None: no limit.
    """

    def __init__(
        self,
        python: Path,
        runner: Path,
        job: Mapping[str, Any],
        work: Path,
        socket_path: Path,
        cores: Sequence[int] | None = None,
        environment: Mapping[str, str] | None = None,
        memory_mib: int | None = None,
    ) -> None:
        (work / "home").mkdir(parents=True, exist_ok=True)
        (work / "tmp").mkdir(exist_ok=True)
        self.work = work
        self.log = work / "log.txt"
        document = {**job, "work": str(work), "parent_death_signal": True}
        if job["kind"] == "infer":
            document["socket"] = str(socket_path)
        path = work / "job.json"
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
        with self.log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    [str(python), "-m", "runner", str(path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=work,
                    env={**runner_variables(work, runner), **(environment or {})},
                    start_new_session=True,
                )
            except OSError as error:
                raise ExecutionError(
                    "environment",
                    f"Cannot start {python}: {error.strerror}.",
                    "Build the environment again: `harness env remove`, then `harness env build`.",
                ) from error
        if hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(self._process.pid, cores or own_cores())
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        self._link = Link(self, self._process.stdout.fileno(), socket_path)
        self._frozen: tuple[psutil.Process, ...] = ()
        self._memory_mib = memory_mib
        self._watch = MemoryWatch(self.pid, memory_mib, self._end) if memory_mib else None

    @property
    def pid(self) -> int:
        """The process's number, which is its group's too."""
        return self._process.pid

    def event(self, name: str, timeout_s: float, on_event: OnEvent) -> dict[str, Any]:
        """Wait for the event `name` on standard output; others go to `on_event`.

        Raises:
            ExecutionError: it ended without it, or took too long (it is killed then).
        """
        return self._link.event(name, timeout_s, on_event)

    def command(
        self, document: Mapping[str, Any], timeout_s: float, on_event: OnEvent
    ) -> dict[str, Any]:
        """Send one command and return the reply.

        Raises:
            ExecutionError: the command failed (the worker lives on), or the worker ended, or
                took too long (it is killed then).
        """
        self.thaw()
        return self._link.command(document, timeout_s, on_event)

    def freeze(self) -> None:
        """Stop all processes of its session, and wait until they stand still.

        Those that left its group are stopped too, and those that began a session of their own.
        If this process is killed meanwhile, `guardian.py` ends them.

        Raises:
            ExecutionError: kind `environment`: nobody could be told to look after them.
        """
        if self._frozen or self._process.returncode is not None:
            return
        name = str(self.pid)
        GUARDIAN.hold_processes(name, _numbers(family(self.pid)))
        self._frozen = stop_family(self.pid)
        try:
            # The first look may have missed some.
            GUARDIAN.hold_processes(name, _numbers(self._frozen))
        except ExecutionError:
            self.thaw()
            raise

    def thaw(self) -> None:
        """Let all that `freeze` stopped go on."""
        frozen, self._frozen = self._frozen, ()
        go_on(frozen)

    def peak_mib(self) -> float | None:
        """None: its runner says what it used at most."""
        return None

    def close(self) -> None:
        """Ask it to finish; kill it if it does not."""
        if self._process.poll() is None and self._link.spoken:
            with contextlib.suppress(ExecutionError, OSError):
                self.command({"command": "finish"}, KILL_WAIT_S, lambda _: None)
                self._process.wait(KILL_WAIT_S)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        self.kill()

    def kill(self) -> None:
        """End the process and all that it started, and wait until it is gone."""
        if self._watch is not None:
            self._watch.stop()
        self._end()
        self._process.wait()
        GUARDIAN.release(str(self.pid))
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._link.close()

    def _end(self) -> None:
        """End the process group, those of the session that left the group, and descendants.

        What is stopped is ended as well: no process can put SIGKILL off.
        """
        # Those with a session of their own can be told only from where they were seen before.
        end(self._frozen)
        # A number is given to nobody else while its session has processes.
        if self._process.returncode is not None and psutil.pid_exists(self.pid):
            return
        with contextlib.suppress(psutil.Error, OSError):
            end(family(self.pid))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(psutil.Error, OSError):
            for pid in session_pids(self.pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def too_slow(self, timeout_s: float | None) -> ExecutionError:
        """Kill it, and the failure of an answer that did not come in time."""
        self.kill()
        return timed_out(timeout_s, tail(self.log, DETAIL_BYTES))

    def ended(self) -> ExecutionError:
        """Why the process ended, in the terms of an attempt."""
        if self._watch is not None and self._watch.exceeded_mib is not None:
            return used_too_much(self._memory_mib, tail(self.log, DETAIL_BYTES))
        try:
            status = self._process.wait(KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return hung_up(tail(self.log, DETAIL_BYTES))
        note = read_error(self.work / "error.json")
        return explain_exit(status, note, tail(self.log, DETAIL_BYTES))


def _numbers(processes: Sequence[psutil.Process]) -> list[tuple[int, float]]:
    """The number of each process, and when it was created; those that ended are left out."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found.append((process.pid, process.create_time()))
    return found


def timed_out(timeout_s: float | None, log_tail: str) -> ExecutionError:
    """The failure of a worker that was stopped because it took too long."""
    after = f" after {timeout_s:g} s" if timeout_s else ""
    return ExecutionError(
        "timeout",
        f"No answer{after}; it was stopped.",
        "Allow more with --timeout, or use fewer images with --limit.",
        log_tail,
    )


def used_too_much(memory_mib: int | None, log_tail: str) -> ExecutionError:
    """The failure of a worker that was stopped because it used more memory than it may."""
    return ExecutionError(
        "out-of-memory",
        f"It was stopped: it used more than the {memory_mib} MiB that it may.",
        "Allow more with `memory_mib` in the sweep file.",
        log_tail,
    )


def hung_up(log_tail: str) -> ExecutionError:
    """The failure of a worker that closed its connection and ran on; it was killed."""
    return ExecutionError("exit", "It closed its connection without a result.", "", log_tail)
