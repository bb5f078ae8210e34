"""Pixels made inside an environment: decoded and resized by its own library, or corrupted there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from harness.canonical import atomic_folder, key_of, sha256_file, storage_errors, write_json
from harness.datasets.inputs import Excluded, PreparedInputs
from harness.datasets.recipes import Geometry
from harness.doctor.machine import usable_cores
from harness.errors import DatasetError, ExecutionError
from harness.execution.side_jobs import Bench, side_job, take
from harness.paths import cache_dir, runner_tree
from harness.progress import Progress
from harness.spec.feeding import Corruptor, Preprocessor
from harness.trees import remove_tree

_SCHEMA_VERSION = 1
_CORRUPTION_SEED = 0
_ROOM_BYTES = 256 << 20
_ROOT_DEPTH = 2
"""A folder this far below the root may be shown to a container."""


@dataclass(frozen=True)
class Made:
    """Pixels that an environment made, and the images that it could not use."""

    inputs: PreparedInputs
    failed: tuple[Excluded, ...]


def prepare_in(
    bench: Bench,
    how: Preprocessor,
    images: PreparedInputs,
    root: Path,
    geometry: Geometry,
    progress: Progress,
) -> Made:
    """Have images decoded, resized and cropped by a library inside its environment, once.

    Args:
        bench: the environment.
        how: which library, with what settings.
        images: the reference pixels of the same images: their names, hashes and labels count.
        root: the folder that the names are relative to.
        geometry: sizes and method.
        progress: where it reports to.

    Returns:
        The pixels, uint8 or float32 [N, height, width, 3], kept in the cache; without the images
        that failed.

    Raises:
        DatasetError: the preprocessor cannot do it, or made something else than was asked for.
        ProvisionError, EngineError, StoreError: the environment cannot be made.
    """
    job = {
        "preprocessor": how.name,
        "settings": how.settings,
        "geometry": geometry.document(),
        "images": [str(root / name) for name in images.names],
        "source": None,
        "corruption": None,
    }
    return _made(bench, job, images, how.text, (geometry.height, geometry.width), progress, root)


def corrupt_in(
    bench: Bench, how: Corruptor, pixels: PreparedInputs, geometry: Geometry, progress: Progress
) -> Made:
    """Have a corruption applied to prepared pixels, each image with a seed of its own.

    Args:
        bench: the environment that has the library.
        how: the corruption.
        pixels: uint8 [N, height, width, 3].
        geometry: of the pixels.
        progress: where it reports to.

    Raises:
        DatasetError: the library does not know the corruption, or fails.
        ProvisionError, EngineError, StoreError: the environment cannot be made.
    """
    corruption = {
        "name": how.name,
        "severity": how.severity,
        "seed": _CORRUPTION_SEED,
        "keys": list(pixels.sha256),
    }
    job = {
        "preprocessor": None,
        "settings": {},
        "geometry": None,
        "images": None,
        "source": str(pixels.path),
        "corruption": corruption,
    }
    size = (geometry.height, geometry.width)
    return _made(bench, job, pixels, f"{how.name}:{how.severity}", size, progress)


def _made(
    bench: Bench,
    job: Mapping[str, Any],
    images: PreparedInputs,
    title: str,
    size: tuple[int, int],
    progress: Progress,
    root: Path | None = None,
) -> Made:
    told = {name: value for name, value in job.items() if name not in {"images", "source"}}
    told |= {
        "schema_version": _SCHEMA_VERSION,
        "images": list(images.sha256),
        "pixels": images.key if job["source"] else None,
        "environment": bench.env.identity,
        "runner": runner_tree()[1],
    }
    key = key_of(told)
    target = cache_dir() / "pixels" / key
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{key}.lock")):
            record = _read(target)
            if record is None:
                with _visible(bench, images, root, key) as places:
                    shown = {**job, "images": places} if places else job
                    record = _make(bench, shown, key, target, images.count, title, size, progress)
    failed = {int(one["place"]): str(one["reason"]) for one in record["excluded"]}
    kept = [place for place in range(images.count) if place not in failed]
    if not kept:
        raise DatasetError(
            f"{title} in {bench.env.name} can use none of the {images.count} images: "
            f"{next(iter(failed.values()))}",
            "`harness env show` says what it reads.",
        )
    inputs = replace(
        images,
        # What was asked for in two spellings is one: the settings that took effect count.
        key=key_of({**told, "settings": record["settings"]}),
        path=target / "pixels.npy",
        count=len(kept),
        names=tuple(images.names[i] for i in kept),
        labels=tuple(images.labels[i] for i in kept),
        sha256=tuple(images.sha256[i] for i in kept),
    )
    return Made(
        inputs, tuple(Excluded(images.names[i], f"{title}: {why}") for i, why in failed.items())
    )


def _read(target: Path) -> dict[str, Any] | None:
    """What is recorded of pixels: those left out, the settings; None where nothing is there."""
    try:
        record: dict[str, Any] = json.loads((target / "inputs.json").read_text(encoding="utf-8"))
        whole = (target / "pixels.npy").stat().st_size == record["size_bytes"]
        if whole and isinstance(record["settings"], dict) and isinstance(record["excluded"], list):
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(target, ignore_errors=True)
    return None


def _make(
    bench: Bench,
    job: Mapping[str, Any],
    key: str,
    target: Path,
    count: int,
    title: str,
    size: tuple[int, int],
    progress: Progress,
) -> dict[str, Any]:
    most = count * size[0] * size[1] * 3 * np.dtype(np.float32).itemsize + _ROOM_BYTES
    bench = replace(bench, limits=replace(bench.limits, output_bytes=most))
    document = {
        "schema_version": 1,
        "kind": "prepare",
        "target": "pixels.npy",
        "threads": len(usable_cores()),
        **job,
    }
    folder = target.with_name(f".{key}.{uuid.uuid4().hex[:6]}.job")
    what = f"Preparing pixels with {title} in {bench.env.name}"
    try:
        with (
            side_job(
                bench, document, "prepared", folder, progress, title=what, total=count
            ) as event,
            atomic_folder(target) as staged,
        ):
            failed = {int(one["place"]): str(one["reason"]) for one in event["failed"]}
            take(folder / "pixels.npy", staged / "pixels.npy")
            if len(failed) < count:
                _check(staged / "pixels.npy", (count - len(failed), *size, 3))
            record = {
                "schema_version": _SCHEMA_VERSION,
                "key": key,
                "count": count - len(failed),
                "size_bytes": (staged / "pixels.npy").stat().st_size,
                "environment": bench.env.name,
                "environment_identity": bench.env.identity,
                "settings": _effective(event["settings"]),
                "versions": event["versions"],
                "geometry": job["geometry"],
                "corruption": job["corruption"] and {**job["corruption"], "keys": None},
                "excluded": [{"place": i, "reason": r} for i, r in sorted(failed.items())],
            }
            write_json(staged / "inputs.json", record)
    except ExecutionError as error:
        raise DatasetError(f"{what} failed: {error.message}", error.remedy) from error
    return record


def _effective(settings: Any) -> dict[str, Any]:
    """The settings that took effect, as the environment says: they become part of a key."""
    if isinstance(settings, dict):
        with contextlib.suppress(ValueError):
            key_of(settings)
            return settings
    raise ExecutionError("invalid-output", "it says no settings that could be written down")


def _check(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse what is not the pixels that were asked for; what made them may be anybody's code."""
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ExecutionError("invalid-output", f"its pixels cannot be read: {error}") from error
    if pixels.shape != shape or pixels.dtype not in (np.uint8, np.float32):
        raise ExecutionError(
            "invalid-output",
            f"it made {pixels.dtype} {list(pixels.shape)} where 8-bit or float32 pixels "
            f"{list(shape)} were wanted",
        )


@contextlib.contextmanager
def _visible(
    bench: Bench, images: PreparedInputs, root: Path | None, key: str
) -> Iterator[list[str] | None]:
    """The files as a container can be shown them: below one folder, with no link on the way.

    Where links lead out of that folder, the files are copied into the cache, for as long as the
    block runs. The caller holds the key's lock. None: the files may be read where they lie.
    """
    if root is None or bench.env.executor != "docker":
        yield None
        return
    real = [(root / name).resolve() for name in images.names]
    common = Path(os.path.commonpath([path.parent for path in real]))
    if len(common.parts) > _ROOT_DEPTH and all(p.is_relative_to(root.resolve()) for p in real):
        yield [str(path) for path in real]
        return
    folder = cache_dir() / "images" / "shown" / key
    # What is there already was left by a run that was killed: whole or not, nobody knows.
    remove_tree(folder)
    try:
        yield _copied(real, images.sha256, folder)
    finally:
        remove_tree(folder)


def _copied(files: Sequence[Path], digests: Sequence[str], folder: Path) -> list[str]:
    """Copies of files, each checked to be what its digest says."""
    copies = [folder / f"{d}{path.suffix}" for d, path in zip(digests, files, strict=True)]
    with storage_errors(folder):
        folder.mkdir(parents=True)
        for source, digest, copy in zip(files, digests, copies, strict=True):
            shutil.copyfile(source, copy)
            if sha256_file(copy) != digest:
                raise DatasetError(
                    f"{source} changed while it was read.", "Run again when nothing writes there."
                )
    return [str(copy) for copy in copies]


def reasons(made: Sequence[Made]) -> dict[str, str]:
    """Why images cannot be used by one preprocessor or another, by name."""
    return {one.name: one.reason for each in made for one in each.failed}
