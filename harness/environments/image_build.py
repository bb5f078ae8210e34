"""Builds environments as container images, once each, from locked wheels and without a network."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uv
from packaging.utils import canonicalize_name

from harness.canonical import storage_errors, write_json
from harness.containers.engine import Engine, engine_errors
from harness.environments import dockerfile
from harness.environments.base import ensure_base
from harness.environments.base_made import EPOCH
from harness.environments.base_records import inspect_image
from harness.environments.builder import find_builder, run_builder
from harness.environments.environment import Base, Environment, from_folder
from harness.environments.image_records import (
    IDENTITY_LABEL,
    NAME_LABEL,
    SBOM_FILE,
    carries,
    image_state,
    plain_tag,
    read_record,
    record_folder,
    remove_images,
    repository_of,
    sole_builder,
    tag_of,
    write_record,
)
from harness.environments.probe import probe_image
from harness.environments.provision import Provisioned
from harness.environments.system_packages import drop, with_system_packages
from harness.environments.wheels import Secrets, Wheel, fetch_wheels, locked
from harness.errors import ProvisionError
from harness.paths import cache_dir, runner_tree
from harness.progress import Progress

__all__ = ["PYTHON", "image_state", "provision_image", "remove_images"]

PYTHON = "/opt/env/bin/python"
"""The interpreter inside every environment image."""
_LABEL_TITLE = "org.opencontainers.image"


def provision_image(
    env: Environment, engine: Engine, progress: Progress, *, secrets: Secrets | None = None
) -> Provisioned:
    """Build an environment's image if it is not there yet, and give it.

    An image that is there without a record, from another machine or an older cache, is asked and
    recorded; one that is not what was recorded is built again. Two processes build it once.

    Raises:
        ProvisionError: a wheel cannot be fetched, the build or the probe fails, or nothing here
            builds images.
        EngineError: the engine does not answer.
        StoreError: no space is left for wheels or records.
    """
    if ready := _ready(env, engine):
        return ready
    with sole_builder(env, progress):
        if ready := _ready(env, engine):
            return ready
        record = read_record(env)
        found = _usable(env, engine, record)
        started = time.monotonic()
        new = found is None
        if found is None:
            if record:
                progress.note(f"The image of {env.name} is gone or was changed: it is built again")
            wheels = fetch_wheels(env, progress, secrets)
            record = _build(env, engine, wheels, progress, secrets or Secrets())
            found = _image(engine, tag_of(env))
        with progress.task(f"Probing {env.name}"):
            event = probe_image(
                engine, env.name, str(found["Id"]), PYTHON, env.backends, preparing=env.preparing
            )
        _check_packages(env, event)
        if new:
            record = {**record, "seconds": round(time.monotonic() - started, 3)}
        _write(env, engine, found, event, record)
    done = _ready(env, engine)
    if done is None:
        raise ProvisionError(
            f"The image of {env.name} was changed by somebody else while it was built.",
            "Try again.",
        )
    if new:
        progress.note(f"Built {env.name}: {done.size_bytes / 1e6:.0f} MB in {done.seconds:.1f} s")
    return done


def _ready(env: Environment, engine: Engine) -> Provisioned | None:
    """The built environment, if its image is there and was probed by the runner of today."""
    record = read_record(env)
    if not record or record.get("runner_sha256") != runner_tree()[1]:
        return None
    image = inspect_image(engine, str(record["image"]))
    if image is None or not carries(image, env):
        return None
    _tag(env, engine, image)
    event = record["probe"]
    return Provisioned(
        env=env,
        python=PYTHON,
        probe=event,
        packages=event.get("packages", {}),
        size_bytes=int(record["size_bytes"]),
        seconds=float(record["seconds"]),
        image=str(record["image"]),
    )


def _usable(env: Environment, engine: Engine, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The image that was recorded; without a record, the one that bears the tag and the label."""
    image = inspect_image(engine, str(record["image"]) if record else tag_of(env))
    return image if image is not None and carries(image, env) else None


def _image(engine: Engine, reference: str) -> dict[str, Any]:
    image = inspect_image(engine, reference)
    if image is None:
        raise ProvisionError(f"The image {reference} was removed while it was used.", "Try again.")
    return image


def _tag(env: Environment, engine: Engine, image: Mapping[str, Any]) -> None:
    """Point both tags of an environment at its image, where they point elsewhere."""
    repository = repository_of(env.name)
    there = {plain_tag(str(tag)) for tag in image.get("RepoTags") or ()}
    for tag in (env.identity[:12], "latest"):
        if f"{repository}:{tag}" not in there:
            with engine_errors(f"Tagging the image of {env.name}"):
                engine.client.api.tag(str(image["Id"]), repository, tag, force=True)


def _write(
    env: Environment,
    engine: Engine,
    image: Mapping[str, Any],
    event: dict[str, Any],
    record: Mapping[str, Any],
) -> None:
    # Slow to import, and only who makes an image needs it.
    from harness.environments.sbom import sbom_document  # noqa: PLC0415

    wheels = [Wheel(**wheel) for wheel in record.get("wheels", ())]
    write_json(record_folder(env) / SBOM_FILE, sbom_document(env, event, wheels))
    write_record(
        env,
        {
            "image": str(image["Id"]),
            "tag": tag_of(env),
            "base": None if env.base is None else env.base.reference,
            "base_digest": None if env.base is None else env.base.digest,
            "dockerfile_sha256": record.get("dockerfile_sha256"),
            "builder": record.get("builder"),
            "created": record.get("created"),
            "seconds": record.get("seconds", 0.0),
            "size_bytes": int(image.get("Size") or 0),
            "wheels": record.get("wheels", []),
            "runner_sha256": runner_tree()[1],
            "probe": event,
        },
    )
    _tag(env, engine, image)


def _check_packages(env: Environment, event: Mapping[str, Any]) -> None:
    """Hold what an image says it contains against its lock: a label alone proves nothing.

    Raises:
        ProvisionError: a locked package is missing or has another version.
    """
    inside: dict[str, str] = {
        canonicalize_name(name): str(found) for name, found in event.get("packages", {}).items()
    }
    pins = locked(from_folder(env).lock_path.read_text(encoding="utf-8"))
    wrong = [
        f"{name} is {inside.get(name, 'missing')}, not {version}"
        for name, (version, _) in pins.items()
        if inside.get(name) != version
    ]
    if wrong:
        raise ProvisionError(
            f"The image {tag_of(env)} does not hold what its lock says: {'; '.join(wrong[:3])}.",
            f"Remove it with `harness env remove {env.name}` and try again.",
        )


def _build(
    env: Environment,
    engine: Engine,
    wheels: Sequence[Wheel],
    progress: Progress,
    secrets: Secrets,
) -> dict[str, Any]:
    """Build and tag the image, and give the first part of its record."""
    builder = find_builder(engine)
    base = _base(env, engine, progress)
    size = int(_image(engine, base.tag).get("Size") or 0)
    with progress.task(f"Building {env.name}") as task:
        source = base.tag
        if env.folder is not None and env.folder.file.system_packages:
            source = with_system_packages(env, base, engine, builder, task, secrets)
        try:
            with _context(env, wheels) as context:
                arguments = [
                    "--network", "none", "--target", "environment", "--tag", tag_of(env),
                    "--file", str(dockerfile.path()), "--build-arg", f"BASE={source}",
                    "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}",
                    *_labels(env, base, size), str(context),
                ]  # fmt: skip
                run_builder(builder, arguments, env.name, task)
        finally:
            if source != base.tag:
                drop(engine, source)
    return {
        "dockerfile_sha256": dockerfile.sha256(),
        "builder": builder.words,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "wheels": [
            {"name": w.name, "version": w.version, "filename": w.filename, "sha256": w.sha256}
            for w in wheels
        ],
    }


def _base(env: Environment, engine: Engine, progress: Progress) -> Base:
    """The base that the environment was resolved with.

    Raises:
        ProvisionError: it is gone, and what could be had instead is not the same.
    """
    wanted = env.base
    if wanted is None:
        raise ValueError(f"{env.name} has no base image")
    if inspect_image(engine, wanted.tag) is not None:
        return wanted
    found = ensure_base(engine, (wanted.python,), progress, name=env.name)
    if found.digest != wanted.digest:
        raise ProvisionError(
            f"The base image of {env.name} ({wanted.reference}) was removed, and the one that "
            "replaces it has other content.",
            "Start the same command again: it uses the new base.",
        )
    return found


@contextlib.contextmanager
def _context(env: Environment, wheels: Sequence[Wheel]) -> Iterator[Path]:
    """A folder with all that the build may see: the wheels, the lock and uv."""
    place = cache_dir() / "images"
    with storage_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".context-", dir=place) as folder:
            context = Path(folder)
            (context / "wheels").mkdir()
            for wheel in wheels:
                _link(wheel.path, context / "wheels" / wheel.filename)
            shutil.copyfile(from_folder(env).lock_path, context / "requirements.lock")
            shutil.copy(uv.find_uv_bin(), context / "uv")
            yield context


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Some disks know no hard links.
        shutil.copyfile(source, target)


def _labels(env: Environment, base: Base, base_size: int) -> list[str]:
    """Labels that say what an image is, none of which holds a date or a place."""
    labels = {
        f"{_LABEL_TITLE}.title": env.name,
        f"{_LABEL_TITLE}.version": env.version,
        f"{_LABEL_TITLE}.description": from_folder(env).folder.file.description,
        f"{_LABEL_TITLE}.base.name": base.reference,
        f"{_LABEL_TITLE}.base.digest": base.digest,
        IDENTITY_LABEL: env.identity,
        NAME_LABEL: env.name,
        "io.harness.stack": env.stack,
        "io.harness.accelerator": env.accelerator,
        "io.harness.lock-sha256": str(env.lock_sha256),
        "io.harness.base-size": str(base_size),
    }
    return [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
