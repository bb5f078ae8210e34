"""Named arrays from a weights file: NumPy's `.npz`, `.safetensors`, and PyTorch's `.pth`/`.pt`.

Nothing in a file is run, and PyTorch is not needed. What a file is, its first bytes say and not its
name. Sizes are checked before memory is taken for them.
"""

from __future__ import annotations

import os
import zipfile
from typing import IO, Any, Dict, List, Mapping, Tuple

import numpy as np

from runner.errors import RunnerError, classify
from runner.support import weights_pickle, weights_safetensors
from runner.support.weights_values import DamagedError, RefusedError, check_total, read_exactly

SUFFIXES = (".npz", ".safetensors", ".pth", ".pt")

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
_MAX_NESTING = 4
_NO_WEIGHTS = (
    (b"\x89HDF", "an HDF5 file: give the files of keras.applications as `keras_weights`"),
    (b"\x93NUMPY", "a single array without a name: save named arrays with numpy.savez"),
    (b"version https://git-lfs", "a Git LFS pointer and not the file itself: run `git lfs pull`"),
    (b"<", "a web page and not the file itself: download it again"),
)
_HELP = (
    "give a .npz of named arrays, a .safetensors file, or a state_dict saved by "
    "torch.save(model.state_dict(), path)"
)


def read(path: str) -> Dict[str, np.ndarray]:
    """The arrays of a weights file by name, C-contiguous, in the file's order.

    Dtypes are as stored, in the machine's byte order; bfloat16 becomes float32. A wrapper
    (`{"state_dict": …}`, `{"model": …}`) is opened, and the prefix `module.` of DataParallel or
    `_orig_mod.` of torch.compile, where all names have it, is taken off.

    Raises:
        RunnerError: kind `model` for a file that is absent, cut short, too large when unpacked, no
            weights file, or that wants to run code (the message names what it would call).
    """
    try:
        with open(path, "rb") as file:
            found = _read(file)
    except RunnerError:
        raise
    except RefusedError as error:
        raise RunnerError("model", f"{path}: {error}") from error
    except OSError as error:
        raise RunnerError("model", f"{path}: can't be read: {error.strerror or error}") from error
    except Exception as error:
        # A damaged file makes the readers fail in many ways; memory running out stays apart.
        failed = classify(error, "model")
        if failed.kind == "out-of-memory":
            raise failed from error
        said = str(error) if isinstance(error, DamagedError) else failed.message
        message = f"{path}: cut short or damaged ({said}): download or save it again"
        raise RunnerError("model", message, failed.detail) from error
    try:
        return _without_prefix(_tensors(found))
    except RefusedError as error:
        raise RunnerError("model", f"{path}: {error}") from error


def _read(file: IO[bytes]) -> Any:
    start = file.read(64)
    file.seek(0)
    if not start:
        raise RefusedError("the file is empty: download or save it again")
    if start.startswith(b"PK"):
        return _read_zip(file)
    for magic, what in _NO_WEIGHTS:
        if start.startswith(magic):
            raise RefusedError(f"this is {what}")
    if weights_safetensors.looks_like(start):
        return weights_safetensors.read(file)
    if start.startswith(b"\x80") or str(file.name).endswith((".pth", ".pt", ".bin", ".pkl")):
        return weights_pickle.read_legacy(file)
    raise RefusedError(f"no weights file that is known here: {_HELP}")


def _read_zip(file: IO[bytes]) -> Any:
    size_bytes = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _refuse_doubled(members)
        check_total(sum(member.file_size for member in members), size_bytes)
        pickles = [m.filename for m in members if m.filename.split("/")[-1] == "data.pkl"]
        if pickles:
            return weights_pickle.read_zip(archive, pickles[0][: -len("data.pkl")])
        if members and all(member.filename.endswith(".npy") for member in members):
            return {member.filename[: -len(".npy")]: _npy(archive, member) for member in members}
    raise RefusedError(f"a zip archive with neither arrays (.npy) nor a state_dict in it: {_HELP}")


def _refuse_doubled(members: List[zipfile.ZipInfo]) -> None:
    """Of two members of one name, readers take the one or the other."""
    seen = set()
    for member in members:
        if member.filename in seen:
            raise RefusedError(
                f"the archive has two members called {member.filename[:200]!r}, and which one is "
                "meant nobody can tell: save the arrays again, each under a name of its own"
            )
        seen.add(member.filename)


def _npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    name = member.filename[: -len(".npy")]
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise RefusedError(f"array {name!r}: NumPy's format {version} is not known here")
        read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        shape, fortran, dtype = read_header(file)
        if dtype.kind not in "fiub":
            what = "pickled objects, which are not loaded" if dtype.hasobject else f"{dtype}"
            raise RefusedError(f"array {name!r} holds {what}: save arrays of numbers")
        count = 1
        for size in shape:
            count *= int(size)
        if count < 0 or count * dtype.itemsize > member.file_size:
            raise DamagedError(f"array {name!r} says that it is {shape} of {dtype} and is smaller")
        flat = np.frombuffer(read_exactly(file, count * dtype.itemsize, name), dtype=dtype)
        while file.read(1024**2):
            # To the end, where the archive's checksum of it is checked.
            raise DamagedError(f"array {name!r} has bytes behind its end")
    array = flat.reshape(shape, order="F" if fortran else "C")
    return np.array(array, dtype=dtype.newbyteorder("="), order="C")


def _tensors(found: Any) -> Dict[str, np.ndarray]:
    for _ in range(_MAX_NESTING):
        inner = [w for w in _WRAPPERS if isinstance(found, dict) and isinstance(found.get(w), dict)]
        if not inner:
            break
        found = found[inner[0]]
    if not isinstance(found, dict):
        raise RefusedError(f"it holds a {type(found).__name__} and no named arrays: {_HELP}")
    arrays = {
        name: value
        for name, value in found.items()
        if isinstance(name, str) and isinstance(value, np.ndarray)
    }
    if not arrays:
        keys = ", ".join(_short(key) for key in list(found)[:5]) or "none"
        raise RefusedError(f"it holds no named arrays (its keys: {keys}): {_HELP}")
    return arrays


def _short(key: Any) -> str:
    """A key for a message; the text of a tuple in tuples can be of any length."""
    return str(key)[:60] if isinstance(key, (str, int, float)) else type(key).__name__


def _without_prefix(arrays: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    names: Tuple[str, ...] = tuple(arrays)
    shared = True
    while shared:
        shared = False
        for prefix in _PREFIXES:
            if all(name.startswith(prefix) for name in names):
                names = tuple(name[len(prefix) :] for name in names)
                shared = True
    return dict(zip(names, arrays.values()))
