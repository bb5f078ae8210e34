"""The machine code of the libraries that a compiler made for this process.

The same program compiled twice has the same code, though the files differ: they hold names of
sources and folders. So that section alone is read which is executed.
"""

from __future__ import annotations

import os
from typing import List

from runner.support import elf_file

_EXECUTED = (b".text",)


def mapped(folder: str, maps: str = "/proc/self/maps") -> List[str]:
    """The files below a folder that this process has loaded as code or data, by name."""
    beginning = os.path.realpath(folder) + os.sep
    found = set()
    with open(maps, encoding="utf-8", errors="replace") as file:
        for line in file:
            _, slash, rest = line.rstrip("\n").partition("/")
            if slash and (slash + rest).startswith(beginning):
                found.add(slash + rest)
    return sorted(found)


def built(folder: str) -> List[bytes]:
    """The machine code of each library that was written below a folder, sorted, loaded or not.

    What is packed into an archive is loaded from another place than the one where it was made.
    """
    paths = [
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if name.endswith(".so")
    ]
    return _code(paths)


def executed(folder: str) -> List[bytes]:
    """The machine code of each library below a folder that this process has loaded, sorted."""
    return _code([path for path in mapped(folder) if os.path.isfile(path)])


def _code(paths: List[str]) -> List[bytes]:
    code = [
        b"".join(section.content for section in elf_file.sections(path, _EXECUTED))
        for path in paths
    ]
    return sorted(one for one in code if one)
