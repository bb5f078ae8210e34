"""What a single model is fed to check its conversion: a person's images or arrays, or made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.canonical import atomic_folder, key_of, storage_errors
from harness.datasets.recipes import load_recipe
from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint, input_plan
from harness.models.entries import CheckpointEntry
from harness.models.inspect import inspect_model
from harness.models.model_file import ModelFile, TensorSpec
from harness.models.quick_images import TEXTURES, draw_images
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.models import VOLUME, ModelEntry

_SEED = 0
_VERSION = 1
_GIVE = "Give real ones with --data DIR (images) or --inputs X.npy (arrays [N, ...])."


@dataclass(frozen=True)
class Feeding:
    """Where the inputs of a conversion's check come from.

    Attributes:
        document: `data` or `inputs`, as a sweep file holds them.
        made_here: what they are where nobody gave any; empty where somebody did.
    """

    document: dict[str, Any]
    made_here: str = ""


def given(
    known: CheckpointEntry | None,
    data: Path | None,
    inputs: Path | None,
    limit: int | None,
    wanted: int,
) -> Feeding | None:
    """The inputs that a person gave; None: none.

    Of images only as many as are looked at are prepared, except for weights that are fitted on
    them: these are fitted on what a sweep over the same folder would fit them on.

    Args:
        known: what the registry says of the model.
        data: a folder of images.
        inputs: an array.
        limit: how many of them; None: as many as are needed.
        wanted: how many are looked at.
    """
    if data is not None:
        fitted = known is not None and known.origin == "seeded"
        most = limit if limit is not None or fitted else wanted
        volume = data.as_posix().startswith(VOLUME)
        path = str(data if volume else Path.cwd() / data.expanduser())
        document: dict[str, Any] = {"path": path, "labelled": False}
        return Feeding({"data": {**document, **({} if most is None else {"limit": most})}})
    if inputs is not None:
        document = {"path": str(Path.cwd() / inputs.expanduser())}
        return Feeding({"inputs": {**document, **({} if limit is None else {"limit": limit})}})
    return None


def make(
    model: ModelEntry, known: CheckpointEntry | None, wanted: int, progress: Progress
) -> Feeding:
    """Inputs made on the spot: textures where a recipe says how an image is fed, else noise.

    Args:
        model: which model.
        known: what the registry says of it.
        wanted: how many are looked at.
        progress: where making them reports to.

    Raises:
        ModelError: the model leaves open what its input looks like.
        StoreError: the cache cannot be written.
    """
    if model.recipe is not None or (known is not None and known.recipe is not None):
        images = _textures(progress)
        fitted = known is not None and known.origin == "seeded"
        limit = {} if fitted else {"limit": wanted}
        what = f"{wanted} seeded textures, fed by the recipe"
        if fitted:
            what = "seeded textures, which the weights are fitted on too"
        return Feeding({"data": {"path": str(images), "labelled": False, **limit}}, what)
    path = model.path if known is None else known.path
    assert path is not None  # noqa: S101 - what has no recipe is a person's own file
    file = inspect_model(path, model.architecture or (known.architecture if known else None))
    spec, item, batch = _input(model, known, file)
    count = max(wanted, batch)
    shown = " x ".join(map(str, item))
    made = _kept(spec, item, count)
    return Feeding({"inputs": {"path": str(made)}}, f"{count} of seeded noise, {shown}")


def _textures(progress: Progress) -> Path:
    """A folder of seeded images, in the cache."""
    target = cache_dir() / "converted" / "inputs" / f"textures-v{_VERSION}"
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_dir():
            with progress.task("Drawing images"), atomic_folder(target) as staged:
                images, textures = draw_images(_SEED)
                for number, (image, texture) in enumerate(zip(images, textures, strict=True)):
                    name = f"{number:03d}-{TEXTURES[texture].name}.png"
                    Image.fromarray(image).save(staged / name)
    return target


def _input(
    model: ModelEntry, known: CheckpointEntry | None, file: ModelFile
) -> tuple[TensorSpec, tuple[int, ...], int]:
    """The model's input, the shape of one, and the batch that the file is fixed to, else 1."""
    if not file.inputs:
        raise ModelError(f"{file.path} does not say what its input is.", _GIVE)
    spec = file.inputs[0]
    shape = spec.shape
    if shape is not None and len(shape) < 2:
        raise ModelError(f"{file.path} takes {spec.shown()}, which has no batch.", _GIVE)
    if shape is not None and None not in shape[1:]:
        return spec, tuple(size or 0 for size in shape[1:]), shape[0] or 1
    layout = model.layout or (known.layout if known else None)
    recipe = load_recipe("raw")
    try:
        plan = input_plan(Checkpoint(file.path.stem, file, recipe, layout=layout))
    except ModelError as error:
        raise ModelError(
            f"{file.path} takes {spec.shown()}, so no inputs can be made for it here.", _GIVE
        ) from error
    size = (plan.height, plan.width)
    return spec, ((3, *size) if plan.layout == "NCHW" else (*size, 3)), plan.batch or 1


def _kept(spec: TensorSpec, item: tuple[int, ...], count: int) -> Path:
    """The noise for an input, in the cache: the same in every call."""
    about = {
        "version": _VERSION,
        "shape": [count, *item],
        "dtype": spec.dtype,
        "scale": spec.scale,
        "zero_point": spec.zero_point,
    }
    target = cache_dir() / "converted" / "inputs" / key_of(about)[:16]
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target / "noise.npy").is_file():
            with atomic_folder(target) as staged:
                np.save(staged / "noise.npy", noise(spec, (count, *item)))
    return target / "noise.npy"


def noise(spec: TensorSpec, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Seeded values that an input takes: standard normal, integers' whole range, or 0 and 1.

    Integers with a scale are given as the numbers that they stand for; those without one, which
    may be indexes, are 0 and 1 unless they are pixels (8 bits).

    Args:
        spec: the input.
        shape: of the array, [N, ...].
    """
    draws = np.random.default_rng(_SEED)
    if spec.dtype in {"uint8", "int8"}:
        limits = np.iinfo(spec.dtype)
        drawn = draws.integers(limits.min, limits.max + 1, shape)
        if spec.scale is None:
            return drawn.astype(spec.dtype)
        real: npt.NDArray[Any] = (drawn - (spec.zero_point or 0)) * spec.scale
        return real.astype(np.float32)
    if spec.dtype.startswith(("int", "uint", "bool")):
        return draws.integers(0, 2, shape).astype(spec.dtype)
    return draws.standard_normal(shape, dtype=np.float32)
