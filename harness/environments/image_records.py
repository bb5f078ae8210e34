"""What is known of environment images that were built: a record beside each, and its state."""

from __future__ import annotations

import contextlib
import glob
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker.errors
from filelock import FileLock, Timeout

from harness.canonical import storage_errors, write_json
from harness.containers.engine import Engine, engine_errors
from harness.environments.base_records import inspect_image
from harness.environments.environment import Environment
from harness.environments.provision import State
from harness.environments.provision import size_bytes as folder_size
from harness.paths import cache_dir
from harness.progress import Progress

RECORD_FILE = "record.json"
SBOM_FILE = "sbom.cdx.json"
IDENTITY_LABEL = "io.harness.identity"
NAME_LABEL = "io.harness.environment"
SCHEMA_VERSION = 1


def record_folder(env: Environment) -> Path:
    """Where what is known of an environment's image is kept."""
    return cache_dir() / "images" / f"{env.name}-{env.identity[:12]}"


def tag_of(env: Environment) -> str:
    """The tag that says which content: `harness/onnxruntime-1.31:8eab0e0e014b`."""
    return f"{repository_of(env.name)}:{env.identity[:12]}"


def repository_of(name: str) -> str:
    """The local repository of an environment's images; registries allow no capitals."""
    return f"harness/{name.lower().replace('+', '-')}"


def plain_tag(tag: str) -> str:
    """A tag without the registry that Podman puts before those that name none."""
    return tag.removeprefix("localhost/").removeprefix("docker.io/")


def read_record(env: Environment) -> dict[str, Any]:
    """The record of an environment's image; empty where there is none, or a damaged one."""
    try:
        document = json.loads((record_folder(env) / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = (
        isinstance(document, dict)
        and document.get("schema_version") == SCHEMA_VERSION
        and document.get("identity") == env.identity
    )
    return document if whole else {}


def write_record(env: Environment, document: Mapping[str, Any]) -> None:
    """Write the record of an environment's image.

    Raises:
        StoreError: the cache cannot be written.
    """
    write_json(
        record_folder(env) / RECORD_FILE,
        {
            "schema_version": SCHEMA_VERSION,
            "name": env.name,
            "identity": env.identity,
            "lock_sha256": env.lock_sha256,
            **document,
        },
    )


def image_state(env: Environment, engine: Engine) -> State:
    """Whether an environment's image is built, absent, or broken (it will be built again).

    Raises:
        EngineError: the engine does not answer.
    """
    record = read_record(env)
    tagged = inspect_image(engine, tag_of(env))
    if record:
        recorded = inspect_image(engine, str(record["image"]))
        if recorded is not None and carries(recorded, env):
            return "built"
        return "broken"
    if tagged is None:
        return "absent"
    return "built" if carries(tagged, env) else "broken"


def carries(image: Mapping[str, Any], env: Environment) -> bool:
    """Whether an image (an engine's answer) was built as this environment."""
    labels = image.get("Config", {}).get("Labels") or {}
    return bool(labels.get(IDENTITY_LABEL) == env.identity)


def remove_images(name: str, engine: Engine) -> int:
    """Remove the images of an environment of that name, whatever their content; the bytes freed.

    An image's base is kept: others are built on it. Tags that somebody else gave stay, and with
    them the image.

    Raises:
        EngineError: a container still uses one, or the engine does not answer.
        StoreError: a record may not be removed.
    """
    freed = 0
    with engine_errors(f"Listing the images of {name}"):
        found = engine.client.api.images(filters={"label": f"{NAME_LABEL}={name}"})
    ours = f"{repository_of(name)}:"
    for summary in found:
        image = inspect_image(engine, str(summary["Id"]))
        if image is None:
            continue
        tags = [str(tag) for tag in image.get("RepoTags") or ()]
        bare = [plain_tag(tag) for tag in tags]
        for tag in (tag for tag, plain in zip(tags, bare, strict=True) if plain.startswith(ours)):
            _remove_image(engine, tag)
        if not tags:
            _remove_image(engine, str(summary["Id"]))
        if inspect_image(engine, str(summary["Id"])) is None:
            freed += own_size(image)
    pattern = f"{glob.escape(name)}-{'[0-9a-f]' * 12}"
    for folder in (cache_dir() / "images").glob(pattern):
        freed += folder_size(folder)
        with storage_errors(folder), lock_of(folder):
            shutil.rmtree(folder)
    return freed


def own_size(image: Mapping[str, Any]) -> int:
    """The bytes of an image without its base, as far as its labels say how large that was."""
    labels = image.get("Config", {}).get("Labels") or {}
    base = str(labels.get("io.harness.base-size", "0"))
    return max(0, int(image.get("Size") or 0) - (int(base) if base.isdigit() else 0))


def _remove_image(engine: Engine, reference: str) -> None:
    with (
        engine_errors(f"Removing the image {reference}"),
        contextlib.suppress(docker.errors.ImageNotFound),
    ):
        engine.client.api.remove_image(reference)


def lock_of(folder: Path) -> FileLock:
    """The lock under which a record and its image are made or removed.

    Raises:
        StoreError: the cache cannot be written.
    """
    path = cache_dir() / "locks" / f"image-{folder.name}.lock"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return FileLock(path)


@contextlib.contextmanager
def sole_builder(env: Environment, progress: Progress) -> Iterator[None]:
    """Hold an environment's lock; where another process builds it, that is said and waited for."""
    lock = lock_of(record_folder(env))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with progress.task(f"Waiting for another process that builds {env.name}"):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
