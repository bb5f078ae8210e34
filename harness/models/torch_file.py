"""PyTorch's own files of weights, zip and legacy: names, dtypes and shapes, without loading them."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.models.file_content import content_of, first_words
from harness.models.model_file import TensorSpec, listed, not_whole
from harness.models.pickle_file import (
    BrokenPickle,
    Name,
    Rules,
    Scan,
    Storage,
    Unknown,
    View,
    follow,
)
from harness.models.zip_archive import Archive, open_archive

_KIND = "a PyTorch weights"
_MOST_PICKLE_BYTES = 256 * 1024**2
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MOST_AXES = 16
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
"""What a name to import looks like; the first words of a text can pass for an opcode and more."""
_MOST_DEPTH = 4
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
_SAFE = (
    "Load it where you trust it and save the state_dict as safetensors, or with "
    "torch.save(model.state_dict(), 'weights.pth')."
)
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "",
}
_BYTES = {
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("int8", "uint8", "bool", ""), 1),
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"), 1),
    "complex128": 16,
}
_NOT_PLAIN = {
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without values (meta)",
}
_HARMLESS = {
    "collections.OrderedDict",
    "collections.Counter",
    "builtins.set",
    "builtins.bytearray",
    "builtins.complex",
    "_codecs.encode",
    "torch.Size",
    "torch.device",
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
    "torch.torch_version.TorchVersion",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._tensor._rebuild_from_type_v2",
    "torch.storage.TypedStorage",
    *_NOT_PLAIN,
    *(f"torch.{name}" for name in _STORAGES),
    *(f"torch.storage.{name}" for name in _STORAGES),
    *(f"torch.{dtype}" for dtype in _BYTES if dtype),
    *(f"torch.{kind}Storage" for kind in ("QInt8", "QUInt8", "QInt32")),
    *(f"torch.{name}" for name in ("qint8", "quint8", "qint32", "per_tensor_affine")),
    *("torch.per_channel_affine", "torch.strided", "torch.contiguous_format"),
}


def read_torch_tensors(path: Path) -> tuple[TensorSpec, ...]:
    """The tensors of a `state_dict`; nothing of the file is run.

    A wrapper (`{"state_dict": …}`) is opened, and the prefix of DataParallel or torch.compile,
    where all names have it, is taken off, as the runner does.

    Raises:
        ModelError: not a whole file, a whole module, a program, or a pickle that would run code.
    """
    if content_of(path).kind == "torch-zip":
        with open_archive(path, _KIND) as archive:
            scan = _read_zip(path, archive)
    else:
        scan = _read_legacy(path)
    return _without_prefix(_state(path, scan.value))


def refuse_code(path: Path, content: bytes) -> None:
    """Refuse a file of PyTorch that is a part of another file, where it would run code.

    Args:
        path: of the whole file, for messages.
        content: the part, as `torch.save` wrote it.

    Raises:
        ModelError: a pickle that imports more than tensors need, or none that PyTorch writes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            texts = [_bounded(path, archive, name) for name in pickles]
    # zipfile trusts the list of parts: a garbled one fails in one of these ways.
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, zlib.error) as error:
        raise not_whole(path, _KIND, "a part of it is no archive of PyTorch") from error
    if len(texts) != 1:
        raise not_whole(path, _KIND, f"a part of it holds {len(texts)} pickles")
    _follow(path, io.BytesIO(texts[0]), Scan())


def _bounded(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MOST_PICKLE_BYTES:
        raise not_whole(path, _KIND, f"its part {name} is too large")
    return archive.read(name)


def _read_zip(path: Path, archive: Archive) -> Scan:
    roots = [name.removesuffix("data.pkl") for name in archive.members if name.count("/") == 1]
    root = next((root for root in roots if f"{root}data.pkl" in archive.members), None)
    if root is None:
        raise not_whole(path, _KIND, "its data.pkl is missing")
    scan = Scan()
    _follow(path, io.BytesIO(archive.read(f"{root}data.pkl", _MOST_PICKLE_BYTES)), scan)
    for key, storage in scan.storages.items():
        member = archive.members.get(f"{root}data/{key}")
        if member is None:
            raise not_whole(path, _KIND, f"the numbers of its storage {key!r} are missing")
        needed = storage.elements * _BYTES[storage.dtype]
        if member.file_size != needed:
            reason = f"its storage {key!r} has {member.file_size} of {needed} bytes"
            raise not_whole(path, _KIND, reason)
    archive.check_content()
    return scan


def _read_legacy(path: Path) -> Scan:
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(_MOST_PICKLE_BYTES))
    first = Scan()
    _follow(path, stream, first)
    if first.value != _LEGACY_MAGIC:
        raise _no_state(path, "a pickle that PyTorch did not write")
    parts = [Scan() for _ in range(4)]
    for part in parts:
        _follow(path, stream, part)
    protocol, system, scan, keys = parts
    if protocol.value != _LEGACY_PROTOCOL or not isinstance(keys.value, list):
        raise not_whole(path, _KIND, "its order of parts is not PyTorch's")
    if {str(key) for key in keys.value} != set(scan.storages):
        raise not_whole(path, _KIND, "its storages are not those that its tensors refer to")
    little = not isinstance(system.value, dict) or system.value.get("little_endian", True)
    place = stream.tell()
    with path.open("rb") as file:
        for key in keys.value:
            storage = scan.storages[str(key)]
            file.seek(place)
            head = file.read(8)
            place += 8 + storage.elements * _BYTES[storage.dtype]
            counted = len(head) == 8 and struct.unpack("<q" if little else ">q", head)[0]
            if place > size_bytes or counted != storage.elements:
                reason = f"its storage {key!r} ends at byte {place}, the file at {size_bytes}"
                raise not_whole(path, _KIND, reason)
    return scan


def _follow(path: Path, stream: io.BytesIO, scan: Scan) -> None:
    broken: BrokenPickle | None = None
    try:
        follow(stream, Rules(_called, _referred), scan)
    except BrokenPickle as error:
        broken = error
    # What a cut or garbled pickle would have run is the more important news.
    foreign = [name for name in scan.imports if name not in _HARMLESS]
    text = broken is not None and content_of(path).kind == "text"
    if foreign and not (text and not all(map(_DOTTED.fullmatch, foreign))):
        raise _would_run(path, foreign)
    if broken is not None and text:
        reason = f"it is a text file ({first_words(path)!r})"
        raise not_whole(path, _KIND, reason, "Give the model's own file.")
    if broken is not None:
        raise not_whole(path, _KIND, f"its pickle is cut or garbled ({broken})") from broken


def _would_run(path: Path, foreign: list[str]) -> ModelError:
    modules = [name for name in foreign if name.startswith("torch.nn.modules.")]
    # A dangerous name must not hide behind those of layers.
    others = [name for name in foreign if name not in modules]
    if modules:
        return ModelError(
            f"{path} holds a whole module, not a state_dict: loading it would run "
            f"{listed(others + modules)}. It was not opened.",
            _SAFE,
        )
    return ModelError(
        f"{path} wants to run {listed(others)} when it is loaded: it was not opened.", _SAFE
    )


def _no_state(path: Path, what: str) -> ModelError:
    return ModelError(f"{path} holds {what}, and no state_dict.", _SAFE)


def _called(function: Name, arguments: list[Any]) -> Any:
    """The symbol for what a harmless name makes."""
    path = function.path
    if path in _NOT_PLAIN:
        return View(None, "", 0, (), (), _NOT_PLAIN[path])
    return _MAKERS[path](arguments) if path in _MAKERS else Unknown()


def _ordered(arguments: list[Any]) -> dict[Any, Any]:
    pairs = arguments[0] if arguments else []
    if isinstance(pairs, dict):
        return dict(pairs)
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and isinstance(pair[0], str)}


def _size(arguments: list[Any]) -> tuple[Any, ...]:
    sides = arguments[0] if arguments else ()
    if len(sides) > _MOST_AXES:
        raise BrokenPickle(f"a size has {len(sides)} axes")
    return tuple(sides)


def _tensor(arguments: list[Any]) -> View:
    storage, offset, shape, strides = arguments[:4]
    return _view(storage, getattr(storage, "dtype", ""), offset, shape, strides)


def _tensor_of_bytes(arguments: list[Any]) -> View:
    storage, offset, shape, strides = arguments[:4]
    return _view(storage, getattr(arguments[6], "name", ""), offset, shape, strides)


def _parameter(arguments: list[Any]) -> Any:
    return arguments[0] if isinstance(arguments[0], View) else Unknown()


def _typed(arguments: list[Any]) -> Any:
    function, _, inner = arguments[:3]
    # Only what makes tensors: a type within a type would nest without end.
    made_by = function.path if isinstance(function, Name) else ""
    return _MAKERS[made_by](list(inner)) if made_by.startswith("torch._utils.") else Unknown()


_MAKERS: dict[str, Callable[[list[Any]], Any]] = {
    "collections.OrderedDict": _ordered,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_bytes,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _typed,
}


def _referred(about: Any) -> Storage:
    if not isinstance(about, tuple) or len(about) < 5 or about[0] != "storage":
        raise BrokenPickle("it refers to something that is no storage")
    kind, key, elements = about[1], about[2], about[4]
    if isinstance(key, bytes):
        key = key.decode("ascii", "replace")
    if not isinstance(kind, Name) or not isinstance(key, str) or not _is_size(elements):
        raise BrokenPickle("it refers to a storage that makes no sense")
    if kind.name.startswith("Q"):
        return Storage({"QInt32Storage": "int32"}.get(kind.name, "int8"), key, elements)
    if kind.name not in _STORAGES:
        raise BrokenPickle(f"it refers to numbers of the kind {kind.path}")
    if len(about) > 5 and about[5] is not None:
        raise BrokenPickle("its storages are views of each other, as PyTorch 0.1 wrote")
    return Storage(_STORAGES[kind.name], key, elements)


def _view(storage: Any, dtype: Any, offset: Any, shape: Any, strides: Any) -> View:
    if not isinstance(storage, Storage) or dtype not in _BYTES:
        raise BrokenPickle("a tensor has no storage")
    shape, strides = tuple(shape), tuple(strides)
    if len(shape) != len(strides) or len(shape) > _MOST_AXES:
        raise BrokenPickle("the strides of a tensor do not fit its shape")
    if not all(_is_size(number) for number in (offset, *shape, *strides)):
        raise BrokenPickle("a tensor has sizes that make no sense")
    reach = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + 1
    held = storage.elements * _BYTES[storage.dtype] // _BYTES[dtype]
    if math.prod(shape) and reach > held:
        raise BrokenPickle(f"a tensor {list(shape)} is larger than its storage")
    return View(storage, dtype, offset, shape, strides)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48


def _state(path: Path, value: Any) -> tuple[TensorSpec, ...]:
    for _ in range(_MOST_DEPTH):
        inner = (value.get(name) for name in _WRAPPERS) if isinstance(value, dict) else ()
        wrapped = next((found for found in inner if isinstance(found, dict)), None)
        if wrapped is None:
            break
        value = wrapped
    if isinstance(value, View):
        raise _no_state(path, "a single tensor")
    if not isinstance(value, dict):
        raise _no_state(path, f"{type(value).__name__.lower()} values")
    views = {name: view for name, view in value.items() if isinstance(view, View)}
    if not views:
        keys = [str(key) for key in value]
        raise _no_state(path, f"no tensors (its keys: {listed(keys) or 'none'})")
    for name, view in views.items():
        if view.kind or not isinstance(name, str):
            raise _no_state(path, f"{view.kind or 'a tensor'} called {name!r}")
    return tuple(TensorSpec(name, view.dtype, view.shape) for name, view in views.items())


def _without_prefix(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    for prefix in _PREFIXES * _MOST_DEPTH:
        if all(tensor.name.startswith(prefix) for tensor in tensors):
            tensors = tuple(
                TensorSpec(tensor.name.removeprefix(prefix), tensor.dtype, tensor.shape)
                for tensor in tensors
            )
    return tensors
