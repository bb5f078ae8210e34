"""A worker that is a container of its own, under the container rules."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.containers.engine import Engine, EngineInfo
from harness.containers.limits import Limits
from harness.containers.rules import ContainerSpec, Mount, give_folder, user_for
from harness.containers.running import start
from harness.errors import EngineError, ExecutionError, ModelError
from harness.execution.attempts import tail
from harness.execution.contained import JOB, RUNNER, SOCKET, contained
from harness.execution.exits import explain_container_exit, read_error
from harness.execution.guardian import GUARDIAN
from harness.execution.link import Link, OnEvent
from harness.execution.readable import let_read
from harness.execution.sources import real_source, real_sources
from harness.execution.workers import DETAIL_BYTES, KILL_WAIT_S, hung_up, timed_out
from harness.paths import cache_dir
from harness.trees import remove_tree

_MIB = 1 << 20


class ContainerWorker:
    """A runner in a container: the same commands, job and files as `ProcessWorker`.

    Args:
        engine: the engine to run it.
        image: the image's id.
        python: the interpreter inside the image.
        runner: the folder that holds the package `runner`.
        job: the job document with paths of this machine; `work` and `socket` are added here.
        work: the worker's own folder: the one place that the container may write to. `job.json`
            and `log.txt` in it are not the container's to change.
        socket_folder: the worker's own folder for its socket; a socket's path holds 107 bytes,
            so a short one. It is removed at the end.
        cores: the cores that it may run on; None: all.
        limits: what it may use.
        gpu: UUID or index of the one GPU that it sees; None: none.
        labels: whose it is, from `owner_labels`.
        variables: environment variables beside the usual ones.
        name: what it is for, in messages.
        made: the folder below which containers write, where no link is followed; None: the one
            that holds the workers' folders and those of the conversions, two above `work`.

    Attributes:
        id: the container's id.
        log: its standard error.
        left_behind: what could not be removed in the end, and why; empty if all was. The next
            start removes the container then.

    Raises:
        EngineError: the container could not be started; nothing is left.
        ExecutionError: kind `invalid-output`: an input that a conversion left is a link, or
            nothing that can be shown to a container; nothing is left.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        image: str,
        python: str,
        runner: Path,
        job: Mapping[str, Any],
        work: Path,
        socket_folder: Path,
        cores: Sequence[int] | None = None,
        limits: Limits = Limits(),  # noqa: B008 - a frozen value
        gpu: str | None = None,
        labels: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        name: str = "a cell",
        made: Path | None = None,
    ) -> None:
        self.work = work
        self.log = work / "log.txt"
        self.left_behind = ""
        self._limits = limits
        self._ending = threading.Lock()
        self._ended = False
        self._frozen = False
        self._sockets = socket_folder
        self._copies = work.with_name(f"{work.name}.readable")
        work.mkdir(parents=True, exist_ok=True)
        socket_folder.mkdir(parents=True, exist_ok=True)
        user = user_for(engine.info)
        give_folder(socket_folder, engine.info, user)
        if job.get("cache") is not None:
            # It outlives the worker, so that the conductor made it and no container can have.
            give_folder(Path(job["cache"]), engine.info, user)
        try:
            mounts = self._mounts(job, runner, made or work.parent.parent)
            self._container = start(
                engine,
                ContainerSpec(
                    image=image,
                    command=(python, "-m", "runner", JOB),
                    name=name,
                    mounts=self._readable(mounts, engine.info, user),
                    output=work,
                    env={**(variables or {}), "PYTHONPATH": RUNNER},
                    labels=labels or {},
                    limits=limits,
                    cores=tuple(cores) if cores else None,
                    gpu=gpu,
                    stdin=True,
                ),
                self.log,
            )
        except BaseException:
            self._remove_folders()
            raise
        self.id = self._container.id
        self._link = Link(self, self._container.stdout, socket_folder / SOCKET)

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
        """Pause it: all that runs in it stands still.

        If this process is killed meanwhile, `guardian.py` removes it.

        Raises:
            ExecutionError: kind `engine`: it cannot be paused, and runs on; kind `environment`:
                nobody could be told to look after it.
        """
        with self._ending:
            if self._ended or self._frozen:
                return
            GUARDIAN.hold_container(self.id)
            try:
                self._container.pause()
            except EngineError as error:
                raise ExecutionError("engine", error.message, error.remedy) from error
            self._frozen = True

    def thaw(self) -> None:
        """Unpause it.

        Raises:
            ExecutionError: kind `engine`: it stays paused.
        """
        with self._ending:
            if self._ended or not self._frozen:
                return
            try:
                self._container.unpause()
            except EngineError as error:
                raise ExecutionError("engine", error.message, error.remedy) from error
            self._frozen = False

    def peak_mib(self) -> float | None:
        """The most memory it has used so far, MiB, with page cache and `/tmp`.

        None where neither this machine's control groups nor the engine says it, and once it has
        ended.
        """
        if self._ended:
            return None
        try:
            found = self._container.peak_bytes()
        except EngineError:
            return None
        return None if found is None else found / _MIB

    def close(self) -> None:
        """Ask it to finish; kill it if it does not; remove it."""
        if not self._ended and self._link.spoken:
            with contextlib.suppress(ExecutionError, EngineError):
                self.command({"command": "finish"}, KILL_WAIT_S, lambda _: None)
                self._container.wait(KILL_WAIT_S)
        self.kill()

    def kill(self) -> None:
        """End it with all that it started, wait until it is gone, and remove it.

        It may be called again, and from another thread. An engine that does not answer makes no
        error here, since what ends a worker is mostly a failure that is being told; see
        `left_behind`.
        """
        with self._ending:
            if self._ended:
                return
            self._ended = True
            try:
                if self._container.state().running:
                    self._container.kill()
                self._container.remove()
                GUARDIAN.release(self.id)
            except EngineError as error:
                # A container outlives its engine; what can still hear is asked to end by itself.
                self._link.say({"command": "finish"})
                self._container.close()
                self.left_behind = str(error)
            self._link.close()
            self._remove_folders()

    def too_slow(self, timeout_s: float | None) -> ExecutionError:
        """Kill it, and the failure of an answer that did not come in time."""
        self.kill()
        return timed_out(timeout_s, tail(self.log, DETAIL_BYTES))

    def ended(self) -> ExecutionError:
        """Why the container ended, in the terms of an attempt; it is removed."""
        try:
            state = self._container.wait(KILL_WAIT_S)
        except EngineError as error:
            self.kill()
            return ExecutionError("engine", error.message, error.remedy, self._last_words())
        self.kill()
        if self._container.exceeded_bytes:
            return ExecutionError(
                "output-limit",
                f"It was stopped: it had written more than the {self._limits.output_bytes} bytes "
                f"that it may ({self._container.exceeded_bytes} when it was found).",
                "Allow more output in the sweep's limits, or use fewer images with --limit.",
                self._last_words(),
            )
        if state is None:
            return hung_up(self._last_words())
        return explain_container_exit(
            state.status,
            oom_killed=state.oom_killed,
            memory_mib=self._limits.memory_mib,
            note=read_error(self.work / "error.json"),
            log_tail=self._last_words(),
        )

    def _last_words(self) -> str:
        return tail(self.log, DETAIL_BYTES)

    def _mounts(self, job: Mapping[str, Any], runner: Path, made: Path) -> tuple[Mount, ...]:
        """What the container sees; its job is written."""
        model = model_of(job)
        if model is not None:
            # Before anything is read of it.
            real_source(Path(model["path"]), made)
        document, mounts = contained(job, runner, self.work, self._sockets, companions(job))
        for path, text in (
            (self.work / "job.json", json.dumps(document, indent=2)),
            (self.log, ""),
        ):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o644), "w", encoding="utf-8") as file:
                file.write(text)
            path.chmod(0o644)
        return real_sources(mounts, made)

    def _readable(self, mounts: Sequence[Mount], info: EngineInfo, user: str) -> tuple[Mount, ...]:
        try:
            return let_read(mounts, info, user, (cache_dir(), self.work), self._copies)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise ExecutionError(
                "invalid-output", f"{error.filename} is not shown to a container: {error.strerror}."
            ) from error

    def _remove_folders(self) -> None:
        for folder in (self._sockets, self._copies):
            left = remove_tree(folder)
            self.left_behind = self.left_behind or left


def model_of(job: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The model that a job loads or converts; None for one that has none."""
    model = job.get("model") or job.get("source")
    return model if isinstance(model, Mapping) else None


def companions(job: Mapping[str, Any]) -> tuple[Path, ...]:
    """The files that a job's model keeps its weights in, beside its own."""
    model = model_of(job)
    if model is None or model["format"] != "onnx":
        return ()
    # Reading ONNX is not needed by conductors of anything else.
    from harness.models.onnx_file import read_onnx  # noqa: PLC0415

    try:
        return read_onnx(Path(model["path"])).external_files
    except (ModelError, OSError):
        # What is wrong with it, the runner says of the cell.
        return ()
