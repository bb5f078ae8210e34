"""What IREE compiled a model to, as one hash: the three parts of its module.

A module is a zip file of the program that is interpreted, the constants, and a library with the code
of each dispatch. Two compilations of one model differ in a number in the library's table of
dispatches, the line of a source that there is not, for which the compiler writes what was in its
memory. So of that table only its size counts, and what it points to.
"""

from __future__ import annotations

import io
import os
import zipfile
from typing import List, Mapping

from runner import fingerprints
from runner.errors import RunnerError
from runner.fingerprints import Fingerprint
from runner.support import elf_file

_LIBRARY = ".so"
_EXECUTED = (b".text", b".rodata", b".data", b".rela.dyn")
_TABLE = b".data.rel.ro"


def fingerprint(
    module: bytes, operators: Mapping[str, int], driver: str, folder: str
) -> Fingerprint:
    """The fingerprint of a module.

    Args:
        module: as the compiler gives it.
        operators: the calls of one run, by kind.
        driver: what runs the module, which it does not show.
        folder: an empty one.

    Raises:
        RunnerError: kind `unsupported`, where this version packs its modules in another way.
    """
    parts: List[bytes] = []
    lines: List[str] = [f"driver {driver}"]
    code_bytes = 0
    try:
        archive = zipfile.ZipFile(io.BytesIO(module))
    except zipfile.BadZipFile as error:
        message = "this version of IREE packs modules in a way that can't be taken apart"
        raise RunnerError("unsupported", message) from error
    with archive:
        for name in sorted(archive.namelist()):
            lines.append(name)
            if not name.endswith(_LIBRARY):
                parts.append(archive.read(name))
                continue
            path = archive.extract(name, folder)
            sections = elf_file.sections(path, _EXECUTED)
            os.unlink(path)
            if not any(section.name.startswith(b".text") for section in sections):
                message = f"this version of IREE packs code ({name}) in a way that can't be read"
                raise RunnerError("unsupported", message)
            for section in sections:
                lines.append(f"{section.name.decode('ascii', 'replace')} {len(section.content)}")
                if section.name != _TABLE:
                    parts.append(section.content)
                code_bytes += len(section.content) if section.name == b".text" else 0
    return fingerprints.of_lines(
        "vmfb", lines, parts, operators=operators, code_bytes=code_bytes or len(module)
    )
