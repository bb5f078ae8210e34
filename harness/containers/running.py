"""Running containers: started under the rules with nothing left of a failed start, or to their end."""

from __future__ import annotations

import contextlib
import os
import selectors
import stat
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import docker.errors

from harness.containers.container import Container, remove_container
from harness.containers.engine import Engine, engine_errors
from harness.containers.rules import WORK, ContainerSpec, create_arguments, give_folder, user_for
from harness.containers.streams import BoundedLog
from harness.errors import EngineError

LOG_BYTES = 16 << 20
"""What is kept of a container's standard error."""
STDOUT_BYTES = 64 << 20
"""What `run_to_end` takes of standard output; a container that says more is killed."""


@dataclass(frozen=True)
class Finished:
    """How a container that ran to its end did."""

    status: int
    oom_killed: bool
    timed_out: bool
    stdout: bytes
    log: str
    seconds: float
    exceeded_bytes: int = 0


def start(engine: Engine, spec: ContainerSpec, log: Path) -> Container:
    """Create a container under the container rules, attach to it, and start it.

    Args:
        engine: the engine.
        spec: what to run.
        log: where its standard error goes, at most `LOG_BYTES` of it. The container must not be
            able to put another file in its place.

    Raises:
        EngineError: the image is gone, a GPU cannot be given, or the engine refuses. Nothing is
            left behind then.
    """
    user = user_for(engine.info)
    if spec.output is not None:
        _check_source(spec.name, spec.output, WORK)
        give_folder(spec.output, engine.info, user)
    stderr = BoundedLog(log, LOG_BYTES)
    number = ""
    container: Container | None = None
    try:
        number = _create(engine, spec, user)
        with engine_errors(f"Starting a container of {spec.name}"):
            container = Container(engine, spec, number, stderr)
            engine.client.api.start(number)
        writable = [Path(m.source) for m in spec.mounts if not m.read_only and not m.volume]
        if spec.output is not None:
            writable.append(spec.output)
        if writable:
            container.guard(writable, spec.limits.output_bytes)
    except BaseException:
        # What went wrong is told. What cannot be removed now is a stray of the next start.
        if number:
            with contextlib.suppress(EngineError):
                remove_container(engine, number)
        if container is not None:
            container.close()
        stderr.close()
        raise
    return container


def _create(engine: Engine, spec: ContainerSpec, user: str) -> str:
    """A created container's id."""
    for mount in spec.mounts:
        if not mount.volume:
            _check_source(spec.name, Path(mount.source), mount.target)
    with engine_errors(f"Starting a container of {spec.name}"):
        try:
            image = engine.client.images.get(spec.image).attrs["Config"] or {}
            arguments = create_arguments(spec, engine.info, user, image, uuid.uuid4().hex)
            return str(engine.client.containers.create(**arguments).id)
        except docker.errors.ImageNotFound as error:
            raise EngineError(
                f"The image of {spec.name} is not there any more ({spec.image}).",
                "Build it again: `harness env build`; one of somebody else's is pulled again by "
                "the next sweep.",
            ) from error


def _check_source(name: str, source: Path, target: str) -> None:
    """Refuse what is no file and no folder: Podman would make a folder, any engine follow a link.

    Raises:
        EngineError: it is something else, or not there.
    """
    mode = source.lstat().st_mode if os.path.lexists(source) else 0
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        what = "a link" if stat.S_ISLNK(mode) else "no file and no folder" if mode else "not there"
        raise EngineError(
            f"Starting a container of {name} failed: {source}, which it is to see as {target}, "
            f"is {what}."
        )


def run_to_end(engine: Engine, spec: ContainerSpec, timeout_s: float) -> Finished:
    """Run a container until it ends, or is killed after `timeout_s`; it is always removed.

    Raises:
        EngineError: it could not be started, or the engine went away.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="harness-log-") as folder:
        log = Path(folder) / "log.txt"
        container = start(engine, spec, log)
        try:
            stdout, in_time = _read_to_end(container.stdout, started + timeout_s)
            left = max(0.0, started + timeout_s - time.monotonic())
            state = container.wait(left) if in_time else None
            timed_out = state is None and len(stdout) <= STDOUT_BYTES
            if state is None:
                state = container.kill()
        finally:
            container.remove()
        return Finished(
            status=state.status,
            oom_killed=state.oom_killed,
            timed_out=timed_out,
            stdout=stdout[:STDOUT_BYTES],
            log=log.read_text(encoding="utf-8", errors="replace"),
            seconds=time.monotonic() - started,
            exceeded_bytes=container.exceeded_bytes,
        )


def _read_to_end(stdout: int, deadline: float) -> tuple[bytes, bool]:
    """All of standard output, and whether it ended in time and was not too long."""
    found = bytearray()
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not _readable(stdout, left):
            return bytes(found), False
        data = os.read(stdout, 1 << 16)
        if not data:
            return bytes(found), True
        found += data
        if len(found) > STDOUT_BYTES:
            return bytes(found), False


def _readable(descriptor: int, timeout_s: float) -> bool:
    with selectors.DefaultSelector() as ready:
        ready.register(descriptor, selectors.EVENT_READ)
        return bool(ready.select(timeout_s))
