"""What the library file of an XLA says of itself: names that it holds as text, without loading it.

XLA lists neither its passes nor all of its flags, ignores the name of a pass that it does not know,
and ends the process at a flag that it does not know. So names are looked up in the file first. This
module imports neither JAX nor TensorFlow.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import FrozenSet, Iterable, List, Mapping, Tuple

from runner.support import elf_file

LIBRARIES: Mapping[str, Tuple[str, ...]] = {
    "jaxlib": ("libjax_common.so", "xla_extension.so"),
    "tensorflow": ("libtensorflow_cc.so.2", "python/_pywrap_tensorflow_internal.so"),
    "jax_plugins.xla_cuda13": ("xla_cuda_plugin.so",),
    "jax_plugins.xla_cuda12": ("xla_cuda_plugin.so",),
}
"""Where each package has XLA, the newest place first."""

_DESCRIPTORS: Mapping[str, Tuple[str, ...]] = {"tensorflow": ("libtensorflow_framework.so.2",)}
"""Further files that hold the description of XLA's options."""

_TEXT, _MESSAGES = b".rodata", b"protodesc_cold"
"""The sections of an ELF file with its texts, and with the descriptions of its protocol buffers."""

_FLAG = re.compile(rb"\0(xla_[a-z0-9_]+)(?=\0)")
_FIELD = re.compile(rb"\x0a([\x04-\x7f])(xla_[a-z0-9_]+)", re.DOTALL)


@lru_cache(maxsize=None)
def holds(package: str, names: Tuple[str, ...]) -> FrozenSet[str]:
    """Which of the names the library of a package has as texts of their own, between zero bytes.

    Args:
        package: one of `LIBRARIES`; none of the names is there if it is not installed.
        names: what to look for.
    """
    found: List[str] = []
    for path in _files(package, LIBRARIES)[:1]:
        text = _section(path, _TEXT)
        found += [name for name in names if text.find(f"\0{name}\0".encode()) >= 0]
    return frozenset(found)


@lru_cache(maxsize=None)
def flags(package: str) -> Tuple[str, ...]:
    """The flags that the XLA of a package knows, in order: named in its text and in its options.

    Empty where the package is not installed, or its file tells nothing.
    """
    named: FrozenSet[str] = frozenset()
    fields: FrozenSet[str] = frozenset()
    main = _files(package, LIBRARIES)[:1]
    for path in [*main, *_files(package, _DESCRIPTORS)]:
        if path in main:
            named = frozenset(one.decode() for one in _FLAG.findall(_section(path, _TEXT)))
        # Compilers before 2022 keep the descriptions among the texts.
        fields |= _fields(_section(path, _MESSAGES) or _section(path, _TEXT))
    return tuple(sorted(named & fields))


def _fields(descriptions: bytes) -> FrozenSet[str]:
    """Names of fields in serialised descriptions: each behind its tag and its length."""
    return frozenset(
        found.group(2)[: found.group(1)[0]].decode()
        for found in _FIELD.finditer(descriptions)
        if len(found.group(2)) >= found.group(1)[0]
    )


def _files(package: str, where: Mapping[str, Tuple[str, ...]]) -> List[str]:
    """The files of a package that are there, in the order in which they are named."""
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        return []
    folders: Iterable[str] = (spec.submodule_search_locations or ()) if spec is not None else ()
    paths = [os.path.join(folder, name) for folder in folders for name in where.get(package, ())]
    return [path for path in paths if os.path.isfile(path)]


def _section(path: str, name: bytes) -> bytes:
    """A section's content; nothing where the file has none of that name."""
    return b"".join(one.content for one in elf_file.sections(path, (name,)) if one.name == name)
