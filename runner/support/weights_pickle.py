"""Reads a PyTorch state_dict, in the zip and in the legacy format, and runs nothing of it.

A pickle is a program that may call anything. The unpickler here knows a handful of names that a
state_dict is made of, each bound to a stand-in (`weights_pickle_names`), and refuses every other
one.
"""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
import zipfile
from typing import IO, Any, Dict, List

import numpy as np

from runner.support.weights_pickle_names import (
    SAVE,
    Storage,
    StorageType,
    Tensor,
    is_size,
    stand_in,
    whole_module,
)
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
_MOST_VIEWS = 8
"""Times that the storages may be copied into tensors: tied weights and views share one."""
_MOST_ENTRIES = 1_000_000


class _Unpickler(pickle.Unpickler):
    """Loads what a state_dict is made of; the tensors come out as `Tensor`."""

    def __init__(self, file: IO[bytes], storages: Dict[str, Storage], globals_: List[str]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storages = storages
        self._globals = globals_

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name; never the thing itself."""
        return stand_in(module, name, self._globals)

    def persistent_load(self, pid: Any) -> Any:
        """The storage that a tensor refers to."""
        if isinstance(pid, tuple) and pid and pid[0] == "module":
            raise whole_module("its own class")
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
            raise DamagedError("it refers to something that is no storage")
        kind, key, count = pid[1], pid[2], pid[4]
        if not isinstance(kind, StorageType) or not isinstance(key, str) or not is_size(count):
            raise DamagedError("it refers to a storage that makes no sense")
        if len(pid) > 5 and pid[5] is not None:
            raise RefusedError(
                f"its storages are views of each other, as PyTorch 0.1 wrote: {SAVE}"
            )
        known = self._storages.setdefault(key, Storage(kind.dtype, count))
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
        raise RefusedError(f"a TorchScript program and no state_dict: {SAVE}")
    order = "<"
    if prefix + "byteorder" in archive.namelist():
        order = _ORDERS.get(archive.read(prefix + "byteorder").strip(), "<")
    storages: Dict[str, Storage] = {}
    with archive.open(prefix + "data.pkl") as file:
        globals_ = _scan(file)
    with archive.open(prefix + "data.pkl") as file:
        found = _Unpickler(file, storages, globals_).load()
    for key, storage in storages.items():
        size_bytes = storage.count * storage.item_bytes
        held_bytes = archive.getinfo(f"{prefix}data/{key}").file_size
        if held_bytes != size_bytes:
            raise DamagedError(f"storage {key!r} has {held_bytes} of {size_bytes} bytes")
        with archive.open(f"{prefix}data/{key}") as file:
            storage.flat = array_from(read_exactly(file, size_bytes, key), storage.dtype, order)
            if file.read(1):
                raise DamagedError(f"storage {key!r} has bytes behind its end")
    return _Arrays(storages).of(found)


def read_legacy(file: IO[bytes]) -> Any:
    """What `torch.save` wrote before PyTorch 1.6: pickles, one behind the other, then storages.

    Raises:
        RefusedError: if it is no state_dict, or wants to run code.
        DamagedError: if something in it does not fit.
    """
    storages: Dict[str, Storage] = {}
    file_bytes = os.fstat(file.fileno()).st_size
    if _next(file, storages) != _LEGACY_MAGIC:
        raise RefusedError(f"a pickle that PyTorch did not write: {SAVE}")
    if _next(file, storages) != _LEGACY_PROTOCOL:
        raise RefusedError(f"a PyTorch file of an unknown protocol: {SAVE}")
    system = _next(file, storages)
    little = not isinstance(system, dict) or system.get("little_endian", True)
    found = _next(file, storages)
    keys = _next(file, storages)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedError("its list of storages makes no sense")
    if set(keys) != set(storages):
        raise DamagedError("its storages are not those that its tensors refer to")
    order = "<" if little else ">"
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack(order + "q", read_exactly(file, 8, key))
        if count != storage.count:
            raise DamagedError(f"storage {key!r} has {count} items and should have {storage.count}")
        size_bytes, left_bytes = count * storage.item_bytes, file_bytes - file.tell()
        if size_bytes > left_bytes:
            raise DamagedError(f"storage {key!r} has {left_bytes} of {size_bytes} bytes")
        data = read_exactly(file, size_bytes, key)
        storage.flat = array_from(data, storage.dtype, order)
    return _Arrays(storages).of(found)


class _Arrays:
    """Turns the tensors in what was unpickled into arrays, bounded by what the file holds."""

    def __init__(self, storages: Dict[str, Storage]) -> None:
        held = sum(0 if each.flat is None else each.flat.nbytes for each in storages.values())
        self._left_bytes = min(MAX_BYTES, _MOST_VIEWS * held)
        self._visited = 0
        self._made: Dict[int, Dict[Any, Any]] = {}

    def of(self, found: Any, depth: int = 0) -> Any:
        """The same, with arrays for tensors; only mappings are looked into.

        A mapping that is there several times is looked into once: a short pickle can hold one
        within itself more often than anybody can count.
        """
        self._visited += 1
        if self._visited > _MOST_ENTRIES:
            raise DamagedError(f"it has more than {_MOST_ENTRIES} entries")
        if isinstance(found, Tensor):
            return self._array(found)
        if isinstance(found, dict) and depth < 8:
            if id(found) not in self._made:
                made = self._made[id(found)] = {}
                made.update((key, self.of(value, depth + 1)) for key, value in found.items())
            return self._made[id(found)]
        return found

    def _array(self, tensor: Tensor) -> np.ndarray:
        flat = tensor.storage.flat
        if flat is None:
            raise DamagedError("a tensor has no storage")
        count = 1
        for size in tensor.shape:
            count *= size
        reach = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides))
        inside = tensor.offset + reach < len(flat) if count else tensor.offset <= len(flat)
        # With a stride of zero a single number fills a tensor of any size.
        if not inside or count > len(flat):
            raise DamagedError(f"a tensor {tensor.shape} is larger than its storage")
        self._left_bytes -= count * flat.itemsize
        if self._left_bytes < 0:
            raise RefusedError(
                f"its tensors are together more than {_MOST_VIEWS} times what its storages hold, "
                f"which no weights are: {SAVE}"
            )
        strides = [stride * flat.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides)
        return np.array(view, order="C")


def _next(file: IO[bytes], storages: Dict[str, Storage]) -> Any:
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
            raise RefusedError(f"its pickle is larger than {_MAX_PICKLE_BYTES} bytes: {SAVE}")
    return named
