"""A person's own models: short TOML files that say what a model file is and how it is fed."""

from __future__ import annotations

import contextlib
import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.datasets.recipes import Recipe, load_recipe, read_description
from harness.errors import ModelError
from harness.models import zoo
from harness.models.checkpoint import Layout, OutputKind
from harness.models.entries import CheckpointEntry
from harness.paths import data_dir

SUFFIX = ".toml"
_RECIPE_FILES = frozenset({".toml", ".yaml", ".yml"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILES = [
    ".onnx",
    ".tflite",
    ".npz",
    ".npy",
    ".pth",
    ".pt",
    ".pt2",
    ".safetensors",
    ".keras",
    ".h5",
    ".hdf5",
    ".pb",
    ".toml",
    ".yaml",
    ".yml",
    ".bin",
    ".zip",
]
_FRAMEWORK_OF: dict[str, Literal["torch", "keras"]] = {
    ".pth": "torch",
    ".pt": "torch",
    ".pt2": "torch",
    ".safetensors": "torch",
    ".keras": "keras",
    ".h5": "keras",
}


class UserModel(BaseModel):
    """What such a file may say; `path` alone is enough."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    path: Path
    architecture: str | None = None
    recipe: str | dict[str, Any] | None = None
    size: int | None = Field(default=None, ge=8, le=4096)
    class_offset: int = Field(default=0, ge=0, le=100)
    output: OutputKind = "auto"
    layout: Layout | None = None
    variant: dict[str, str | int | float] = Field(default_factory=dict)
    licence: str = ""
    note: str = ""
    format: str | None = None
    classes: int | None = Field(default=None, ge=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    size_bytes: int | None = Field(default=None, ge=0)


def models_folder() -> Path:
    """Where models that were added are described, a TOML file each."""
    return data_dir() / "models"


def user_model_files() -> tuple[Path, ...]:
    """The descriptions of all models that were added, by name."""
    folder = models_folder()
    return tuple(sorted(folder.glob(f"*{SUFFIX}"))) if folder.is_dir() else ()


def check_name(name: str) -> None:
    """Check that a model may be called so.

    Raises:
        ModelError: other characters than letters, digits, dot, dash and underscore; a name that
            would be taken for a file or for one of the zoo's.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} is no name for a model.",
            "Use letters, digits, dots, dashes and underscores, 64 at most, a letter or digit first.",
        )
    suffix = Path(name).suffix.lower()
    if suffix in _FILES:
        raise ModelError(
            f"{name!r} looks like a file, so --model {name} would look for one.",
            f"Call it {name[: -len(suffix)]}.",
        )


def read_user_model(path: Path) -> CheckpointEntry:
    """A checkpoint from its TOML file; relative paths in it are meant from the file's folder.

    Raises:
        ModelError: no such file, no TOML, a key or value that is not understood, an unknown
            architecture, or a variant that it does not have.
    """
    path = path.expanduser().absolute()
    model = _parse(path)
    if model.architecture is not None:
        with _named(path):
            zoo.architecture_facts(model.architecture)
            zoo.check_variant(model.architecture, model.variant)
    elif model.variant:
        raise ModelError(
            f"{path} gives a variant, but no architecture that it would be a variant of.",
            f'Add architecture = "…", one of {", ".join(zoo.architectures())}.',
        )
    file = path.parent / model.path.expanduser()
    return CheckpointEntry(
        name=path.stem,
        origin="file",
        architecture=model.architecture,
        framework=_FRAMEWORK_OF.get(file.suffix.lower()),
        format=model.format,
        recipe=_recipe(model, path),
        size=model.size,
        classes=model.classes,
        class_offset=model.class_offset,
        output=model.output,
        layout=model.layout,
        variant=model.variant,
        licence=model.licence,
        filename=file.name,
        sha256=model.sha256,
        size_bytes=model.size_bytes,
        path=file,
        origin_file=path,
        note=model.note,
    )


def _parse(path: Path) -> UserModel:
    try:
        document = tomllib.loads(read_description(path))
    except FileNotFoundError as error:
        raise ModelError(f"There is no file {path}.") from error
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror}.") from error
    except RecursionError as error:
        raise ModelError(f"{path} is not valid TOML: it is nested too deeply.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not valid TOML: {error}.") from error
    try:
        return UserModel.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f"{path} does not describe a model at {place}: {first['msg']}.", _remedy(first, place)
        ) from error


def _remedy(fault: Any, place: str) -> str:
    keys = tuple(UserModel.model_fields)
    if fault["type"] == "extra_forbidden":
        alike = difflib.get_close_matches(place, keys, n=1)
        return f"Did you mean {alike[0]}?" if alike else f"Its keys are {', '.join(keys)}."
    if fault["type"] == "missing" and place == "path":
        return 'Say which file it is: path = "model.onnx" (from this file\'s folder).'
    return f"Its keys are {', '.join(keys)}."


def _recipe(model: UserModel, path: Path) -> Recipe | None:
    recipe = model.recipe
    if recipe is None:
        return None
    with _named(path):
        if isinstance(recipe, str):
            is_file = Path(recipe).suffix.lower() in _RECIPE_FILES
            return load_recipe(path.parent / Path(recipe).expanduser() if is_file else recipe)
        try:
            found = Recipe.model_validate({"name": path.stem, **recipe})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            alike = difflib.get_close_matches(key, list(Recipe.model_fields), n=1)
            raise ModelError(
                f"The recipe in {path} is not valid at {key}: {first['msg']}.",
                f"Did you mean {alike[0]}?"
                if alike and alike[0] != key
                else f"Its keys are {', '.join(Recipe.model_fields)}.",
            ) from error
        if any(value <= 0 for value in found.std):
            raise ModelError(f"The recipe has a std that is not positive: {found.std}.")
        return found


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of an error inside which file it is in."""
    try:
        yield
    except ModelError as error:
        if str(path) in error.message:
            raise
        raise ModelError(f"{path}: {error.message}", error.remedy) from error
