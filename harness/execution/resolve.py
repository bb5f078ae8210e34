"""From a checked spec to what exists on this machine: models, prepared inputs, environments."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.containers.engine import Engine, connect
from harness.containers.volumes import open_volume
from harness.datasets.arrays import count_rows, from_array
from harness.datasets.classes import Class, SynsetList, load_synsets
from harness.datasets.dataset import Dataset
from harness.datasets.inputs import PreparedInputs
from harness.datasets.layouts import discover
from harness.datasets.subsets import subset
from harness.doctor.gpus import Gpu
from harness.doctor.machine import cpu_flags
from harness.environments.base import ensure_base
from harness.errors import DatasetError, ModelError, SpecError
from harness.execution.assemble import container_limits
from harness.execution.benches import Benches
from harness.execution.checkpoints import Loaded, find_models, load_models
from harness.execution.commit import class_mismatch
from harness.execution.feeding import feed_images, keyed
from harness.execution.seeding import make_seeded
from harness.execution.stacks import Stacks, closed_on_error, devices_of, resolve_stacks
from harness.execution.workshops import Source, find_workshops
from harness.models.checkpoint import check_array, input_plan
from harness.models.entries import CheckpointEntry
from harness.models.model_file import ModelFile
from harness.paths import cache_dir, runner_tree
from harness.plan.feeds import USUAL, CellInputs, Feeds, feeds_of
from harness.plan.parts import Place, Subject, Workshop
from harness.plan.ways import barred_for
from harness.progress import Progress, SilentProgress
from harness.spec.models import InputsEntry, SweepSpec

_PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Resolved:
    """A spec with everything that it names found and read.

    Attributes:
        subjects: a model with its inputs each, in the spec's order.
        stacks: the environments, and the engine that some of them need.
        inputs: the prepared inputs, by inputs key.
        place: runner and devices.
        gpus: the GPUs among the devices, by UUID.
        workshops: environments that convert for those that cannot.
    """

    subjects: tuple[Subject, ...]
    stacks: Stacks
    inputs: dict[str, PreparedInputs]
    place: Place
    gpus: dict[str, Gpu]
    workshops: tuple[Workshop, ...] = ()


def resolve_spec(spec: SweepSpec, progress: Progress) -> Resolved:
    """Find and read all that a spec names.

    Keys hold hashes, so what is hashed is made here: weights are downloaded or seeded, pixels
    prepared, also by environments that are built for it. No cell's environment is.

    Raises:
        ModelError, DatasetError, EnvironmentSpecError, SpecError, ProvisionError, StoreError:
            whatever cannot be used, with its remedy.
    """
    named = find_models(spec)
    devices, gpus = devices_of(spec)
    place = Place(runner_tree()[1], devices, frozenset(cpu_flags()))
    found = resolve_stacks(spec, progress)
    with (
        closed_on_error(found.engine),
        _images(spec, found.engine, progress) as folder,
    ):
        benches = Benches(found, container_limits(spec), progress)
        dataset = None if folder is None else _dataset(spec, folder, progress)
        seeder = partial(_seeded, spec, dataset, benches, found, progress)
        models = load_models(spec, named, seeder, progress)
        workshops = tuple(find_workshops(spec, map(_source, models), found, progress))
        subjects, inputs = _subjects(spec, models, dataset, found, benches, progress)
        return Resolved(tuple(subjects), found, inputs, place, gpus, workshops)


def count_inputs(spec: SweepSpec) -> int:
    """How many images or rows a sweep runs over; nothing is decoded.

    Raises:
        DatasetError: they cannot be found or read.
    """
    progress = SilentProgress()
    if spec.inputs is not None:
        rows = count_rows(spec.inputs.path)
        return min(rows, spec.inputs.limit or rows)
    with _images(spec, None, progress) as folder:
        assert folder is not None  # noqa: S101 - the spec has either data or inputs
        return len(_dataset(spec, folder, progress).items)


def _source(one: Loaded) -> Source:
    """What there is to convert."""
    architecture = one.network.architecture if one.network else None
    file_format = one.checkpoint.file.format
    return file_format, barred_for(file_format, architecture)


def _seeded(
    spec: SweepSpec,
    dataset: Dataset | None,
    benches: Benches,
    found: Stacks,
    progress: Progress,
    entry: CheckpointEntry,
) -> Path:
    """The weights of a seeded checkpoint, fitted on the sweep's own images."""
    if dataset is None or spec.data is None:
        raise SpecError(
            f"{entry.name} is fitted on images, and this sweep has none.",
            "Give images with --data DIR.",
        )
    return make_seeded(
        entry,
        dataset,
        progress=progress,
        seed=spec.data.seed,
        executor=benches.executor,
        engine=found.engine,
        limits=container_limits(spec),
    )


@contextlib.contextmanager
def _images(spec: SweepSpec, engine: Engine | None, progress: Progress) -> Iterator[Path | None]:
    """The folder of images as it can be read here, also where it lies in a named volume."""
    if spec.data is None or spec.data.volume is None:
        yield spec.data.path if spec.data else None
        return
    with contextlib.ExitStack() as held:
        if engine is None:
            engine = held.enter_context(contextlib.closing(connect()))
        image = partial(_volume_image, engine, progress)
        yield held.enter_context(open_volume(engine, spec.data.volume, image, progress))


def _volume_image(engine: Engine, progress: Progress) -> str:
    """An image for the container that a volume is copied out through; nothing runs in it."""
    return ensure_base(engine, _PYTHONS, progress).tag


def _subjects(
    spec: SweepSpec,
    models: Sequence[Loaded],
    dataset: Dataset | None,
    found: Stacks,
    benches: Benches,
    progress: Progress,
) -> tuple[list[Subject], dict[str, PreparedInputs]]:
    if spec.inputs is not None:
        return _fed_arrays(spec, spec.inputs, models, progress)
    assert dataset is not None  # noqa: S101 - the spec has either data or inputs
    for one in models:
        _check_known_classes(one, dataset.classes, [item.label for item in dataset.items])
    feeds, inputs = feed_images(
        models, feeds_of(spec.axes), dataset, found.stacks, benches, progress
    )
    return [_subject(one, feeds[one.name]) for one in models], inputs


def _fed_arrays(
    spec: SweepSpec, entry: InputsEntry, models: Sequence[Loaded], progress: Progress
) -> tuple[list[Subject], dict[str, PreparedInputs]]:
    if feeds_of(spec.axes) != (USUAL,):
        raise SpecError(
            "preprocessing, corruption, mistake and recipe are about images, but --inputs are fed "
            "as they are.",
            "Give images with --data, or leave these axes away.",
        )
    array = from_array(entry.path, entry.labels, cache_dir(), progress, limit=entry.limit)
    head = np.load(array.path, mmap_mode="r", allow_pickle=False)
    _check_numbers(entry.path, head)
    inputs: dict[str, PreparedInputs] = {}
    fed = keyed(CellInputs("", "", "array", None, None, raw_quantised=False), array, inputs)
    subjects = []
    for one in models:
        check_array(one.checkpoint, head.shape, head.dtype)
        _check_known_classes(one, array.classes, array.labels)
        subjects.append(_subject(one, Feeds({USUAL: fed}), tuple(head.shape[1:])))
    return subjects, inputs


def _check_numbers(path: Path, array: npt.NDArray[Any]) -> None:
    """Refuse NaN in the inputs: it would be blamed on the models."""
    if array.dtype.kind != "f":
        return
    for number, row in enumerate(array):
        if np.isnan(row).any():
            raise DatasetError(
                f"Row {number} of {path} holds NaN.",
                "Save the array without it: what a model answers to NaN says nothing.",
            )


def _dataset(spec: SweepSpec, folder: Path, progress: Progress) -> Dataset:
    data = spec.data
    assert data is not None  # noqa: S101 - the spec has either data or inputs
    synsets: SynsetList | None = load_synsets(data.synsets) if data.synsets else None
    dataset = discover(
        folder, synsets, data.labels, layout=data.layout, split=data.split, progress=progress
    )
    dataset = subset(
        dataset, classes=data.classes, only=data.only, limit=data.limit, seed=data.seed
    )
    for note in dataset.notes:
        progress.note(note)
    if not data.labelled:
        items = tuple(replace(item, label=None) for item in dataset.items)
        dataset = replace(dataset, items=items, classes=None)
    return dataset


def _check_known_classes(
    one: Loaded, classes: Sequence[Class] | None, labels: Sequence[int | None]
) -> None:
    """Refuse a model whose number of scores cannot belong to the labels, before it runs."""
    known = [label for label in labels if label is not None]
    if one.checkpoint.output == "values" or not known or not one.checkpoint.file.outputs:
        return
    shape = one.checkpoint.file.outputs[0].shape
    if shape is None or len(shape) < 2 or any(d != 1 for d in shape[2:]) or shape[1] is None:
        return
    listed = len(classes) if classes else None
    offset = one.checkpoint.class_offset
    if mismatch := class_mismatch(shape[1], offset, listed, max(known)):
        message, remedy = mismatch
        raise ModelError(f"{one.checkpoint.file.path}: {message}", remedy)


def _subject(one: Loaded, feeds: Feeds, item_shape: tuple[int, ...] | None = None) -> Subject:
    file = one.checkpoint.file
    return Subject(
        name=one.name,
        path=file.path.resolve(),
        format=file.format,
        sha256=file.sha256,
        class_offset=one.checkpoint.class_offset,
        output=one.checkpoint.output,
        feeds=feeds,
        batch=_fixed_batch(file),
        item_shape=_open_item_shape(one, item_shape),
        network=one.network,
    )


def _fixed_batch(file: ModelFile) -> int | None:
    """The batch that a file was exported for; TFLite inputs are resized freely."""
    shape = file.inputs[0].shape if file.inputs else None
    return shape[0] if shape and file.format != "tflite" else None


def _open_item_shape(one: Loaded, fed: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The shape of one input as it will be fed, where the file does not fix it."""
    shape = one.checkpoint.file.inputs[0].shape if one.checkpoint.file.inputs else None
    if shape is not None and None not in shape[1:]:
        return tuple(length or 0 for length in shape[1:]) if one.network else None
    if fed is not None:
        return fed
    plan = input_plan(one.checkpoint)
    size = (plan.height, plan.width)
    return (3, *size) if plan.layout == "NCHW" else (*size, 3)


def inputs_document(prepared: PreparedInputs) -> dict[str, Any]:
    """What `inputs.json` keeps of prepared inputs, without their key."""
    return {
        "pixels_key": prepared.key,
        "images_key": prepared.images_key,
        "kind": prepared.kind,
        "layout": prepared.layout,
        "count": prepared.count,
        "excluded": [{"name": e.name, "reason": e.reason} for e in prepared.excluded],
        "classes": None
        if prepared.classes is None
        else [{"index": c.index, "wnid": c.wnid, "name": c.name} for c in prepared.classes],
    }


def runner_parent() -> Path:
    """The folder that holds the package `runner`, as workers see it."""
    return runner_tree()[0]
