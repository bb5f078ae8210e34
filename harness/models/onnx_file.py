"""Reading ONNX files: inputs, outputs, opset, and whether all weights are there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from harness.canonical import sha256_file
from harness.errors import ModelError
from harness.models.model_file import ModelFile, Shape, TensorSpec, not_whole

_KIND = "an ONNX"
_TYPES = onnx.TensorProto
_NAMES = {
    _TYPES.FLOAT: "float32",
    _TYPES.DOUBLE: "float64",
    _TYPES.FLOAT16: "float16",
    _TYPES.BFLOAT16: "bfloat16",
    _TYPES.INT8: "int8",
    _TYPES.INT16: "int16",
    _TYPES.INT32: "int32",
    _TYPES.INT64: "int64",
    _TYPES.UINT8: "uint8",
    _TYPES.UINT16: "uint16",
    _TYPES.UINT32: "uint32",
    _TYPES.UINT64: "uint64",
    _TYPES.BOOL: "bool",
    _TYPES.STRING: "string",
    _TYPES.COMPLEX64: "complex64",
    _TYPES.COMPLEX128: "complex128",
    _TYPES.INT4: "int4",
    _TYPES.UINT4: "uint4",
}
_BITS = {
    **dict.fromkeys((_TYPES.FLOAT, _TYPES.INT32, _TYPES.UINT32), 32),
    **dict.fromkeys((_TYPES.DOUBLE, _TYPES.INT64, _TYPES.UINT64, _TYPES.COMPLEX64), 64),
    **dict.fromkeys((_TYPES.FLOAT16, _TYPES.BFLOAT16, _TYPES.INT16, _TYPES.UINT16), 16),
    **dict.fromkeys((_TYPES.INT8, _TYPES.UINT8, _TYPES.BOOL), 8),
    **dict.fromkeys((_TYPES.INT4, _TYPES.UINT4), 4),
    _TYPES.COMPLEX128: 128,
}
_COMPLEX = (_TYPES.COMPLEX64, _TYPES.COMPLEX128)
_LISTS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def read_onnx(path: Path) -> ModelFile:
    """Read an ONNX file; external data is looked at for presence and size.

    Raises:
        ModelError: not a whole ONNX file, or external data that is missing or too short.
    """
    model = _parse(path)
    graph = model.graph
    if not graph.node or not graph.output:
        raise not_whole(path, _KIND, "its graph is empty")
    opsets = {o.domain or "ai.onnx": o.version for o in model.opset_import}
    if not model.ir_version or not opsets:
        raise not_whole(path, _KIND, "it names no IR version or no operator set")
    external = _check_weights(path, list(_initialisers(graph)))
    _check_links(path, graph)
    own = {tensor.name for tensor in graph.initializer}
    own.update(sparse.values.name for sparse in graph.sparse_initializer)
    return ModelFile(
        path=path,
        format="onnx",
        sha256=_digest(path, external),
        inputs=tuple(_spec(path, value) for value in graph.input if value.name not in own),
        outputs=tuple(_spec(path, value) for value in graph.output),
        opset=opsets.get("ai.onnx"),
        ir_version=model.ir_version,
        external_files=tuple(external),
        size_bytes=sum(file.stat().st_size for file in (path, *external)),
    )


def _parse(path: Path) -> Any:
    if path.stat().st_size == 0:
        raise not_whole(path, _KIND, "it is empty")
    try:
        return onnx.load(str(path), format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise not_whole(path, _KIND, "it does not parse") from error


def _initialisers(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _initialisers(attribute.g)


def _check_weights(path: Path, tensors: list[Any]) -> list[Path]:
    """Check that every tensor has the bytes its shape needs; the external files among them."""
    external: dict[str, Path] = {}
    for tensor in tensors:
        elements = math.prod(tensor.dims)
        bits = _BITS.get(tensor.data_type)
        needed = None if bits is None else (elements * bits + 7) // 8
        if tensor.data_location == _TYPES.EXTERNAL:
            location, file = _external_file(path, tensor, needed)
            external[location] = file
        elif tensor.HasField("raw_data"):
            if needed is not None and len(tensor.raw_data) != needed:
                raise not_whole(
                    path,
                    _KIND,
                    f"the weights {tensor.name!r} have {len(tensor.raw_data)} of {needed} bytes",
                )
        elif not _list_is_whole(tensor, elements):
            raise not_whole(path, _KIND, f"the weights {tensor.name!r} are not all there")
    return [external[location] for location in sorted(external)]


def _list_is_whole(tensor: Any, elements: int) -> bool:
    stored = max(len(getattr(tensor, name)) for name in _LISTS)
    if tensor.data_type in _COMPLEX:
        return stored == 2 * elements
    if _BITS.get(tensor.data_type) == 4:
        return stored == (elements + 1) // 2
    if tensor.data_type in _BITS or tensor.data_type == _TYPES.STRING:
        return stored == elements
    return True


def _external_file(path: Path, tensor: Any, needed: int | None) -> tuple[str, Path]:
    about = {entry.key: entry.value for entry in tensor.external_data}
    location = about.get("location", "")
    parts = PurePosixPath(location).parts
    if not location or location.startswith("/") or ".." in parts:
        raise ModelError(
            f"{path} keeps the weights {tensor.name!r} in {location!r}, outside its own folder.",
            "External data must lie beside the model: export it again.",
        )
    file = path.parent / location
    if not file.is_file():
        raise ModelError(
            f"{path} keeps its weights in {location}, which is not beside it.",
            f"Copy {location} into {path.parent}, or export the model into one file.",
        )
    try:
        offset = int(about.get("offset") or 0)
        length = int(about["length"]) if about.get("length") else needed
    except ValueError as error:
        raise not_whole(
            path, _KIND, f"the place of the weights {tensor.name!r} is garbled"
        ) from error
    size = file.stat().st_size
    if length is None:
        length = max(size - offset, 0)
    if needed is not None and length < needed:
        raise not_whole(path, _KIND, f"the weights {tensor.name!r} are shorter than their shape")
    if offset < 0 or offset + length > size:
        raise ModelError(
            f"{file} is truncated: the weights {tensor.name!r} of {path.name} end at byte "
            f"{offset + length}, the file at {size}.",
            "Copy the file again, and compare sizes with the original.",
        )
    return location, file


def _check_links(path: Path, graph: Any) -> None:
    """Check that what nodes and outputs refer to is made somewhere: a cut graph has loose ends."""
    made = {value.name for value in graph.input}
    made.update(tensor.name for tensor in graph.initializer)
    made.update(sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        loose = next((name for name in node.input if name and name not in made), None)
        if loose is not None:
            raise not_whole(
                path,
                _KIND,
                f"node {node.name or node.op_type!r} reads {loose!r}, which nothing makes",
            )
        made.update(node.output)
    loose = next((value.name for value in graph.output if value.name not in made), None)
    if loose is not None:
        raise not_whole(path, _KIND, f"its output {loose!r} is made by no node")


def _spec(path: Path, value: Any) -> TensorSpec:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "nothing"
        raise ModelError(
            f"{path}: {value.name!r} is not a tensor ({kind}).",
            "Models with tensors for inputs and outputs can be compared (for scikit-learn "
            "exports: turn ZipMap off).",
        )
    tensor = value.type.tensor_type
    shape: Shape | None = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim)
    return TensorSpec(value.name, _NAMES.get(tensor.elem_type, f"type-{tensor.elem_type}"), shape)


def _digest(path: Path, external: list[Path]) -> str:
    if not external:
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in (path, *external):
        name = "" if file == path else file.relative_to(path.parent).as_posix()
        digest.update(name.encode() + b"\0" + sha256_file(file).encode() + b"\n")
    return digest.hexdigest()
