"""Pixels: every image decoded, resized and cropped once, into one array that all cells share."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from filelock import FileLock

from harness.canonical import atomic_folder, key_of, sha256_file, storage_errors, write_json
from harness.datasets.dataset import Dataset, Item
from harness.datasets.decode import ImageError, decoder_versions, image_pixels
from harness.datasets.inputs import Excluded, PreparedInputs
from harness.datasets.recipes import Geometry, Recipe, geometry
from harness.errors import DatasetError, StoreError
from harness.progress import Progress, Task

_SCHEMA_VERSION = 1
_CHUNK = 16
_FEW = 64
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class _Hashed:
    item: Item
    sha256: str


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker process is given: where to read, where to write."""

    target: str
    header_bytes: int
    geometry: Geometry
    images: tuple[tuple[int, str], ...]


def prepare(
    dataset: Dataset,
    recipe: Recipe,
    height: int,
    width: int,
    cache: Path,
    progress: Progress,
    jobs: int | None = None,
    *,
    squash: bool = False,
) -> PreparedInputs:
    """Decode, resize and crop every image of a dataset, once for all cells and sweeps.

    The result lies in `cache`/pixels/<key>: `pixels.npy`, uint8 [N, height, width, 3], and
    `inputs.json`. The key is over the images' bytes and order, the geometry and the versions of
    decoder and resizer; normalisation, names and labels are no part of it. A second call decodes
    nothing. Two processes at once are safe: the later one waits and then finds the result.

    Args:
        dataset: the images.
        recipe: its geometry is used; normalisation is the runner's.
        height: of the model's input, in pixels.
        width: of the model's input, in pixels.
        cache: the cache folder.
        progress: where hashing and decoding report to.
        jobs: worker processes; as many as there are usable cores if None.
        squash: resize straight to height x width, with the aspect lost.

    Raises:
        DatasetError: no image can be used.
        ModelError: the recipe resizes to less than height x width.
        StoreError: the cache cannot be written, or has no space.
    """
    jobs = jobs or _usable_cores()
    hashed, unreadable = _hash_all(dataset, jobs, progress)
    if not hashed:
        raise _nothing_left(dataset, unreadable)
    plan = geometry(recipe, height, width, squash=squash)
    key = key_of(
        {
            "schema_version": _SCHEMA_VERSION,
            "images": [h.sha256 for h in hashed],
            "geometry": plan.document(),
            "decoder": decoder_versions(),
        }
    )
    target = cache / "pixels" / key
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{key}.lock")):
            reasons = _read_cached(target, plan, len(hashed))
            if reasons is None:
                reasons = _make(target, key, dataset, hashed, plan, jobs, progress)
    kept = [h for i, h in enumerate(hashed) if i not in reasons]
    undecodable = [Excluded(hashed[i].item.path, reason) for i, reason in sorted(reasons.items())]
    excluded = (*dataset.excluded, *unreadable, *undecodable)
    return PreparedInputs(
        key=key,
        path=target / "pixels.npy",
        kind="pixels",
        count=len(kept),
        names=tuple(h.item.path for h in kept),
        labels=tuple(h.item.label for h in kept),
        sha256=tuple(h.sha256 for h in kept),
        classes=dataset.classes,
        excluded=tuple(sorted(excluded, key=lambda e: e.name)),
        layout=dataset.layout,
    )


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def _hash_all(
    dataset: Dataset, jobs: int, progress: Progress
) -> tuple[list[_Hashed], list[Excluded]]:
    hashed: list[_Hashed] = []
    unreadable: list[Excluded] = []

    def digest(item: Item) -> str | OSError:
        path = dataset.root / item.path
        try:
            if not path.is_file():
                return OSError("it is not a file, or a link to nothing")
            return sha256_file(path)
        except OSError as error:
            return error

    with (
        progress.task("Reading images", total=len(dataset.items)) as task,
        ThreadPoolExecutor(max_workers=min(jobs, 16)) as pool,
    ):
        for item, result in zip(dataset.items, pool.map(digest, dataset.items), strict=True):
            if isinstance(result, OSError):
                reason = f"it cannot be read: {result.strerror or result}"
                unreadable.append(Excluded(item.path, reason))
            else:
                hashed.append(_Hashed(item, result))
            task.advance()
    return hashed, unreadable


def _nothing_left(dataset: Dataset, excluded: Sequence[Excluded]) -> DatasetError:
    shown = "; ".join(f"{e.name}: {e.reason}" for e in excluded[:3])
    return DatasetError(
        f"None of the {len(dataset.items)} images in {dataset.root} can be used ({shown}).",
        "Check that the files are whole images.",
    )


def _read_cached(target: Path, plan: Geometry, count: int) -> dict[int, str] | None:
    """The reasons of images left out, by their place; None where there is nothing usable."""
    try:
        record = json.loads((target / "inputs.json").read_text(encoding="utf-8"))
        reasons = {int(e["place"]): str(e["reason"]) for e in record["excluded"]}
        shape = (count - len(reasons), plan.height, plan.width, 3)
        size = len(_npy_header(shape)) + int(np.prod(shape))
        if (target / "pixels.npy").stat().st_size == size:
            return reasons
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(target, ignore_errors=True)
    return None


def _make(
    target: Path,
    key: str,
    dataset: Dataset,
    hashed: Sequence[_Hashed],
    plan: Geometry,
    jobs: int,
    progress: Progress,
) -> dict[int, str]:
    row_bytes = plan.height * plan.width * 3
    _check_space(target, row_bytes * len(hashed))
    for cut in target.parent.glob(f".{key}.*.staged"):
        shutil.rmtree(cut, ignore_errors=True)
    with atomic_folder(target) as staged:
        array = staged / "pixels.npy"
        header = _npy_header((len(hashed), plan.height, plan.width, 3))
        array.write_bytes(header)
        paths = tuple(str(dataset.root / h.item.path) for h in hashed)
        with progress.task("Preparing pixels", total=len(hashed)) as task:
            images = list(enumerate(paths))
            reasons = dict(_run(str(array), len(header), plan, images, jobs, task))
        if len(reasons) == len(hashed):
            raise _nothing_left(
                dataset, [Excluded(hashed[i].item.path, r) for i, r in sorted(reasons.items())]
            )
        _compact(array, len(hashed), reasons, (plan.height, plan.width, 3))
        write_json(
            staged / "inputs.json",
            {
                "schema_version": _SCHEMA_VERSION,
                "key": key,
                "count": len(hashed) - len(reasons),
                "geometry": plan.document(),
                "decoder": decoder_versions(),
                "sha256": [h.sha256 for h in hashed],
                "excluded": [{"place": i, "reason": r} for i, r in sorted(reasons.items())],
            },
        )
    return reasons


def _check_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise StoreError(
            f"Prepared pixels need {needed / _MIB:.0f} MiB, but {target.parent} has "
            f"{free / _MIB:.0f} MiB free.",
            "Free some space, use fewer images with --limit N, or move the caches with "
            "HARNESS_CACHE=DIR.",
        )


def _npy_header(shape: tuple[int, ...]) -> bytes:
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def _run(
    target: str,
    header_bytes: int,
    plan: Geometry,
    images: list[tuple[int, str]],
    jobs: int,
    task: Task,
) -> Iterator[tuple[int, str]]:
    """Decode all images; yield place and reason of each that cannot be used."""

    def job(chunk: Iterable[tuple[int, str]]) -> _Job:
        return _Job(target, header_bytes, plan, tuple(chunk))

    if jobs == 1 or len(images) < _FEW:
        for image in images:
            yield from _decode(job([image]))
            task.advance()
        return
    chunks = [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]
    while chunks:
        done: set[int] = set()
        try:
            with _pool(min(jobs, len(chunks))) as pool:
                futures = {pool.submit(_decode, job(c)): i for i, c in enumerate(chunks)}
                try:
                    for future in as_completed(futures):
                        yield from future.result()
                        done.add(futures[future])
                        task.advance(len(chunks[futures[future]]))
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
        except BrokenProcessPool:
            left = [chunk for i, chunk in enumerate(chunks) if i not in done]
        else:
            return
        # A decoder took its process down. The pool hands chunks out in order and a few ahead,
        # so the image is among the first that are left: a process for each of those finds it.
        suspects, chunks = left[: 2 * jobs + 1], left[2 * jobs + 1 :]
        for image in [image for chunk in suspects for image in chunk]:
            yield from _decode_alone(job([image]))
            task.advance()


def _decode_alone(job: _Job) -> list[tuple[int, str]]:
    try:
        with _pool(1) as pool:
            return pool.submit(_decode, job).result()
    except BrokenProcessPool:
        return [(place, "decoding it ends the process") for place, _ in job.images]


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not fork: progress bars have threads, and a forked child may inherit a held lock.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def end_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(130)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _decode(job: _Job) -> list[tuple[int, str]]:
    """Write each image's pixels to its place in the array; the reasons of those that fail."""
    row_bytes = job.geometry.height * job.geometry.width * 3
    reasons = []
    with Path(job.target).open("r+b") as stream:
        for place, path in job.images:
            try:
                pixels = image_pixels(Path(path), job.geometry)
            except ImageError as error:
                reasons.append((place, str(error)))
                continue
            # Plain writes: a full disk is then an error, where a memory map is a bus error.
            stream.seek(job.header_bytes + place * row_bytes)
            stream.write(pixels.tobytes())
    return reasons


def _compact(
    array: Path, count: int, reasons: dict[int, str], row_shape: tuple[int, int, int]
) -> None:
    """Close the gaps of images left out, and write the header of what remains."""
    before = _npy_header((count, *row_shape))
    header = _npy_header((count - len(reasons), *row_shape))
    if len(header) != len(before):
        raise AssertionError("NumPy pads headers of these shapes to one length")
    row_bytes = int(np.prod(row_shape))
    with array.open("r+b") as stream:
        kept = 0
        for place in range(count):
            if place in reasons:
                continue
            if kept != place:
                stream.seek(len(header) + place * row_bytes)
                row = stream.read(row_bytes)
                stream.seek(len(header) + kept * row_bytes)
                stream.write(row)
            kept += 1
        stream.seek(0)
        stream.write(header)
        stream.truncate(len(header) + kept * row_bytes)
