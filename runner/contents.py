"""What is really in the files of an installed distribution, as far as it can be told quickly.

An installer's `RECORD` lists each file with hash and size. It is trusted for what nobody seems to
have touched; a file of another size, one that was written after the record, the Python files and
libraries of frameworks, and everything that has no record are read. The result depends on content
alone: never on a path, a date or what was read.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata, util
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from runner.errors import RunnerError

FULLY_READ_BYTES = 128 << 20
"""A framework's library above this is read only where its size or date says that it was changed."""
MOST_FILES = 20_000
MOST_BYTES = 1 << 30
"""Of a distribution without a record; about a second."""

_FRAMEWORKS = (
    "ai-edge-litert",
    "apache-tvm",
    "iree-base-compiler",
    "iree-base-runtime",
    "jax",
    "jaxlib",
    "keras",
    "ncnn",
    "numpy",
    "onnx",
    "onnx2torch",
    "onnxruntime",
    "openvino",
    "pnnx",
    "tensorflow",
    "tensorrt",
    "tf-keras",
    "tflite-runtime",
    "torch",
)
_CHUNK = 1 << 20
_THREADS = 4


class _Row(NamedTuple):
    """A file as a record tells it."""

    path: str
    said: str
    size: str


def content_hash(distribution: metadata.Distribution, name: str) -> Optional[str]:
    """SHA-256 over the files of a distribution; None where it has none that can be found.

    Two builds of one version differ in it, and so does one that was changed in place. Left out is
    what differs from place to place: scripts hold the interpreter's path, the folder of metadata
    what the installer did, and bytecode is made from what is hashed.

    Args:
        distribution: as `importlib.metadata` gives it.
        name: its normalised name.

    Raises:
        RunnerError: kind `unsupported`: a framework is installed without a list of its files, as
            editable installs are, and is too large to be read.
    """
    rows = [] if _is_editable(distribution) else _rows(distribution.read_text("RECORD"))
    if rows:
        files = _recorded(distribution, rows, framework=is_framework(name))
    else:
        files = _found(distribution, name)
    if not files:
        return None
    lines = "".join(f"{path}\0{said}\n" for path, said in sorted(files.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def is_framework(name: str) -> bool:
    """Whether a distribution, by its normalised name, makes answers: `onnxruntime-gpu` too."""
    return any(name == one or name.startswith(f"{one}-") for one in _FRAMEWORKS)


def _rows(record: Optional[str]) -> List[_Row]:
    kept = []
    for row in csv.reader((record or "").splitlines()):
        path, said, size = (row + ["", "", ""])[:3]
        if not path or path.startswith(("..", "/")) or ".dist-info/" in path:
            continue
        if path.endswith((".pyc", ".pth")) or "\0" in path:
            continue
        kept.append(_Row(path, said, size))
    return kept


def _recorded(
    distribution: metadata.Distribution, rows: List[_Row], *, framework: bool
) -> Dict[str, str]:
    """The hash of each file of a record: the record's own, or that of what is there now."""
    root = str(distribution.locate_file(""))
    written = _written(distribution)
    files, to_read = {}, []
    for row in rows:
        path = os.path.join(root, row.path)
        try:
            state = os.stat(path)
        except OSError:
            files[row.path] = "missing"
            continue
        trusted = (
            bool(row.said)
            and row.size == str(state.st_size)
            and state.st_mtime_ns <= written
            and not (framework and _is_code(row.path) and state.st_size <= FULLY_READ_BYTES)
        )
        if trusted:
            files[row.path] = row.said
        else:
            to_read.append((row.path, path, row.said.partition("=")[0]))
    files.update(_read(to_read))
    return files


def _written(distribution: metadata.Distribution) -> int:
    """When the record was written, after all that it lists; 0 where that is not known."""
    place = getattr(distribution, "_path", None)
    try:
        return os.stat(os.path.join(str(place), "RECORD")).st_mtime_ns
    except OSError:
        return 0


def _is_code(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith((".py", ".so", ".pyd", ".dll", ".dylib")) or ".so." in name


def _read(files: List[Tuple[str, str, str]]) -> Dict[str, str]:
    """The hashes of files, given as (name, path, algorithm), written as in a record."""
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        hashes = list(pool.map(lambda file: _hash(file[1], file[2]), files))
    return {file[0]: said for file, said in zip(files, hashes)}


def _hash(path: str, algorithm: str) -> str:
    # Named as the record names it, so that equal content gives equal text, read or not.
    algorithm = algorithm if algorithm in hashlib.algorithms_guaranteed else "sha256"
    algorithm = "sha256" if algorithm.startswith("shake") else algorithm
    digest = hashlib.new(algorithm)
    try:
        with open(path, "rb") as file:
            for chunk in iter(lambda: file.read(_CHUNK), b""):
                digest.update(chunk)
    except OSError as error:
        return f"unreadable: {error.strerror}"
    text = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    return f"{algorithm}={text}"


def _is_editable(distribution: metadata.Distribution) -> bool:
    try:
        said: Any = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(said.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def _found(distribution: metadata.Distribution, name: str) -> Dict[str, str]:
    """The hashes of all files of the modules that a distribution without a record brings."""
    files = []
    size = 0
    for inside, path in _module_files(distribution, name):
        files.append((inside, path, "sha256"))
        with suppress(OSError):
            size += os.stat(path).st_size
        if len(files) > MOST_FILES or size > MOST_BYTES:
            if not is_framework(name):
                return {}
            raise RunnerError(
                "unsupported",
                f"{name} is installed without a record of its files (an editable install?), and "
                f"has more than {MOST_FILES} of them or {MOST_BYTES >> 20} MiB: what is in it "
                "cannot be told; install it as a wheel",
            )
    return _read(files)


def _module_files(distribution: metadata.Distribution, name: str) -> Iterator[Tuple[str, str]]:
    """Name and path of each file of a distribution's modules; nothing is imported."""
    listed = (distribution.read_text("top_level.txt") or "").split()
    for module in sorted(set(listed) or {name.replace("-", "_")}):
        try:
            spec = util.find_spec(module.replace("/", "."))
        except (ImportError, ValueError, AttributeError):
            continue
        if spec is None:
            continue
        for folder in spec.submodule_search_locations or ():
            yield from _walk(module, str(folder))
        if not spec.submodule_search_locations and spec.origin and os.path.isfile(spec.origin):
            yield os.path.basename(spec.origin), spec.origin


def _walk(module: str, folder: str) -> Iterator[Tuple[str, str]]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one != "__pycache__" and one[0] != ".")
        for file in sorted(names):
            if not file.endswith(".pyc"):
                path = os.path.join(place, file)
                yield f"{module}/{os.path.relpath(path, folder)}", path
