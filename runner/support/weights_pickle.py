"""Reads a PyTorch state_dict, in the zip and in the legacy format, and runs nothing of it.

A pickle is a program that may call anything. The unpickler here knows a handful of names that a
state_dict is made of, each bound to a stand-in of this module, and refuses every other one.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from typing import IO, Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from runner.support.weights_values import (
    MAX_BYTES,
    DamagedError,
    RefusedError,
    array_from,
    read_exactly,
)

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_PICKLE_BYTES = 256 * 1024**2
_ORDERS = {b"little": "<", b"big": ">"}
_STORAGES: Dict[str, Optional[str]] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": None,
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")
_SAVE = "save the weights alone: torch.save(model.state_dict(), path), or a .safetensors file"


class _StorageType(NamedTuple):
    dtype: Optional[str]


class _Storage:
    """A run of numbers of which tensors are views; the legacy format brings it after them."""

    __slots__ = ("count", "dtype", "flat")

    def __init__(self, dtype: Optional[str], count: int) -> None:
        self.dtype = dtype
        self.count = count
        self.flat: Optional[np.ndarray] = None

    @property
    def item_bytes(self) -> int:
        return 2 if self.dtype is None else np.dtype(self.dtype).itemsize


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]


class _Call:
    """What a pickle may call. Without a `__dict__`, so that it can't change it either."""

    __slots__ = ("__name",)

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_Call__name", name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise DamagedError(f"it assigns to {name!r} of a function")

    def __call__(self, *args: Any) -> Any:
        return _FUNCTIONS[self.__name](*args)


class _Unpickler(pickle.Unpickler):
    """Loads what a state_dict is made of; the tensors come out as `_Tensor`."""

    def __init__(self, file: IO[bytes], storages: Dict[str, _Storage], globals_: List[str]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storages = storages
        self._globals = globals_

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name; never the thing itself."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        if module == "torch" and name in _DTYPES:
            return name
        if f"{module}.{name}" in _FUNCTIONS:
            return _Call(f"{module}.{name}")
        raise _refusal(f"{module}.{name}", self._globals)

    def persistent_load(self, pid: Any) -> Any:
        """The storage that a tensor refers to."""
        if isinstance(pid, tuple) and pid and pid[0] == "module":
            raise _whole_module(" ".join(str(part)[:80] for part in pid[1:2]))
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
            raise DamagedError("it refers to something that is no storage")
        kind, key, count = pid[1], pid[2], pid[4]
        if not isinstance(kind, _StorageType) or not isinstance(key, str) or not _is_size(count):
            raise DamagedError("it refers to a storage that makes no sense")
        if len(pid) > 5 and pid[5] is not None:
            raise RefusedError(
                f"its storages are views of each other, as PyTorch 0.1 wrote: {_SAVE}"
            )
        known = self._storages.setdefault(key, _Storage(kind.dtype, count))
        if (known.dtype, known.count) != (kind.dtype, count):
            raise DamagedError(f"storage {key!r} is described twice and differently")
        return known


def read_zip(archive: zipfile.ZipFile, prefix: str) -> Any:
    """What `torch.save` put into a zip archive, with arrays for tensors.

    Args:
        archive: open for reading; its total size is checked already.
        prefix: the folder in it, with a slash at the end.

    Raises:
        RefusedError: if it is no state_dict, or wants to run code.
        DamagedError: if something in it does not fit.
    """
    if prefix + "constants.pkl" in archive.namelist():
        raise RefusedError(f"a TorchScript program and no state_dict: {_SAVE}")
    order = "<"
    if prefix + "byteorder" in archive.namelist():
        order = _ORDERS.get(archive.read(prefix + "byteorder").strip(), "<")
    storages: Dict[str, _Storage] = {}
    with archive.open(prefix + "data.pkl") as file:
        globals_ = _scan(file)
    with archive.open(prefix + "data.pkl") as file:
        found = _Unpickler(file, storages, globals_).load()
    for key, storage in storages.items():
        with archive.open(f"{prefix}data/{key}") as file:
            size_bytes = storage.count * storage.item_bytes
            storage.flat = array_from(read_exactly(file, size_bytes, key), storage.dtype, order)
            if file.read(1):
                raise DamagedError(f"storage {key!r} has bytes behind its end")
    return _Arrays().of(found)


def read_legacy(file: IO[bytes]) -> Any:
    """What `torch.save` wrote before PyTorch 1.6: pickles, one behind the other, then storages.

    Raises:
        RefusedError: if it is no state_dict, or wants to run code.
        DamagedError: if something in it does not fit.
    """
    storages: Dict[str, _Storage] = {}
    if _next(file, storages) != _LEGACY_MAGIC:
        raise RefusedError(f"a pickle that PyTorch did not write: {_SAVE}")
    if _next(file, storages) != _LEGACY_PROTOCOL:
        raise RefusedError(f"a PyTorch file of an unknown protocol: {_SAVE}")
    system = _next(file, storages)
    little = not isinstance(system, dict) or system.get("little_endian", True)
    found = _next(file, storages)
    keys = _next(file, storages)
    if not isinstance(keys, list) or set(map(str, keys)) != set(storages):
        raise DamagedError("its storages are not those that its tensors refer to")
    order = "<" if little else ">"
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack(order + "q", read_exactly(file, 8, key))
        if count != storage.count:
            raise DamagedError(f"storage {key!r} has {count} items and should have {storage.count}")
        data = read_exactly(file, count * storage.item_bytes, key)
        storage.flat = array_from(data, storage.dtype, order)
    return _Arrays().of(found)


class _Arrays:
    """Turns the tensors in what was unpickled into arrays, with a bound on their sum."""

    def __init__(self) -> None:
        self._total_bytes = 0

    def of(self, found: Any, depth: int = 0) -> Any:
        """The same, with arrays for tensors; only mappings are looked into."""
        if isinstance(found, _Tensor):
            return self._array(found)
        if isinstance(found, dict) and depth < 8:
            return {key: self.of(value, depth + 1) for key, value in found.items()}
        return found

    def _array(self, tensor: _Tensor) -> np.ndarray:
        flat = tensor.storage.flat
        if flat is None:
            raise DamagedError("a tensor has no storage")
        count = 1
        for size in tensor.shape:
            count *= size
        self._total_bytes += count * flat.itemsize
        reach = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides))
        inside = tensor.offset + reach < len(flat) if count else tensor.offset <= len(flat)
        if not inside or self._total_bytes > MAX_BYTES:
            raise DamagedError(f"a tensor {tensor.shape} is larger than its storage")
        strides = [stride * flat.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides)
        return np.array(view, order="C")


def _next(file: IO[bytes], storages: Dict[str, _Storage]) -> Any:
    start = file.tell()
    globals_ = _scan(file)
    file.seek(start)
    return _Unpickler(file, storages, globals_).load()


def _scan(file: IO[bytes]) -> List[str]:
    """The names that a pickle asks for; reads to its end.

    A memo index makes the unpickler take memory for all indices below it, so it may not exceed
    the number of operations.
    """
    named, index = [], 0
    for index, (operation, argument, position) in enumerate(pickletools.genops(file)):
        if operation.name == "GLOBAL" and isinstance(argument, str):
            named.append(argument.replace(" ", "."))
        if "PUT" in operation.name and int(argument or 0) > index + 1:
            raise DamagedError("its memo has an index that nothing can have filled")
        if position is not None and position > _MAX_PICKLE_BYTES:
            raise RefusedError(f"its pickle is larger than {_MAX_PICKLE_BYTES} bytes: {_SAVE}")
    return named


def _refusal(name: str, globals_: List[str]) -> RefusedError:
    known = name.startswith(("torch.nn.", "torchvision.", "timm."))
    of_class = name.rsplit(".", 1)[-1][:1].isupper()
    if known or (of_class and any(each.startswith("torch.nn.") for each in globals_)):
        return _whole_module(name)
    return RefusedError(
        f"the file wants to run code when it is loaded: it calls {name}. It was not loaded, and "
        f"nothing in it was run. If you trust where it comes from, load it there and {_SAVE}"
    )


def _whole_module(name: str) -> RefusedError:
    return RefusedError(
        f"it holds a whole module, not a state_dict: it needs {name}, and loading it would run "
        f"that class's code. It was not loaded: {_SAVE}"
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_BYTES


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    sizes = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(map(_is_size, sizes)):
        raise DamagedError("a tensor makes no sense")
    if len(shape) != len(strides) or len(shape) > 16:
        raise DamagedError("a tensor's strides do not fit its shape")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    if not isinstance(tensor, _Tensor):
        raise DamagedError("a parameter is no tensor")
    return tensor


def _size(sizes: Any = ()) -> Tuple[Any, ...]:
    return tuple(sizes)


_FUNCTIONS = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
}
