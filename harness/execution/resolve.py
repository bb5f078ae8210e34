"""From a checked spec to what exists on this machine: models, prepared inputs, environments."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.canonical import key_of
from harness.containers.engine import Engine, connect
from harness.containers.volumes import open_volume
from harness.datasets.arrays import from_array
from harness.datasets.classes import Class, SynsetList, load_synsets
from harness.datasets.inputs import PreparedInputs
from harness.datasets.layouts import Dataset, discover
from harness.datasets.pixels import prepare
from harness.datasets.recipes import Recipe, load_recipe
from harness.datasets.sample import limit
from harness.doctor.gpus import Gpu
from harness.environments.base import ensure_base
from harness.errors import DatasetError, ModelError, SpecError
from harness.execution.commit import class_mismatch
from harness.execution.stacks import Stacks, closed_on_error, devices_of, resolve_stacks
from harness.execution.workshops import find_workshops
from harness.models.checkpoint import Checkpoint, InputPlan, check_array, input_plan
from harness.models.inspect import inspect_model
from harness.models.model_file import ModelFile
from harness.paths import cache_dir, runner_tree
from harness.plan.build import Place, Subject, Workshop
from harness.plan.cells import CellInputs
from harness.progress import Progress
from harness.spec.models import ModelEntry, SweepSpec

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


@dataclass(frozen=True)
class _Fed:
    """A model's entry, read, with its way of feeding."""

    name: str
    entry: ModelEntry
    checkpoint: Checkpoint
    plan: InputPlan | None


def resolve_spec(spec: SweepSpec, progress: Progress) -> Resolved:
    """Find and read all that a spec names; prepares pixels, provisions nothing.

    Raises:
        ModelError, DatasetError, EnvironmentSpecError, SpecError, ProvisionError, StoreError:
            whatever cannot be used, with its remedy.
    """
    fed = _read_models(spec)
    devices, gpus = devices_of(spec)
    place = Place(runner_sha256=runner_tree()[1], devices=devices)
    found = resolve_stacks(spec, progress)
    with closed_on_error(found.engine):
        formats = {one.checkpoint.file.format for one in fed}
        workshops = tuple(find_workshops(spec, formats, found, progress))
        with _images(spec, found.engine, progress) as folder:
            subjects, inputs = _prepare(spec, fed, folder, progress)
        return Resolved(tuple(subjects), found, inputs, place, gpus, workshops)


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


def _read_models(spec: SweepSpec) -> list[_Fed]:
    files = [inspect_model(entry.path.expanduser()) for entry in spec.models]
    names = _names(spec.models, files)
    return [
        _fed(spec, name, entry, file)
        for name, entry, file in zip(names, spec.models, files, strict=True)
    ]


def _names(entries: Sequence[ModelEntry], files: Sequence[ModelFile]) -> list[str]:
    """A name for each model: the stem, and as much more as tells equal ones apart."""
    choices = [
        [entry.name] * 3
        if entry.name
        else [file.path.stem, file.path.name, f"{file.path.resolve().parent.name}/{file.path.name}"]
        for entry, file in zip(entries, files, strict=True)
    ]
    names = [choice[0] for choice in choices]
    for step in (1, 2):
        counts = Counter(names)
        names = [
            choice[step] if counts[name] > 1 else name
            for name, choice in zip(names, choices, strict=True)
        ]
    if again := [name for name, number in Counter(names).items() if number > 1]:
        raise SpecError(
            f"Several models are called {', '.join(again)}.",
            "Name each differently (`name:` in the sweep file), or give each model once.",
        )
    return names


def _fed(spec: SweepSpec, name: str, entry: ModelEntry, file: ModelFile) -> _Fed:
    recipe = _recipe(spec, name, entry, file)
    checkpoint = Checkpoint(
        name=name,
        file=file,
        recipe=recipe,
        class_offset=entry.class_offset,
        output=entry.output,
        layout=entry.layout,
    )
    return _Fed(name, entry, checkpoint, input_plan(checkpoint) if recipe else None)


def _recipe(spec: SweepSpec, name: str, entry: ModelEntry, file: ModelFile) -> Recipe | None:
    if spec.inputs is not None:
        for option, value in (("recipe", entry.recipe), ("size", entry.size)):
            if value is not None:
                raise SpecError(
                    f"A {option} is given for {name}, but --inputs are fed as they are.",
                    f"Leave the {option} away, or give images with --data.",
                )
        return None
    if entry.recipe is not None:
        recipe = load_recipe(entry.recipe)
    elif file.inputs and file.inputs[0].dtype in {"uint8", "int8"}:
        recipe = load_recipe("raw")
    else:
        raise SpecError(
            f"How an image becomes the input of {name} is not said.",
            "Give --recipe torch (ImageNet mean and deviation), tf (-1..1), caffe (BGR, mean "
            "taken off), raw (0..255), or a recipe file.",
        )
    if entry.size is not None:
        recipe = recipe.model_copy(update={"size": entry.size})
    return recipe


def _prepare(
    spec: SweepSpec, fed: Sequence[_Fed], folder: Path | None, progress: Progress
) -> tuple[list[Subject], dict[str, PreparedInputs]]:
    subjects: list[Subject] = []
    inputs: dict[str, PreparedInputs] = {}
    if spec.inputs is not None:
        array = from_array(
            spec.inputs.path,
            spec.inputs.labels,
            cache_dir(),
            progress,
            limit=spec.inputs.limit,
        )
        head = np.load(array.path, mmap_mode="r", allow_pickle=False)
        _check_numbers(spec.inputs.path, head)
        for one in fed:
            check_array(one.checkpoint, head.shape, head.dtype)
            _check_known_classes(one, array.classes, array.labels)
            subjects.append(_subject(one, array, inputs))
        return subjects, inputs
    assert folder is not None  # noqa: S101 - the spec has either data or inputs
    dataset = _dataset(spec, folder, progress)
    made: dict[str, PreparedInputs] = {}
    for one in fed:
        assert one.plan is not None and one.checkpoint.recipe is not None  # noqa: S101, PT018
        _check_known_classes(one, dataset.classes, [item.label for item in dataset.items])
        geometry = one.checkpoint.recipe.model_dump_json() + f"{one.plan.height}x{one.plan.width}"
        if geometry not in made:
            made[geometry] = prepare(
                dataset,
                one.checkpoint.recipe,
                one.plan.height,
                one.plan.width,
                cache_dir(),
                progress,
            )
        subjects.append(_subject(one, made[geometry], inputs))
    for name, reason in sorted({(e.name, e.reason) for p in made.values() for e in p.excluded}):
        progress.note(f"Left out of all cells: {name}: {reason}")
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
    dataset = discover(folder, synsets, data.labels)
    for note in dataset.notes:
        progress.note(note)
    if data.limit is not None:
        dataset = limit(dataset, data.limit, data.seed)
    if not data.labelled:
        items = tuple(replace(item, label=None) for item in dataset.items)
        dataset = replace(dataset, items=items, classes=None)
    return dataset


def _check_known_classes(
    one: _Fed, classes: Sequence[Class] | None, labels: Sequence[int | None]
) -> None:
    """Refuse a model whose number of scores cannot belong to the labels, before it runs."""
    known = [label for label in labels if label is not None]
    if one.entry.output == "values" or not known or not one.checkpoint.file.outputs:
        return
    shape = one.checkpoint.file.outputs[0].shape
    if shape is None or len(shape) < 2 or any(d != 1 for d in shape[2:]) or shape[1] is None:
        return
    listed = len(classes) if classes else None
    if mismatch := class_mismatch(shape[1], one.entry.class_offset, listed, max(known)):
        message, remedy = mismatch
        raise ModelError(f"{one.checkpoint.file.path}: {message}", remedy)


def _subject(one: _Fed, prepared: PreparedInputs, inputs: dict[str, PreparedInputs]) -> Subject:
    inputs_key = key_of(
        {
            "schema_version": 1,
            "pixels": prepared.key,
            "labels": list(prepared.labels),
            "names": list(prepared.names),
            "classes": [[c.index, c.wnid, c.name] for c in prepared.classes or ()],
            "excluded": [[e.name, e.reason] for e in prepared.excluded],
        }
    )
    inputs[inputs_key] = prepared
    plan = one.plan
    return Subject(
        name=one.name,
        path=one.checkpoint.file.path.resolve(),
        format=one.checkpoint.file.format,
        sha256=one.checkpoint.file.sha256,
        class_offset=one.entry.class_offset,
        output=one.entry.output,
        batch=_fixed_batch(one.checkpoint.file),
        item_shape=_open_item_shape(one, prepared),
        inputs=CellInputs(
            pixels_key=prepared.key,
            inputs_key=inputs_key,
            kind=prepared.kind,
            normalise=plan.normalise if plan else None,
            layout=plan.layout if plan else None,
            raw_quantised=plan.raw_quantised if plan else False,
        ),
    )


def _fixed_batch(file: ModelFile) -> int | None:
    """The batch that an ONNX file was exported for; TFLite inputs are resized freely."""
    shape = file.inputs[0].shape if file.inputs else None
    return shape[0] if shape and file.format == "onnx" else None


def _open_item_shape(one: _Fed, prepared: PreparedInputs) -> tuple[int, ...] | None:
    """The shape of one input as it will be fed, where the file does not fix it."""
    shape = one.checkpoint.file.inputs[0].shape if one.checkpoint.file.inputs else None
    if shape is not None and None not in shape[1:]:
        return None
    if one.plan is None:
        array = np.load(prepared.path, mmap_mode="r", allow_pickle=False)
        return tuple(int(length) for length in array.shape[1:])
    size = (one.plan.height, one.plan.width)
    return (3, *size) if one.plan.layout == "NCHW" else (*size, 3)


def inputs_document(prepared: PreparedInputs) -> dict[str, Any]:
    """What `inputs.json` keeps of prepared inputs, without their key."""
    return {
        "pixels_key": prepared.key,
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
