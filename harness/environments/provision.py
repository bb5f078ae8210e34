"""Installs environments as virtual environments, once each, whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from harness.canonical import storage_errors, write_json
from harness.environments.environment import Environment, from_folder
from harness.environments.locking import run_with_upstream
from harness.environments.probe import probe
from harness.environments.uv import UvError, as_harness_error, run_uv
from harness.errors import ProvisionError
from harness.paths import cache_dir, runner_tree
from harness.progress import Progress, Task

READY_FILE = "ready.json"
_SCHEMA_VERSION = 1

State = Literal["built", "absent", "broken"]


@dataclass(frozen=True)
class Provisioned:
    """An environment that is installed and answered a probe."""

    env: Environment
    python: str | Path
    """The interpreter inside it: a path of this machine, or one inside its image."""
    probe: Mapping[str, Any] = field(hash=False)
    """The runner's probe event."""
    packages: Mapping[str, str] = field(hash=False)
    """What is installed, name to version."""
    size_bytes: int
    seconds: float
    """How long installing took when it was installed."""
    image: str | None = None
    """The id (`sha256:…`) of the image that its cells run; None for one without containers."""


def provision(env: Environment, progress: Progress) -> Provisioned:
    """Install an environment if it is not there yet, and give it.

    It is made beside its place and takes its name when it is complete and has answered a probe,
    so a killed installation leaves nothing that could be taken for an environment. Two processes
    that ask for the same one make it once.

    Raises:
        ProvisionError: a package cannot be fetched or does not match its hash, or the probe fails.
        StoreError: the cache is full or may not be written.
    """
    if ready := _ready(env):
        return ready
    with _sole(env, progress):
        if ready := _ready(env):
            return ready
        if _runs(env):
            return _probe_again(env, progress)
        return _install(env, progress)


def state(env: Environment) -> State:
    """Whether an environment is installed: built, absent, or broken (it will be made again)."""
    folder = venv_path(env)
    if not folder.exists():
        return "absent"
    return "built" if _runs(env) else "broken"


def remove(env: Environment) -> int:
    """Remove what `provision` installed, and give the bytes freed (0: there was nothing).

    Raises:
        StoreError: it may not be removed.
    """
    folder = venv_path(env)
    if not folder.exists():
        return 0
    freed = size_bytes(folder)
    with _lock(folder):
        _discard(folder)
    return freed


def remove_all(name: str) -> int:
    """Remove what is installed under a name, for whichever Python and lock; the bytes freed.

    Raises:
        StoreError: it may not be removed.
    """
    freed = 0
    venvs = cache_dir() / "venvs"
    prefix = f"{glob.escape(name)}-{'[0-9a-f]' * 12}"
    for folder in venvs.glob(prefix):
        with _lock(folder):
            freed += size_bytes(folder)
            _discard(folder)
    for stray in venvs.glob(f".{prefix}.*.staged"):
        with _lock(stray.with_name(stray.name.split(".", 1)[1].rsplit(".", 2)[0])):
            freed += size_bytes(stray)
            shutil.rmtree(stray, ignore_errors=True)
    return freed


def venv_path(env: Environment) -> Path:
    """Where an environment is or would be installed."""
    return cache_dir() / "venvs" / f"{env.name}-{env.identity[:12]}"


def size_bytes(folder: Path) -> int:
    """The bytes of all files below a folder, as if none were shared with uv's cache."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(root) / name).lstat().st_size
    return total


def _install(env: Environment, progress: Progress) -> Provisioned:
    target = venv_path(env)
    started = time.monotonic()
    staged = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.staged")
    with storage_errors(target), progress.task(f"Installing {env.name}") as task:
        try:
            _clear(target)
            try:
                run_uv(_make_venv(env, staged), task=task, label=env.name)
                _install_packages(env, staged, task)
            except UvError as error:
                raise as_harness_error(
                    error.failure, f"Environment {env.name} cannot be installed"
                ) from error
            task.describe(f"Probing {env.name}")
            event = probe(env.name, _python_of(staged), env.backends, env.preparing)
            _write_ready(env, staged, event, time.monotonic() - started)
            staged.rename(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    done = _ready(env)
    if done is None:
        raise ProvisionError(
            f"Environment {env.name} was changed by somebody else while it was installed.",
            "Try again.",
        )
    progress.note(f"Installed {env.name}: {done.size_bytes / 1e6:.0f} MB in {done.seconds:.1f} s")
    return done


def _make_venv(env: Environment, folder: Path) -> list[str]:
    # Relocatable, because it is made beside its place and renamed.
    return [
        "venv", str(folder), "--relocatable", "--no-project", "--python", str(env.interpreter),
    ]  # fmt: skip


def _install_packages(env: Environment, folder: Path, task: Task) -> None:
    """Install the lock; without a connection, from what uv still has of an earlier time.

    Raises:
        UvError: a package cannot be fetched, or does not match its hash.
    """
    arguments = [
        "pip", "install", "--python", str(_python_of(folder)), "--require-hashes", "--no-deps",
        "--only-binary", ":all:", "--requirement", str(from_folder(env).lock_path),
    ]  # fmt: skip
    file = from_folder(env).folder.file
    try:
        run_with_upstream(arguments, file.extra_index, file.find_links, task=task, label=env.name)
    except UvError as error:
        if error.failure.kind != "network":
            raise
        try:
            run_uv([*arguments, "--offline"], task=task, label=env.name)
        except UvError:
            raise error from None


def _probe_again(env: Environment, progress: Progress) -> Provisioned:
    """Refresh the probe of an installed environment: the runner is another than at the last one."""
    folder = venv_path(env)
    before = _read_ready(folder)
    with progress.task(f"Probing {env.name}"):
        event = probe(env.name, _python_of(folder), env.backends, env.preparing)
    _write_ready(env, folder, event, float(before.get("seconds", 0.0)))
    done = _ready(env)
    assert done is not None  # noqa: S101 - the marker was written above, under the lock
    return done


def kept_probe(env: Environment) -> dict[str, Any]:
    """What an installed environment last answered to a probe; empty where it is not installed."""
    document = _read_ready(venv_path(env))
    event = document.get("probe") if document.get("identity") == env.identity else None
    return event if isinstance(event, dict) else {}


def _write_ready(env: Environment, folder: Path, event: dict[str, Any], seconds: float) -> None:
    write_json(
        folder / READY_FILE,
        {
            "schema_version": _SCHEMA_VERSION,
            "name": env.name,
            "identity": env.identity,
            "lock_sha256": env.lock_sha256,
            "runner_sha256": runner_tree()[1],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "size_bytes": size_bytes(folder),
            "probe": event,
        },
    )


def _ready(env: Environment) -> Provisioned | None:
    """The installed environment, if it is whole and was probed by the runner of today."""
    folder = venv_path(env)
    document = _read_ready(folder)
    if not _runs(env) or document.get("runner_sha256") != runner_tree()[1]:
        return None
    event = document["probe"]
    return Provisioned(
        env=env,
        python=_python_of(folder),
        probe=event,
        packages=event.get("packages", {}),
        size_bytes=document["size_bytes"],
        seconds=document["seconds"],
    )


def _runs(env: Environment) -> bool:
    """Whether the environment is complete and the Python it was made from is still there."""
    folder = venv_path(env)
    document = _read_ready(folder)
    return (
        document.get("schema_version") == _SCHEMA_VERSION
        and document.get("identity") == env.identity
        and _python_of(folder).exists()
    )


def _read_ready(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / READY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _clear(target: Path) -> None:
    """Remove what killed installations of this environment left; the lock is held."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        _discard(target)
    for stray in target.parent.glob(f".{target.name}.*.staged"):
        shutil.rmtree(stray, ignore_errors=True)


def _discard(folder: Path) -> None:
    """Remove a folder so that no reader sees a part of it."""
    doomed = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.staged")
    with storage_errors(folder):
        folder.rename(doomed)
        shutil.rmtree(doomed)


@contextlib.contextmanager
def _sole(env: Environment, progress: Progress) -> Iterator[None]:
    lock = _lock(venv_path(env))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with progress.task(f"Waiting for another process that installs {env.name}"):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(folder: Path) -> FileLock:
    path = cache_dir() / "locks" / f"{folder.name}.lock"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return FileLock(path)
