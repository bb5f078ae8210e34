"""Reading a sweep file, and telling a person exactly what is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import SpecError
from harness.spec.models import VOLUME, SweepSpec


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    loader.flatten_mapping(node)
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is given twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_spec(path: Path, more: Mapping[str, Any] | None = None) -> SweepSpec:
    """Read a sweep file (YAML); relative paths in it are meant from its own folder.

    Args:
        path: the file.
        more: what it leaves open, with absolute paths: a model for a file that has none.

    Raises:
        SpecError: unreadable, not YAML, an unknown key or a bad value: each with its place; or
            something in `more` that the file says too.
    """
    document = read_document(path)
    again = _fill(document, more or {})
    _check_complete(document, path)
    if again:
        raise SpecError(
            f"{path} says {', '.join(again)} itself.",
            "Change it in the file, or take it out there to give it as an option.",
        )
    return anchored(check_spec(document, str(path)), path.resolve().parent)


def read_document(path: Path) -> dict[str, Any]:
    """What a sweep file says, unchecked.

    Raises:
        SpecError: unreadable, not YAML, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"Cannot read the sweep file {path}: {error.strerror}.",
            "`harness sweep --help` shows how to sweep without one.",
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path} is no sweep file: it holds no text.",
            f"If it is a model, name it with an option: harness sweep --model {path}",
        ) from error
    try:
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise SpecError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise SpecError(
            f"{path} holds no sweep: a mapping with models, data and environments is expected.",
            "`harness sweep --schema` prints what may stand there.",
        )
    return document


def _check_complete(document: Mapping[str, Any], path: Path) -> None:
    """Say which options a file without models or inputs wants; a mistyped key is told as such."""
    if not set(document) <= set(SweepSpec.model_fields):
        return
    open_ends = [
        *([] if "models" in document else ["the model: --model FILE --recipe …"]),
        *([] if {"data", "inputs"} & set(document) else ["the images: --data DIR"]),
    ]
    if open_ends:
        raise SpecError(
            f"{path.name} leaves open {' and '.join(open_ends)}.",
            "Give it with the command, or write it into the file.",
        )


def _fill(document: dict[str, Any], more: Mapping[str, Any], place: str = "") -> list[str]:
    """Put what is missing into a document; the places that it has already."""
    again = []
    for key, value in more.items():
        there = document.get(key)
        if there is None:
            document[key] = value
        elif isinstance(there, dict) and isinstance(value, Mapping):
            again += _fill(there, value, f"{place}{key}.")
        else:
            again.append(f"{place}{key}")
    return again


def check_spec(document: dict[str, Any], origin: str) -> SweepSpec:
    """Check a sweep given as plain values.

    Raises:
        SpecError: every unknown key and bad value, each with its place and what is allowed.
    """
    try:
        return SweepSpec.model_validate(document)
    except ValidationError as error:
        lines = [_explain(item) for item in _causes(error.errors(include_url=False))]
        told = lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} faults", *lines])
        raise SpecError(
            f"{origin}: {told}",
            "`harness sweep --schema` prints everything that may stand in a sweep file.",
        ) from error


def anchored(spec: SweepSpec, folder: Path) -> SweepSpec:
    """The same sweep with every relative path made absolute, as meant from `folder`."""

    def anchor(path: Path | None) -> Path | None:
        if path is None or path.as_posix().startswith(VOLUME):
            return path
        return folder / path.expanduser()

    models = tuple(
        m.model_copy(update={"path": anchor(m.path), "recipe": _recipe(m.recipe, folder)})
        for m in spec.models
    )
    data = spec.data and spec.data.model_copy(
        update={
            "path": anchor(spec.data.path),
            "synsets": anchor(spec.data.synsets),
            "labels": anchor(spec.data.labels),
            "only": anchor(spec.data.only),
        }
    )
    inputs = spec.inputs and spec.inputs.model_copy(
        update={"path": anchor(spec.inputs.path), "labels": anchor(spec.inputs.labels)}
    )
    return spec.model_copy(update={"models": models, "data": data, "inputs": inputs})


def _recipe(recipe: str | None, folder: Path) -> str | None:
    if recipe is None or not Path(recipe).suffix:
        return recipe
    return str(folder / Path(recipe).expanduser())


_IN_OTHER_WORDS = {
    "too_short": "needs at least one entry",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "string_type": "must be a text",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
}


def _causes(items: list[Any]) -> list[Any]:
    """Without the complaints that a list is empty only because its items were refused."""
    places = [item["loc"] for item in items]
    return [
        item
        for item in items
        if item["type"] != "too_short"
        or not any(
            len(p) > len(item["loc"]) and p[: len(item["loc"])] == item["loc"] for p in places
        )
    ]


def _explain(item: Any) -> str:
    place = _place(item["loc"])
    if item["type"] == "extra_forbidden":
        allowed = _allowed_keys(item["loc"])
        close = difflib.get_close_matches(str(item["loc"][-1]), allowed, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{place}: unknown key.{hint} Allowed here: {', '.join(allowed)}."
    if item["type"] == "missing":
        return f"{place}: is required."
    message = _IN_OTHER_WORDS.get(item["type"], item["msg"].removeprefix("Value error, "))
    given = "" if isinstance(item["input"], dict | list | tuple) else f" (given: {item['input']!r})"
    return f"{place}: {message}{given}." if place else f"{message}."


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif not part.startswith(("constrained-", "tuple[", "function-")):
            place += f".{part}" if place else part
    return place


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the model that an unknown key was found in."""
    model: type[BaseModel] = SweepSpec
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        found = _model_in(field.annotation)
        if found is not None:
            model = found
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
