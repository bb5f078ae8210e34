"""Base images that were pulled or made before: written down, and found again in an engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker.errors
from filelock import FileLock

from harness.canonical import key_of, storage_errors, write_json
from harness.containers.engine import Engine, engine_errors
from harness.environments.environment import Base
from harness.errors import StoreError
from harness.paths import cache_dir, data_dir

LABEL = "io.harness.base"
"""Carried by a base that was made here, with what a record holds as JSON."""
_SCHEMA_VERSION = 1
_SET_ANEW = frozenset({"PATH", "LANG", "PYTHONPATH"})
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class BaseRecord:
    """A base and how to recognise its image."""

    base: Base
    layers: str
    """Its `content_digest`: what is looked at before an image is taken for it."""


def machine_of(engine: Engine) -> str:
    """The machine that an engine's containers run on: `x86_64`, `aarch64`."""
    return _MACHINES.get(engine.info.architecture, engine.info.architecture)


def content_digest(image: Mapping[str, Any]) -> str:
    """`sha256:…` of what an image gives to those built on it (an engine's answer of it).

    That is its layers, the variables that they inherit, which can choose a library's code, and
    the instructions that run in their build. The variables that `images/Dockerfile` sets anew
    count for nothing.
    """
    config = image.get("Config") or {}
    variables = sorted(
        one for one in config.get("Env") or () if str(one).partition("=")[0] not in _SET_ANEW
    )
    inherited = {"variables": variables, "on_build": list(config.get("OnBuild") or ())}
    content: list[Any] = list(image["RootFS"].get("Layers") or ())
    if any(inherited.values()):
        content.append(inherited)
    return f"sha256:{key_of(content)}"


def inspect_image(engine: Engine, reference: str) -> dict[str, Any] | None:
    """What an engine says of an image; None where it has none of that name.

    Raises:
        EngineError: the engine does not answer.
    """
    with engine_errors(f"Asking for the image {reference}"):
        try:
            found: dict[str, Any] = engine.client.images.get(reference).attrs
        except docker.errors.ImageNotFound:
            return None
    return found


def recorded() -> tuple[BaseRecord, ...]:
    """Every base that was recorded, the newest first.

    Raises:
        StoreError: the record is damaged.
    """
    path = _path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        document = json.loads(text)
        return tuple(
            BaseRecord(Base(**entry["base"]), entry["layers"]) for entry in document["bases"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}, the record of base images, is damaged.",
            "Remove it; `harness env base` makes or finds a base again.",
        ) from error


def record(new: BaseRecord) -> None:
    """Write a base down; of those with the same Python and machine, it is the one to use now.

    Raises:
        StoreError: the user's data folder cannot be written.
    """
    path = _path()
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            others = [entry for entry in recorded() if entry.base.digest != new.base.digest]
            entries = [asdict(entry) for entry in (new, *others)]
            write_json(path, {"schema_version": _SCHEMA_VERSION, "bases": entries})


def candidates(engine: Engine, python: str) -> Iterator[BaseRecord]:
    """The recorded bases for a Python `X.Y` and an engine's machine, the newest first."""
    machine = machine_of(engine)
    for entry in recorded():
        if entry.base.python == python and entry.base.machine == machine:
            yield entry


def present(engine: Engine, pythons: Sequence[str]) -> Base | None:
    """The base for the first of `pythons` (`X.Y`) whose image is in an engine, if there is one.

    A base that somebody else made there by `harness env base` is found too.

    Raises:
        EngineError: the engine does not answer.
        StoreError: the record is damaged.
    """
    for python in pythons:
        newest = next(candidates(engine, python), None)
        if newest is not None:
            if is_there(engine, newest):
                return newest.base
            continue
        if (made := _made_by_others(engine, python)) is not None:
            return made
    return None


def is_there(engine: Engine, entry: BaseRecord) -> bool:
    """Whether a base's image is in an engine, with the content that was recorded."""
    image = inspect_image(engine, entry.base.tag)
    return image is not None and content_digest(image) == entry.layers


def _made_by_others(engine: Engine, python: str) -> Base | None:
    with engine_errors("Listing images"):
        images = engine.client.api.images(filters={"label": LABEL})
    for found in sorted(images, key=lambda one: int(one.get("Created") or 0), reverse=True):
        image = inspect_image(engine, str(found["Id"]))
        labels = (image or {}).get("Config", {}).get("Labels") or {}
        try:
            entry = BaseRecord(
                Base(digest=content_digest(image or {}), **json.loads(labels[LABEL])),
                content_digest(image or {}),
            )
        except (ValueError, KeyError, TypeError):
            continue
        matches = entry.base.python == python and entry.base.machine == machine_of(engine)
        if matches and is_there(engine, entry):
            return entry.base
    return None


def _path() -> Path:
    return data_dir() / "bases.json"


def base_lock() -> FileLock:
    """Held while a base is pulled or made, so that two processes do it once.

    Raises:
        StoreError: the cache cannot be written.
    """
    path = cache_dir() / "locks" / "base.lock"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return FileLock(path)
