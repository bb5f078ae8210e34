"""The wheels of a lock: fetched once by hash on this machine, for builds that have no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import (
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_wheel_filename,
)

from harness.canonical import key_of, sha256_file, storage_errors, write_json
from harness.environments.environment import Environment, from_folder
from harness.environments.pip_download import Secrets, download_wheels
from harness.environments.uv import UvError, as_harness_error
from harness.errors import ProvisionError
from harness.paths import cache_dir
from harness.progress import Progress, Task

__all__ = ["Secrets", "Target", "Wheel", "choose_wheels", "fetch_wheels", "locked", "target_of"]

_SCHEMA_VERSION = 1
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_OLDEST_GLIBC = 5


@dataclass(frozen=True)
class Wheel:
    """One wheel, kept by its hash."""

    name: str
    version: str
    filename: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return cache_dir() / "wheels" / self.sha256 / self.filename


@dataclass(frozen=True)
class Target:
    """What wheels have to fit: a Python `X.Y`, a machine and a C library."""

    python: str
    machine: str
    glibc: str

    @property
    def platforms(self) -> list[str]:
        """Names of its platform as wheels give them, the most wanted first."""
        major, _, minor = self.glibc.partition(".")
        newest = int(minor) if major == "2" and minor.isdigit() else 28
        legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
        names = []
        for version in range(newest, _OLDEST_GLIBC - 1, -1):
            names.append(f"manylinux_2_{version}_{self.machine}")
            if version in legacy:
                names.append(f"{legacy[version]}_{self.machine}")
        return [*names, f"linux_{self.machine}"]

    def tags(self) -> list[Tag]:
        """The tags of wheels that fit, the most wanted first, in pip's order."""
        major, _, minor = self.python.partition(".")
        version = (int(major), int(minor))
        interpreter = f"cp{major}{minor}"
        return [
            *cpython_tags(version, [interpreter], self.platforms),
            *compatible_tags(version, interpreter, self.platforms),
        ]


def target_of(env: Environment) -> Target:
    """What the wheels of an image environment have to fit.

    Raises:
        ValueError: it has no base; a mistake of the caller's.
    """
    if env.base is None:
        raise ValueError(f"{env.name} has no base image")
    return Target(env.base.python, env.base.machine, env.base.glibc)


def locked(text: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The packages of a lock: normal name to version and the hashes of its files."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if match := _PIN.match(line):
            found[canonicalize_name(match["name"])] = (
                match["version"],
                tuple(_HASH.findall(line)),
            )
    return found


def fetch_wheels(
    env: Environment, progress: Progress, secrets: Secrets | None = None
) -> tuple[Wheel, ...]:
    """The wheels of an environment's lock, fetched where they are not kept yet.

    Which file of a release fits best is decided once for a lock and a target and written down;
    after that nothing is asked of any index. Kept wheels are read and hashed each time: this is
    for builds, which are rare.

    Raises:
        ProvisionError: a package cannot be fetched, has no wheel that fits, or other bytes.
        StoreError: no space is left.
    """
    lock, target = from_folder(env), target_of(env)
    key = key_of([lock.lock_sha256, target.python, target.machine, target.glibc])
    record = cache_dir() / "wheels" / "locks" / f"{key[:32]}.json"
    if (kept := _kept(record)) is not None:
        return kept
    guard = cache_dir() / "locks" / f"wheels-{key[:32]}.lock"
    with storage_errors(guard):
        guard.parent.mkdir(parents=True, exist_ok=True)
        guard.touch()
    with FileLock(guard):
        if (kept := _kept(record)) is not None:
            return kept
        with progress.task(f"Fetching the wheels of {env.name}") as task:
            wheels = _fetch(env, target, task, secrets or Secrets())
        write_json(
            record,
            {
                "schema_version": _SCHEMA_VERSION,
                "wheels": [
                    {
                        "name": w.name,
                        "version": w.version,
                        "filename": w.filename,
                        "sha256": w.sha256,
                    }
                    for w in wheels
                ],
            },
        )
    return wheels


def wheels_size(wheels: Sequence[Wheel]) -> int:
    """Bytes of some wheels that are kept."""
    return sum(wheel.path.stat().st_size for wheel in wheels)


def _kept(record: Path) -> tuple[Wheel, ...] | None:
    """The wheels that a record names, if all are still there and whole."""
    try:
        document = json.loads(record.read_text(encoding="utf-8"))
        wheels = tuple(Wheel(**entry) for entry in document["wheels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if document.get("schema_version") != _SCHEMA_VERSION:
        return None
    # Each is looked at, so that all that are damaged go at once.
    whole = [_is_whole(wheel.path, wheel.sha256) for wheel in wheels]
    return wheels if all(whole) else None


def _is_whole(path: Path, sha256: str) -> bool:
    """Whether a kept wheel has the bytes of its name; a damaged one is removed.

    A machine that lost its power may keep the name of a file and not what was in it.
    """
    try:
        found = sha256_file(path)
    except OSError:
        return False
    if found != sha256:
        path.unlink(missing_ok=True)
    return found == sha256


def _fetch(env: Environment, target: Target, task: Task, secrets: Secrets) -> tuple[Wheel, ...]:
    lock = from_folder(env)
    packages = locked(lock.lock_path.read_text(encoding="utf-8"))
    place = cache_dir() / "wheels"
    with storage_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=place) as folder:
            # pip still chooses among all files of a release, but fetches none that is here.
            for path in _fitting(packages, target):
                _link(path, Path(folder) / path.name)
            try:
                download_wheels(
                    from_folder(env), target.python, target.platforms, Path(folder), task, secrets
                )
            except UvError as error:
                raise as_harness_error(
                    error.failure, f"The wheels of {env.name} cannot be fetched"
                ) from error
            chosen = choose_wheels(Path(folder), packages, target)
            missing = sorted(set(packages) - set(chosen))
            if missing:
                raise ProvisionError(
                    f"pip fetched no wheel of {', '.join(missing)} for {env.name}.",
                    "Try again; report it if it stays.",
                )
            return tuple(_keep(name, packages[name], chosen[name]) for name in sorted(packages))


def choose_wheels(
    folder: Path, packages: Mapping[str, tuple[str, tuple[str, ...]]], target: Target
) -> dict[str, Path]:
    """The wheel of a folder that fits each package best, as pip chooses; by normal name."""
    rank = {tag: place for place, tag in enumerate(target.tags())}
    best: dict[str, tuple[int, Path]] = {}
    for path in sorted(folder.glob("*.whl")):
        parsed = _parsed(path)
        if parsed is None or parsed[0] not in packages:
            continue
        places = [rank[tag] for tag in parsed[1] if tag in rank]
        if places and (parsed[0] not in best or min(places) < best[parsed[0]][0]):
            best[parsed[0]] = (min(places), path)
    return {name: path for name, (_, path) in best.items()}


def _parsed(path: Path) -> tuple[NormalizedName, frozenset[Tag]] | None:
    try:
        name, _, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        return None
    return name, tags


def _fitting(packages: Mapping[str, tuple[str, tuple[str, ...]]], target: Target) -> Iterator[Path]:
    """The kept wheels that a lock allows and that fit, each whole."""
    tags = set(target.tags())
    for _, hashes in packages.values():
        for sha256 in hashes:
            for path in (cache_dir() / "wheels" / sha256).glob("*.whl"):
                parsed = _parsed(path)
                if parsed and tags & parsed[1] and _is_whole(path, sha256):
                    yield path


def _keep(name: str, pinned: tuple[str, tuple[str, ...]], path: Path) -> Wheel:
    """Put a fetched wheel in its place, once its hash is found in the lock."""
    sha256 = sha256_file(path)
    version, hashes = pinned
    if sha256 not in hashes:
        raise ProvisionError(
            f"{path.name} was fetched with other bytes than the lock says.",
            "Use the index that the lock was made with, or write it again: `harness env lock`.",
        )
    wheel = Wheel(name=name, version=version, filename=path.name, sha256=sha256)
    if not wheel.path.is_file():
        wheel.path.parent.mkdir(parents=True, exist_ok=True)
        # Inside an image build they are read by whoever the engine maps root to.
        path.chmod(0o644)
        _flush(path)
        path.replace(wheel.path)
        _flush(wheel.path.parent)
    return wheel


def _flush(path: Path) -> None:
    """Have a file or folder on the disk before anything relies on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the disk is another one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
