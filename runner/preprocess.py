"""A `prepare` job: image files to pixels by one library, or prepared pixels corrupted."""

from __future__ import annotations

import functools
import os
import stat
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, Callable, Dict, Iterator, List, Sequence, Union

import numpy as np

from runner import preprocessors
from runner.errors import RunnerError, classify
from runner.events import Events
from runner.prepare_jobs import CorruptJob, Geometry, PrepareJob
from runner.preprocessors.base import ImageError
from runner.support import corruptions
from runner.support.conversion import sha256
from runner.support.npy_rows import load_rows
from runner.support.npy_writer import NpyWriter

MAX_FILE_BYTES = 1 << 30
"""Larger files are left out: each is read whole."""

_AHEAD = 8
"""Images a thread that may be ready before their turn to be written."""


def prepare(job: Union[PrepareJob, CorruptJob], events: Events) -> None:
    """Make the target and emit the event `prepared`.

    Raises:
        RunnerError: kind `unsupported`, for a preprocessor, setting, interpolation or corruption
            that is not to be had here; `job`, for a source or target that can't be used.
    """
    if isinstance(job, CorruptJob):
        _corrupt(job, events)
    else:
        _prepare_images(job, events)


def _prepare_images(job: PrepareJob, events: Events) -> None:
    module = preprocessors.load(job.preprocessor)
    settings = preprocessors.effective(job.preprocessor, module, job.settings)
    geometry = job.geometry
    getattr(module, "check", _accept)(geometry, settings)
    getattr(module, "start", _nothing)()
    failed: List[Dict[str, Any]] = []
    work = functools.partial(_pixels, module, geometry, settings)
    shape = (geometry.height, geometry.width, 3)
    with warnings.catch_warnings(), NpyWriter(job.target, shape) as writer:
        # Set once for all threads. What a library warns of, it also decides: pixels, or an error.
        warnings.simplefilter("ignore")
        for place, found in enumerate(_each(work, job.images, job.threads)):
            if isinstance(found, str):
                failed.append({"place": place, "reason": found})
            else:
                writer.add(found)
            events.emit("progress", droppable=True, done=place + 1, total=len(job.images))
        writer.finish()
    _say(events, job.target, writer, failed, module.versions(), settings)


def _corrupt(job: CorruptJob, events: Events) -> None:
    rows = load_rows(job.source, "pixels")
    corrupted = corruptions.corrupt(rows, job.corruption)
    with warnings.catch_warnings(), NpyWriter(job.target, tuple(rows.shape[1:])) as writer:
        warnings.simplefilter("ignore")
        for place, row in enumerate(corrupted):
            writer.add(row)
            events.emit("progress", droppable=True, done=place + 1, total=len(rows))
        writer.finish()
    settings = {"corruption": job.corruption.name, "severity": job.corruption.severity}
    versions = corruptions.versions()
    _say(events, job.target, writer, [], versions, dict(settings, seed=job.corruption.seed))


def _say(
    events: Events,
    target: str,
    writer: NpyWriter,
    failed: List[Dict[str, Any]],
    versions: Dict[str, str],
    settings: Dict[str, Any],
) -> None:
    events.emit(
        "prepared",
        files={os.path.basename(target): sha256(target)},
        count=writer.count,
        dtype=writer.dtype,
        failed=failed,
        versions=versions,
        settings=settings,
    )


def _each(
    work: Callable[[str], Union[np.ndarray, str]], images: Sequence[str], threads: int
) -> Iterator[Union[np.ndarray, str]]:
    """What each image became, in their order, by as many threads as are asked for."""
    if threads == 1:
        yield from map(work, images)
        return
    size = threads * _AHEAD
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for first in range(0, len(images), size):
            yield from pool.map(work, images[first : first + size])


def _pixels(
    module: ModuleType, geometry: Geometry, settings: Dict[str, Any], path: str
) -> Union[np.ndarray, str]:
    """The pixels of a file, or the reason why it has none.

    Raises:
        RunnerError: naming the file, for whatever else goes wrong.
    """
    try:
        pixels: np.ndarray = module.decode_and_fit(_read(path), geometry, settings)
    except ImageError as error:
        return str(error)
    except MemoryError:
        return "there is not enough memory to decode it"
    except Exception as error:
        # A mistake in the preprocessor and not in the image: it would spoil others unseen.
        failed = classify(error)
        raise RunnerError(failed.kind, f"{path}: {failed.message}", failed.detail) from error
    return pixels


def _read(path: str) -> bytes:
    """The bytes of a file.

    Raises:
        ImageError: it can't be read, is no file, or is too large.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise ImageError("it is not a file")
        if found.st_size > MAX_FILE_BYTES:
            raise ImageError(f"the file is larger than {MAX_FILE_BYTES >> 20} MiB")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"it cannot be read: {error.strerror or error}") from error


def _accept(_geometry: Geometry, _settings: Dict[str, Any]) -> None:
    """What stands in for the `check` of a module that has none."""


def _nothing() -> None:
    """What stands in for the `start` of a module that has none."""
