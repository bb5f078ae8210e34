"""Recipes: how an image becomes an input of a model."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import ModelError

Triple = tuple[float, float, float]
_MOST_BYTES = 1 << 20
"""Of a description that a person writes."""


class Recipe(BaseModel):
    """How an image becomes an input: resize, centre crop, then y = (x / divide - mean) / std.

    x is a channel's value, 0 to 255. `mean` and `std` are in the order of `channels`. `size` is
    used where the model leaves height and width open. The short side is resized to `resize`
    pixels, or to the size divided by `resize_ratio`: one of both is given, the other is None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1)
    size: int | tuple[int, int] | None = None
    resize_ratio: float | None = Field(default=0.875, gt=0, le=1)
    resize: int | None = Field(default=None, ge=1)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    crop: Literal["centre"] = "centre"
    channels: Literal["RGB", "BGR"] = "RGB"
    divide: float = Field(default=1.0, gt=0)
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    @model_validator(mode="before")
    @classmethod
    def _one_way_to_resize(cls, document: Any) -> Any:
        if not isinstance(document, dict):
            return document
        ratio, short = document.get("resize_ratio", 0.875), document.get("resize")
        if short is None and ratio is None:
            raise ValueError("give one of resize (pixels of the short side) and resize_ratio")
        if short is not None and document.get("resize_ratio") is not None:
            raise ValueError("give resize or resize_ratio, not both")
        return document if short is None else {**document, "resize_ratio": None}

    @property
    def is_identity(self) -> bool:
        """Whether pixel values go in as they are."""
        return self.divide == 1 and self.mean == (0, 0, 0) and self.std == (1, 1, 1)


PRESETS: dict[str, Recipe] = {
    "torch": Recipe(
        name="torch", divide=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
    "tf": Recipe(name="tf", divide=127.5, mean=(1.0, 1.0, 1.0)),
    "caffe": Recipe(name="caffe", channels="BGR", mean=(103.939, 116.779, 123.68)),
    "raw": Recipe(name="raw"),
}


@dataclass(frozen=True, slots=True)
class Geometry:
    """Everything that decides prepared pixels besides the image: sizes in pixels, method.

    `squash`: the whole image becomes height x width, its aspect lost; nothing is cropped.
    """

    height: int
    width: int
    resize_height: int
    resize_width: int
    interpolation: str
    squash: bool = False

    def document(self) -> dict[str, Any]:
        """For keys and records; without `squash` where that is not done."""
        document = asdict(self)
        if not self.squash:
            del document["squash"]
        return document


def load_recipe(name_or_file: str | Path) -> Recipe:
    """A recipe by name (tf, torch, caffe, raw) or from a TOML or YAML file.

    Raises:
        ModelError: an unknown name, no such file, or a key or value that is not understood.
    """
    text = str(name_or_file)
    if text in PRESETS:
        return PRESETS[text]
    path = Path(text).expanduser()
    if path.suffix.lower() not in {".toml", ".yaml", ".yml"}:
        raise ModelError(
            f"There is no recipe named {text!r}.",
            f"Recipes are {', '.join(sorted(PRESETS))}, or a .toml or .yaml file.",
        )
    document = _read(path)
    if not isinstance(document, dict):
        raise ModelError(f"The recipe {path} is not a table of keys and values.")
    document.setdefault("name", path.stem)
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        at = f" at {place}" if place else ""
        raise ModelError(
            f"The recipe {path} is not valid{at}: {first['msg'].removeprefix('Value error, ')}.",
            f"Its keys are {', '.join(Recipe.model_fields)}.",
        ) from error
    _check(recipe, path)
    return recipe


def _read(path: Path) -> Any:
    try:
        text = read_description(path)
        if path.suffix.lower() == ".toml":
            return tomllib.loads(text)
        return yaml.safe_load(text)
    except OSError as error:
        raise ModelError(f"Cannot read the recipe {path}: {error.strerror}.") from error
    except RecursionError as error:
        raise ModelError(f"The recipe {path} cannot be read: it is nested too deeply.") from error
    # YAML makes dates as it reads, and an impossible one is a ValueError.
    except (ValueError, yaml.YAMLError) as error:
        raise ModelError(f"The recipe {path} cannot be read: {error}.") from error


def read_description(path: Path) -> str:
    """The text of a TOML or YAML file that a person wrote.

    Raises:
        ModelError: a file of more than 1 MiB.
        OSError, UnicodeDecodeError: one that cannot be read.
    """
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ModelError(
            f"{path} is larger than 1 MiB: it is no description of a model or a recipe.",
            "Give the short text file, not the model's own.",
        )
    return content.decode("utf-8-sig")


def _check(recipe: Recipe, path: Path) -> None:
    sizes = recipe.size if isinstance(recipe.size, tuple) else (recipe.size,)
    if any(size is not None and size < 1 for size in sizes):
        raise ModelError(f"The recipe {path} has the size {recipe.size}: pixels are 1 or more.")
    if any(value <= 0 for value in recipe.std):
        raise ModelError(f"The recipe {path} has a std that is not positive: {recipe.std}.")


def geometry(recipe: Recipe, height: int, width: int, *, squash: bool = False) -> Geometry:
    """How a recipe resizes and crops for an input of `height` x `width` pixels.

    For a square input the short side becomes `resize`, or round(size / resize_ratio); for any
    other the image is made just large enough to cover both sides so enlarged (by `resize`, the
    input's shorter side is enlarged to it).

    Args:
        recipe: the model's.
        height: of its input.
        width: of its input.
        squash: resize straight to the input, with the aspect lost: a common mistake.

    Raises:
        ModelError: the recipe resizes to less than the input.
    """
    if squash:
        return Geometry(height, width, height, width, recipe.interpolation, squash=True)
    short = min(height, width)
    if recipe.resize is None:
        assert recipe.resize_ratio is not None  # noqa: S101 - the recipe has one of both
        resized = [round(side / recipe.resize_ratio) for side in (height, width)]
    elif recipe.resize < short:
        raise ModelError(
            f"The recipe {recipe.name} resizes the short side to {recipe.resize} pixels, which is "
            f"less than the input of {height} x {width}.",
            f"Give a resize of {short} or more, or a resize_ratio, which follows the input.",
        )
    else:
        resized = [round(side * recipe.resize / short) for side in (height, width)]
    return Geometry(height, width, resized[0], resized[1], recipe.interpolation)


def normalisation(recipe: Recipe) -> dict[str, Any]:
    """What the runner computes: y = (x / divide - subtract) / divide_after, float32, in order."""
    return {
        "channels": recipe.channels.lower(),
        "divide": recipe.divide,
        "subtract": list(recipe.mean),
        "divide_after": list(recipe.std),
    }
