"""Adding a person's own model to the registry, and taking it out again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.canonical import atomic_folder, storage_errors
from harness.datasets.recipes import Recipe
from harness.errors import ModelError, StoreError
from harness.models.checkpoint import Checkpoint, input_plan
from harness.models.entries import CheckpointEntry
from harness.models.file_names import check_text
from harness.models.inspect import inspect_model
from harness.models.model_file import NEED_ARCHITECTURE, ModelFile
from harness.models.user_models import (
    SUFFIX,
    check_name,
    models_folder,
    read_user_model,
    user_model_files,
)
from harness.models.zoo import check_variant


@dataclass(frozen=True, slots=True)
class Added:
    """A model that was added: what is kept of it, and what its file holds."""

    entry: CheckpointEntry
    file: ModelFile


def add_model(
    name: str, described: Mapping[str, Any], *, replace_old: bool = False, copy: bool = False
) -> Added:
    """Keep a model under a name.

    Args:
        name: how it will be called.
        described: keys of `UserModel`; `path` is absolute, `recipe` a name, a path or a table;
            a `sha256` is held against the file.
        replace_old: put it in the place of one that has this name.
        copy: keep a copy of the file too, so that the person may move theirs.

    Raises:
        ModelError: a name that is taken or odd, a file that cannot be used or has another hash,
            a variant that its architecture does not have, or a recipe that does not fit its input.
        StoreError: a folder that cannot be written.
        UsageError: a path that is no text.
    """
    check_name(name)
    for said in described.values():
        if isinstance(said, str):
            check_text(said)
    target = models_folder() / f"{name}{SUFFIX}"
    if target.exists() and not replace_old:
        raise ModelError(
            f"There is a model named {name} already ({target}).",
            f"Choose another name, put this in its place with --replace, or first "
            f"`harness model remove {name}`.",
        )
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    described = _with_architecture(described)
    staged = target.with_name(f".{name}.{uuid.uuid4().hex[:8]}")
    try:
        # Written and read back as any description is: what a sweep will read is what is checked.
        _write(staged, described)
        entry = replace(read_user_model(staged), name=name)
        file = _inspect(entry)
        _check_hash(entry, file)
        _check_recipe(entry, file)
        document = {
            **described,
            **_facts(file),
            "path": str(_copied(name, file) if copy else file.path),
        }
        if entry.recipe is not None:
            document["recipe"] = _recipe_document(entry.recipe, described["recipe"])
        _write(staged, document)
        with storage_errors(target):
            staged.replace(target)
        _clear_copies(name, Path(document["path"]))
    except ModelError as error:
        raise _of_description(error, staged, name) from error
    finally:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
    return Added(read_user_model(target), file)


def remove_model(name: str) -> tuple[Path, ...]:
    """Forget a model that was added; the person's own file is left, a copy of harness's goes.

    Returns:
        What was removed.

    Raises:
        ModelError: no model of that name was added.
    """
    own = {path.stem: path for path in user_model_files()}
    if name not in own:
        shown = f"There are {', '.join(own)}." if own else "None was added so far."
        raise ModelError(f"No model named {name!r} was added.", shown)
    with storage_errors(own[name]):
        own[name].unlink()
    copies = _copy_folder(name)
    if not copies.is_dir():
        return (own[name],)
    with storage_errors(copies):
        shutil.rmtree(copies)
    return own[name], copies


def _with_architecture(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description with the architecture that its variant is one of, which the file may tell.

    Raises:
        ModelError: a variant of a whole model, or one that the architecture does not have.
    """
    variant = described.get("variant")
    if not variant:
        return described
    architecture = described.get("architecture")
    if architecture is None:
        file = inspect_model(Path(described["path"]))
        if file.architecture is None:
            raise ModelError(
                f"{file.path} is a whole model ({file.format}): how it is built is in the file.",
                "Leave --variant out: it belongs to weights, which are put into a network.",
            )
        architecture = file.architecture
    check_variant(architecture, variant)
    return {**described, "architecture": architecture}


def _check_hash(entry: CheckpointEntry, file: ModelFile) -> None:
    if entry.sha256 not in {None, file.sha256}:
        raise ModelError(
            f"{file.path} is not the file that is described: its sha256 is {file.sha256}, and "
            f"{entry.sha256} is stated.",
            "Give the file that is meant, or correct sha256 in the description.",
        )


def _of_description(error: ModelError, staged: Path, name: str) -> ModelError:
    """The same error without the name of a file that only existed for the check."""
    if str(staged) not in error.message + error.remedy:
        return error
    said = f"the description of {name}"
    message = error.message.replace(str(staged), said)
    return ModelError(message[0].upper() + message[1:], error.remedy.replace(str(staged), said))


def _inspect(entry: CheckpointEntry) -> ModelFile:
    assert entry.path is not None  # noqa: S101 - a description always names one
    return inspect_model(entry.path, entry.architecture)


def _check_recipe(entry: CheckpointEntry, file: ModelFile) -> None:
    if entry.recipe is None or not file.inputs:
        return
    recipe = entry.recipe
    if entry.size is not None:
        recipe = recipe.model_copy(update={"size": entry.size})
    input_plan(Checkpoint(entry.name, file, recipe, entry.class_offset, entry.output, entry.layout))


def _facts(file: ModelFile) -> dict[str, Any]:
    facts: dict[str, Any] = {"format": file.format, "sha256": file.sha256}
    facts["size_bytes"] = file.size_bytes
    if file.format in NEED_ARCHITECTURE and file.architecture is not None:
        facts["architecture"] = file.architecture
    shape = file.outputs[0].shape if file.outputs else None
    if shape and len(shape) == 2 and shape[-1]:
        facts["classes"] = shape[-1]
    return facts


def _recipe_document(recipe: Recipe, said: object) -> Any:
    """A preset by its name; any other spelled out, so that nothing depends on another file."""
    if isinstance(said, str) and recipe.name == said:
        return said
    return recipe.model_dump(exclude_none=True)


def _copy_folder(name: str) -> Path:
    return models_folder() / "files" / name


def _copied(name: str, file: ModelFile) -> Path:
    """Copy a model with the files beside it that it refers to, or a folder as a whole.

    Each copy has a folder of its own by its content: one that is replaced stays whole until then.
    """
    folder = _copy_folder(name) / file.sha256[:16]
    if not folder.is_dir():
        with atomic_folder(folder) as staged:
            if file.path.is_dir():
                _copy_tree(file.path, staged / file.path.name)
            else:
                for one in (file.path, *file.external_files):
                    place = staged / os.path.relpath(one, file.path.parent)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(one, place)
    return folder / file.path.name


def _copy_tree(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target)
    except shutil.Error as error:
        # It gathers a line for each file that could not be copied.
        first = error.args[0][0] if error.args and error.args[0] else (source, target, error)
        raise StoreError(
            f"Cannot copy {first[0]} to {first[1]}: {first[2]}.",
            "Leave --copy out, or make room and see that the files may be read.",
        ) from error


def _clear_copies(name: str, kept: Path) -> None:
    """Remove the copies that a model had before, all but the one in use."""
    folder = _copy_folder(name)
    for old in folder.iterdir() if folder.is_dir() else ():
        if old not in kept.parents:
            shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(OSError):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Write TOML: plain keys first, then tables."""
    lines = [f"{key} = {_toml(value)}" for key, value in document.items() if _is_plain(value)]
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            inner = (f"{_toml(name)} = {_toml(one)}" for name, one in value.items())
            lines += ["", f"[{key}]", *inner]
    with storage_errors(path):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is_plain(value: object) -> bool:
    return value is not None and not isinstance(value, Mapping)


def _toml(value: object) -> str:
    """A value as TOML writes it; its strings and lists are JSON's, DEL aside."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
