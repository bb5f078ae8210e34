"""Reading SavedModel folders: the signature, and whether its variables are all there."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from harness.canonical import sha256_file
from harness.errors import ModelError
from harness.models.model_file import ModelFile, TensorSpec, listed, not_whole
from harness.models.tensorflow_protos import VARIABLE_OPS, dtype_of, message_class, shape_of
from harness.models.variables_file import check_variables
from harness.trees import walk

_KIND = "a SavedModel"
_MOST_BYTES = 1 << 31
_MOST_FILES = 10_000
_USUAL = "serving_default"
_INTERNAL = "__saved_model_init_op"


def read_savedmodel(path: Path) -> ModelFile:
    """Read a folder with `saved_model.pb`, tagged `serve`.

    The signature is `serving_default`, or the only one. Names are those of the signature.

    Raises:
        ModelError: not whole, no or several signatures, variables that are missing or cut, or
            links in it.
    """
    files = _files(path)
    meta = _meta_graph(path)
    if _has_variables(meta) or (path / "variables").is_dir():
        check_variables(path / "variables")
    name, signature = _signature(path, meta)
    try:
        inputs, outputs = _specs(signature.inputs), _specs(signature.outputs)
    except ValueError as error:
        raise not_whole(path, _KIND, str(error)) from error
    if not outputs:
        raise not_whole(path, _KIND, f"its signature {name} gives nothing")
    digest = hashlib.sha256()
    for file in files:
        relative = file.relative_to(path).as_posix()
        digest.update(relative.encode() + b"\0" + sha256_file(file).encode() + b"\n")
    return ModelFile(
        path=path,
        format="savedmodel",
        sha256=digest.hexdigest(),
        inputs=inputs,
        outputs=outputs,
        opset=None,
        ir_version=None,
        external_files=(),
        size_bytes=sum(file.stat().st_size for file in files),
    )


def _files(path: Path) -> list[Path]:
    """All files of the folder by name, sorted; links are refused: they lead out of it."""
    if (path / "saved_model.pbtxt").exists() and not (path / "saved_model.pb").exists():
        raise ModelError(
            f"{path} is a SavedModel as text (saved_model.pbtxt).",
            "Save it again as binary: tf.saved_model.save(tf.saved_model.load(folder), 'new').",
        )
    for number, (_, name, about) in enumerate(walk(path)):
        if stat.S_ISLNK(about.st_mode):
            raise ModelError(
                f"{path} holds the link {name}, which leads out of the model.",
                "Copy it with what its links lead to: cp -rL.",
            )
        if number > _MOST_FILES:
            raise not_whole(path, _KIND, f"it holds more than {_MOST_FILES} files")
        if not stat.S_ISDIR(about.st_mode) and not stat.S_ISREG(about.st_mode):
            raise not_whole(path, _KIND, f"{name} in it is neither file nor folder")
    return sorted(file for file in path.rglob("*") if file.is_file())


def _meta_graph(path: Path) -> Any:
    file = path / "saved_model.pb"
    if file.stat().st_size >= _MOST_BYTES:
        raise not_whole(file, _KIND, "it is larger than 2 GiB, which no protobuf file is")
    try:
        saved = message_class("SavedModel").FromString(file.read_bytes())
    except DecodeError as error:
        raise not_whole(file, _KIND, "it does not parse") from error
    if not saved.meta_graphs:
        raise not_whole(file, _KIND, "it holds no graph" if file.stat().st_size else "it is empty")
    tags = [sorted(meta.meta_info_def.tags) for meta in saved.meta_graphs]
    found = next((meta for meta in saved.meta_graphs if "serve" in meta.meta_info_def.tags), None)
    if found is None:
        shown = listed([" + ".join(names) or "none" for names in tags])
        raise ModelError(
            f"{path} holds no graph tagged serve (its tags: {shown}).",
            "Export it for serving: model.export('folder') or tf.saved_model.save(model, folder).",
        )
    return found


def _has_variables(meta: Any) -> bool:
    graph = meta.graph_def
    nodes = [graph.node, *(function.node_def for function in graph.library.function)]
    return any(node.op in VARIABLE_OPS for part in nodes for node in part)


def _signature(path: Path, meta: Any) -> tuple[str, Any]:
    signatures = meta.signature_def
    names = sorted(name for name in signatures if name != _INTERNAL)
    if _USUAL in names:
        return _USUAL, signatures[_USUAL]
    if len(names) == 1:
        return names[0], signatures[names[0]]
    if not names:
        raise ModelError(
            f"{path} has no signature, so what it takes and gives is not said.",
            "Save it with one: tf.saved_model.save(model, folder, signatures=function), or "
            "model.export('folder').",
        )
    raise ModelError(
        f"{path} has {len(names)} signatures ({listed(names)}) and none called {_USUAL}.",
        f"Save it with one signature, or call the one that is meant {_USUAL}.",
    )


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, dtype_of(tensors[name].dtype), shape_of(tensors[name].tensor_shape))
        for name in sorted(tensors)
    )
