"""What XLA compiled a program to, as one hash: its optimised HLO, the constants in it, and its code.

The text alone would not do: it leaves large constants out, and says nothing of what LLVM made of it,
which is all that XLA's optimisation level and its arithmetic flags change. Code is taken from the
files that XLA writes when it is told to dump a compilation.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from runner import fingerprints
from runner.errors import RunnerError
from runner.fingerprints import Fingerprint
from runner.ir_files import files_below
from runner.support import elf_file, xla_hlo, xla_passes

DUMP_OPTIONS: Dict[str, Any] = {"xla_dump_hlo_pass_re": ".*", "xla_dump_disable_metadata": True}
"""Options of a compilation that dumps all that is looked at; beside `xla_dump_to`, the folder."""

_METADATA = re.compile(
    r", (?:metadata|origin|stack_frame_id)=(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|\d+)"
)
_NAME = r"%[A-Za-z0-9_.$-]+"
_TABLES = ("FileNames", "FunctionNames", "FileLocations", "StackFrames")
_MODULE = re.compile(r"^HloModule [^,]*")
_HEAD = re.compile(r"^(ENTRY )?%\S+ \(.*\{$")
_PARAMETER = re.compile(r"[\w.-]+: ")
"""The first line of a computation repeats the names of its parameters, which have a line each."""

_COMPUTATIONS, _INSTRUCTIONS, _LITERAL = 3, 2, 8
"""Fields of xla.HloModuleProto, HloComputationProto and HloInstructionProto (xla/service/hlo.proto)."""

_EXECUTED = (b".text", b".rodata", b".data", b".lrodata", b".ltext")
"""The beginnings of the names of sections whose bytes run, or are read by what runs."""


class Code(NamedTuple):
    """Hashes of the compiled parts in a fixed order, and how many bytes of instructions they are."""

    hashes: Tuple[bytes, ...]
    size_bytes: int


_OF_COMPILING = (
    *("xla_backend_optimization_level", "xla_cpu_enable_fast_", "xla_cpu_fast_math_"),
    *("xla_cpu_max_isa", "xla_cpu_prefer_vector_width", "xla_disable_hlo_passes", "xla_dump_"),
    *("xla_llvm_",),
)
"""Beginnings of the names of flags whose whole effect is in the program and its code."""


def fingerprint(
    text: str,
    module: bytes,
    folder: str,
    more: Iterable[Any] = (),
    about: Sequence[str] = (),
) -> Fingerprint:
    """The fingerprint of one compiled program.

    Args:
        text: its optimised HLO.
        module: the same as a serialised `xla.HloModuleProto`.
        folder: where XLA dumped this compilation.
        more: further constants that it is called with, in order.
        about: what says how it is run and is seen in neither: see `running`.

    Raises:
        RunnerError: kind `unsupported`, where the dump holds no code.
    """
    code = code_in(folder)
    if not code.hashes:
        raise RunnerError(
            "unsupported",
            "this version of XLA dumped no machine code, without which flags that change nothing "
            "else would go unseen",
        )
    return fingerprints.of_lines(
        "hlo",
        [*about, *lines(text)],
        [*literals(module), *code.hashes, *more],
        operators=xla_hlo.operators(text),
        passes=xla_passes.that_changed(files_below(folder)),
        code_bytes=code.size_bytes or None,
    )


def running(flags: str) -> List[str]:
    """Those of XLA's flags that may say how a program is run, so that it alone can't show them.

    Args:
        flags: as the variable XLA_FLAGS has them.
    """
    named = sorted({flag.lstrip("-") for flag in flags.split()})
    return [flag for flag in named if not flag.startswith(_OF_COMPILING)]


def lines(text: str) -> List[str]:
    """Optimised HLO without what is not executed: places in source files, and names as numbers."""
    kept, in_table = [], False
    for line in text.splitlines():
        if line.strip() in _TABLES:
            in_table = True
        elif in_table and (line.startswith(("%", "ENTRY", "HloModule")) or not line.strip()):
            in_table = False
        if not in_table and line.strip():
            shown = _MODULE.sub("HloModule", _METADATA.sub("", line))
            kept.append(_PARAMETER.sub("", shown) if _HEAD.match(shown) else shown)
    return fingerprints.number_names(kept, _NAME)


def literals(module: bytes) -> List[bytes]:
    """The constants of a serialised `xla.HloModuleProto`, in its order, shapes included."""
    return [
        literal
        for computation in _fields(module, _COMPUTATIONS)
        for instruction in _fields(computation, _INSTRUCTIONS)
        for literal in _fields(instruction, _LITERAL)
    ]


def code_in(folder: str) -> Code:
    """The machine code of a dumped compilation: object files of the CPU, or PTX of an NVIDIA GPU.

    Names of functions and files count numbers that other passes may leave otherwise, so that only
    bytes that run are hashed, with the functions of others that they call.
    """
    hashes, size = [], 0
    for name in files_below(folder):
        path = os.path.join(folder, name)
        if name.endswith(".o"):
            sections = elf_file.sections(path, _EXECUTED)
            digest = hashlib.sha256()
            for section in sections:
                digest.update(section.name + b"%d:" % len(section.content) + section.content)
                size += len(section.content) if section.name.startswith(b".text") else 0
            digest.update(b"\0".join(sorted(elf_file.undefined_symbols(path))))
            hashes.append(digest.digest())
        elif name.endswith(".ptx"):
            with open(path, "rb") as file:
                content = file.read()
            size += len(content)
            hashes.append(hashlib.sha256(content).digest())
    return Code(tuple(sorted(hashes)), size)


def same_program(first: str, second: str) -> bool:
    """Whether two texts of optimised HLO are of one program."""
    return lines(first) == lines(second)


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """The contents of a protocol buffer's fields of one number that are messages or bytes."""
    position, view = 0, memoryview(message)
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, position = _varint(message, position)
        elif kind == 1:
            position += 8
        elif kind == 2:
            length, position = _varint(message, position)
            if number == wanted:
                yield bytes(view[position : position + length])
            position += length
        elif kind == 5:
            position += 4
        else:
            raise ValueError(f"no protocol buffer: a field of kind {kind} at byte {position}")


def _varint(message: Sequence[int], position: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
