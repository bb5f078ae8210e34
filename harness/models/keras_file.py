"""Reading `.keras` files: inputs and outputs from the archive's own JSON, without Keras.

Written by Keras 3 and by Keras 2.15 (format v3). Objects are never built: what would need code
that the file carries or only its author has is refused by name.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.canonical import sha256_file
from harness.errors import ModelError
from harness.models.keras_shapes import output_shape
from harness.models.model_file import ModelFile, Shape, TensorSpec, listed, not_whole
from harness.models.zip_archive import open_archive

_KIND = "a Keras"
_MOST_CONFIG_BYTES = 64 * 1024**2
_OWN_MODULES = ("keras", "keras_core", "tf_keras")
_LOADING = ("utils", "saving", "models")
"""Parts of Keras whose functions read files or fetch them (CVE-2025-8747)."""


def read_keras(path: Path) -> ModelFile:
    """Read a `.keras` file.

    Shapes of outputs are told for the layers that classifiers end with; None for others.

    Raises:
        ModelError: not a whole file, a model without a stated input, or one that needs code.
    """
    with open_archive(path, _KIND) as archive:
        for part in ("metadata.json", "config.json", "model.weights.h5"):
            if part not in archive.members:
                raise not_whole(path, _KIND, f"its {part} is missing")
        try:
            metadata = json.loads(archive.read("metadata.json", _MOST_CONFIG_BYTES))
            config = json.loads(archive.read("config.json", _MOST_CONFIG_BYTES))
        except (ValueError, RecursionError) as error:
            raise not_whole(path, _KIND, "what it says of its layers is garbled") from error
        archive.check_content()
    if not isinstance(metadata, dict) or not isinstance(config, dict):
        raise not_whole(path, _KIND, "what it says of its layers is garbled")
    _check_code(path, config)
    try:
        inputs, outputs = _ends(path, config)
    # The JSON is a person's to change: a garbled one fails in one of these ways.
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise not_whole(path, _KIND, "what it says of its layers makes no sense") from error
    return ModelFile(
        path=path,
        format="keras",
        sha256=sha256_file(path),
        inputs=inputs,
        outputs=outputs,
        opset=None,
        ir_version=None,
        external_files=(),
        size_bytes=path.stat().st_size,
    )


def _check_code(path: Path, config: dict[str, Any]) -> None:
    """Refuse what Keras's safe mode would refuse, by name."""
    lambdas, customs = [], []
    for entry in _objects(config):
        kind, inner = entry["class_name"], entry.get("config")
        name = inner.get("name") if isinstance(inner, dict) else inner
        shown = f"{name or '?'} ({entry.get('registered_name') or kind})"
        if kind in {"Lambda", "__lambda__"}:
            lambdas.append(shown if kind == "Lambda" else "a lambda function")
        elif kind == "function" and not _is_own_function(entry):
            lambdas.append(f"{entry.get('module')}.{inner}")
        elif "module" in entry and kind != "function" and not _is_own(entry):
            customs.append(shown)
    if lambdas:
        raise ModelError(
            f"{path} holds Python code: {listed(sorted(set(lambdas)))}. It was not opened: Keras "
            "refuses such files too (safe mode).",
            "Replace each Lambda layer with built-in layers and save the model again, or export "
            "it where you trust it: model.export('folder') makes a SavedModel.",
        )
    if customs:
        raise ModelError(
            f"{path} needs code that it does not hold, for its custom objects "
            f"{listed(sorted(set(customs)))}.",
            "Export it where that code is: model.export('folder') makes a SavedModel.",
        )


def _is_own(entry: dict[str, Any]) -> bool:
    registered, module = entry.get("registered_name"), entry["module"]
    if isinstance(registered, str) and ">" in registered:
        return registered.startswith(("keras", "Keras"))
    return isinstance(module, str) and module.split(".")[0] in _OWN_MODULES


def _is_own_function(entry: dict[str, Any]) -> bool:
    """Whether a function by name is an activation or the like, and none that can do harm.

    Older versions import any function that a file names (CVE-2025-1550).
    """
    module, name = entry.get("module"), entry.get("config")
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    parts = module.split(".")
    if parts == ["builtins"]:
        # Keras writes its own functions by this module too.
        return not hasattr(builtins, name)
    return parts[0] in _OWN_MODULES and not set(parts) & set(_LOADING)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object in a configuration, however deep."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _ends(
    path: Path, model: dict[str, Any]
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    config, kind = model.get("config"), model["class_name"]
    if isinstance(config, dict) and kind == "Sequential":
        return _sequential(path, model)
    if isinstance(config, dict) and "input_layers" in config and "output_layers" in config:
        layers = {
            layer["config"].get("name", layer.get("name")): layer for layer in config["layers"]
        }
        inputs = tuple(_input(layers[name]) for name in _named(config["input_layers"]))
        outputs = tuple(_output(layers, name) for name in _named(config["output_layers"]))
        return inputs, outputs
    raise ModelError(
        f"{path} holds a {kind} and does not say what it takes and gives.",
        "Build it with an Input layer (a functional or sequential model), and save it again; or "
        "export it: model.export('folder') makes a SavedModel.",
    )


def _sequential(
    path: Path, model: dict[str, Any]
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    layers = model["config"]["layers"]
    if layers and layers[0]["class_name"] == "InputLayer":
        entry = _input(layers[0])
    else:
        built = model["config"].get("build_input_shape")
        built = built or (model.get("build_config") or {}).get("input_shape")
        if not built:
            raise ModelError(
                f"{path} holds a Sequential model that was never built: its input has no shape.",
                "Call model.build((None, height, width, 3)), and save it again.",
            )
        entry = TensorSpec("input", "float32", _shape(built))
    last = layers[-1]
    shape = output_shape(model)
    return (entry,), (TensorSpec(last["config"]["name"], _computes_in(last), shape),)


def _named(ends: Any) -> list[str]:
    """The layers of `["a", 0, 0]`, `[["a", 0, 0], …]` or a mapping of such."""
    if isinstance(ends, dict):
        return [name for key in sorted(ends) for name in _named(ends[key])]
    if ends and isinstance(ends[0], str):
        return [ends[0]]
    return [name for end in ends for name in _named(end)]


def _input(layer: dict[str, Any]) -> TensorSpec:
    config = layer["config"]
    shape = config["batch_shape"] if "batch_shape" in config else config["batch_input_shape"]
    return TensorSpec(str(config["name"]), _computes_in(layer), _shape(shape))


def _output(layers: dict[str, Any], name: str) -> TensorSpec:
    layer = layers[name]
    return TensorSpec(name, _computes_in(layer), output_shape(layer, layers))


def _shape(sizes: Any) -> Shape | None:
    if sizes is None:
        return None
    return tuple(None if size is None else int(size) for size in sizes)


def _computes_in(layer: dict[str, Any]) -> str:
    """The dtype that a layer gives: its own, or that of its policy."""
    dtype = layer["config"].get("dtype") or "float32"
    if isinstance(dtype, dict):
        dtype = (dtype.get("config") or {}).get("name") or "float32"
    return str(dtype).removeprefix("mixed_")
