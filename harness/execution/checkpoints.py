"""From the models that a spec names to checkpoints: files found, read, and fitted with a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.datasets.recipes import Recipe, load_recipe
from harness.errors import ModelError, SpecError
from harness.models.checkpoint import Checkpoint
from harness.models.entries import CheckpointEntry
from harness.models.fetch import fetch
from harness.models.inspect import inspect_model
from harness.models.model_file import NEED_ARCHITECTURE, ModelFile
from harness.models.registry import find_checkpoint
from harness.models.user_models import models_folder, read_user_model
from harness.models.zoo import architecture_facts, built_by, check_variant, library_of
from harness.plan.parts import Network
from harness.progress import Progress
from harness.spec.models import NATIVE, OWN, ModelEntry, SweepSpec, Variant

_DESCRIPTION = ".toml"
_SAVED_BY_TORCH = frozenset({".pth", ".pt", ".bin", ".safetensors"})
"""Weights in these were saved from PyTorch's network, and mean it."""
_ARRAYS = ".npz"
_BATCH_NORM = ".running_mean"
"""How PyTorch calls an array of its batch norms; folded weights have none."""

Seeder = Callable[[CheckpointEntry], Path]
"""Makes the weights of a seeded checkpoint, or finds them made."""


@dataclass(frozen=True)
class Loaded:
    """A model of a spec, read but not run.

    Attributes:
        name: as in results.
        checkpoint: its file with what belongs to it.
        known: what the registry says of it; None for a file alone.
        network: what its weights are put into; None for a file that is a whole model.
        architecture: of the network, where anybody says it.
    """

    name: str
    checkpoint: Checkpoint
    known: CheckpointEntry | None
    network: Network | None
    architecture: str | None = None


@dataclass(frozen=True)
class Found:
    """A model of a spec that was found: its file is read where it is there already."""

    entry: ModelEntry
    known: CheckpointEntry | None
    file: ModelFile | None


def find_models(spec: SweepSpec) -> list[Found]:
    """Look up every model of a spec, and read the files that are there; nothing is downloaded.

    Raises:
        ModelError: an unknown name, a file that is not there or cannot be read, or a variant that
            its architecture does not have.
        SpecError: a variant of a whole model.
    """
    found = []
    for entry in spec.models:
        known = _known(entry)
        path = entry.path if known is None else known.path
        if known is not None and known.origin != "file":
            if (architecture := _architecture(entry, known)) is not None:
                _variants(architecture, known.variant, entry)
            found.append(Found(entry, known, None))
            continue
        assert path is not None  # noqa: S101 - a person's own names its file
        file = inspect_model(path.expanduser(), _architecture(entry, known))
        _check_unchanged(known, file)
        # What is wrong in a variant is said now, before anything is built.
        _network(entry.name or (known.name if known else file.path.name), entry, known, file)
        found.append(Found(entry, known, file))
    return found


def load_models(
    spec: SweepSpec, found: Sequence[Found], seeder: Seeder, progress: Progress
) -> list[Loaded]:
    """Read what is left to be read; pretrained weights are downloaded where they are missing.

    Raises:
        ModelError, SpecError: a model that cannot be had or read, or is not told apart.
    """
    files = [one.file or _made(one, seeder, progress) for one in found]
    names = _names(found, files)
    loaded = [
        _loaded(spec, name, one.entry, one.known, file)
        for name, one, file in zip(names, found, files, strict=True)
    ]
    for one in loaded:
        _note_what_is_left_open(one, progress)
    return loaded


def _note_what_is_left_open(one: Loaded, progress: Progress) -> None:
    """Say so where nobody says which network weights mean, and frameworks build different ones."""
    if (
        one.network is None
        or {} not in one.network.variants
        or one.checkpoint.file.format != "weights"
    ):
        return
    if differ := ", ".join(architecture_facts(one.network.architecture).variants):
        progress.note(
            f"{one.name}: nobody says which network its weights mean, so each framework builds its "
            f"own library's, and these may differ in {differ}. --variant says it (`harness model "
            f"show {one.network.architecture}@seeded`)."
        )


def _made(one: Found, seeder: Seeder, progress: Progress) -> ModelFile:
    assert one.known is not None  # noqa: S101 - what is not known has a file
    path = seeder(one.known) if one.known.origin == "seeded" else fetch(one.known, progress)
    return inspect_model(path, _architecture(one.entry, one.known))


def _known(entry: ModelEntry) -> CheckpointEntry | None:
    if entry.checkpoint is not None:
        return find_checkpoint(entry.checkpoint)
    assert entry.path is not None  # noqa: S101 - a spec has one of both
    if entry.path.suffix.lower() == _DESCRIPTION:
        return read_user_model(entry.path.expanduser())
    return None


def _check_unchanged(known: CheckpointEntry | None, file: ModelFile) -> None:
    """Refuse a person's own file that is another one than when it was added."""
    if not known or known.origin != "file" or known.sha256 in {None, file.sha256}:
        return
    if known.origin_file is not None and known.origin_file.parent != models_folder().absolute():
        raise ModelError(
            f"{file.path} is not the file that {known.origin_file} describes: its sha256 is "
            f"{file.sha256}, and {known.sha256} is stated.",
            f"Give the file that is meant, or correct sha256 in {known.origin_file}.",
        )
    raise ModelError(
        f"{file.path} has changed since it was added as {known.name}.",
        f"`harness model add {known.name} {file.path} --replace` takes the new one; "
        "`harness model verify` looks at all.",
    )


def _architecture(entry: ModelEntry, known: CheckpointEntry | None) -> str | None:
    return entry.architecture or (known.architecture if known else None)


def _names(found: Sequence[Found], files: Sequence[ModelFile]) -> list[str]:
    """A name for each model: its own, the stem, and as much more as tells equal ones apart."""
    choices = []
    for one, file in zip(found, files, strict=True):
        own = one.entry.name or (one.known.name if one.known else None)
        parent = file.path.resolve().parent.name
        stem = file.path.stem
        choices.append([own] * 3 if own else [stem, file.path.name, f"{parent}/{file.path.name}"])
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


def _loaded(
    spec: SweepSpec, name: str, entry: ModelEntry, known: CheckpointEntry | None, file: ModelFile
) -> Loaded:
    def said(field: str, otherwise: Any) -> Any:
        if field in entry.model_fields_set or known is None:
            return getattr(entry, field)
        return otherwise

    checkpoint = Checkpoint(
        name=name,
        file=file,
        recipe=_recipe(spec, name, entry, known, file),
        class_offset=said("class_offset", known and known.class_offset),
        output=said("output", known and known.output),
        layout=said("layout", known and known.layout),
    )
    architecture = file.architecture or _architecture(entry, known)
    return Loaded(name, checkpoint, known, _network(name, entry, known, file), architecture)


def _network(
    name: str, entry: ModelEntry, known: CheckpointEntry | None, file: ModelFile
) -> Network | None:
    if file.format not in NEED_ARCHITECTURE:
        if entry.variants != (OWN,):
            raise SpecError(
                f"{name} is a whole model ({file.format}): how it is built is in the file.",
                "Variants belong to weights (.npz, .pth, .safetensors), which are put into a network.",
            )
        return None
    assert file.architecture is not None  # noqa: S101 - weights are not read without one
    own = {**_meant(file, file.architecture), **(known.variant if known else {})}
    return Network(
        file.architecture,
        _variants(file.architecture, own, entry),
        known.library if known and known.library in {"torchvision", "timm"} else None,
    )


def _meant(file: ModelFile, architecture: str) -> dict[str, str | float]:
    """The network that weights mean by themselves: PyTorch's, where they were saved from it."""
    suffix = file.path.suffix.lower()
    names = [tensor.name for tensor in file.tensors]
    has_batch_norms = any(name.endswith(_BATCH_NORM) for name in names)
    if suffix in _SAVED_BY_TORCH or (suffix == _ARRAYS and has_batch_norms):
        return built_by(architecture_facts(architecture), library_of(names))
    return {}


def _variants(
    architecture: str, own: Mapping[str, Any], entry: ModelEntry
) -> tuple[dict[str, Any], ...]:
    """Every network that is asked for.

    Raises:
        ModelError: a key or value that the architecture does not have.
    """
    found = tuple(_variant(own, asked) for asked in entry.variants)
    for one in found:
        check_variant(architecture, one)
    return found


def _variant(own: Mapping[str, Any], asked: Variant | str) -> dict[str, Any]:
    """How the network is built: as the checkpoint says, as each library has it, or changed."""
    if asked == NATIVE:
        return {}
    return dict(own) if isinstance(asked, str) else {**own, **asked}


def _recipe(
    spec: SweepSpec, name: str, entry: ModelEntry, known: CheckpointEntry | None, file: ModelFile
) -> Recipe | None:
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
    elif known is not None and known.recipe is not None:
        recipe = known.recipe
    elif file.inputs and file.inputs[0].dtype in {"uint8", "int8"}:
        recipe = load_recipe("raw")
    else:
        raise SpecError(
            f"How an image becomes the input of {name} is not said.",
            "Give --recipe torch (ImageNet mean and deviation), tf (-1..1), caffe (BGR, mean "
            "taken off), raw (0..255), or a recipe file.",
        )
    size = entry.size or (known.size if known else None)
    return recipe if size is None else recipe.model_copy(update={"size": size})
