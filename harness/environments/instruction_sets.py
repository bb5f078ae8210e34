"""Ceilings on the processor's instruction sets, by name, and what a processor needs to reach each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, get_args

InstructionSet = Literal[
    "own", "sse4.1", "avx", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx"
]

OWN = "own"
"""No ceiling."""

LADDER: tuple[str, ...] = tuple(name for name in get_args(InstructionSet) if name != OWN)
"""From the lowest; each holds those before it."""

# The kernel's names of what a step needs beside those below it; `runner/instruction_sets.py` has the
# same, and a test holds the two together.
FLAGS: Mapping[str, tuple[str, ...]] = {
    "sse4.1": ("ssse3", "sse4_1"),
    "avx": ("avx",),
    "avx2": ("avx2", "fma", "f16c", "bmi1", "bmi2"),
    "avx512": ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"),
    "avx512_vnni": ("avx512_vnni",),
    "avx512_bf16": ("avx512_bf16",),
    "amx": ("amx_tile", "amx_int8", "amx_bf16"),
}


def lacking(ceiling: str, flags: Collection[str]) -> list[str]:
    """What a processor with these flags (the kernel's names) lacks to reach a ceiling."""
    steps = LADDER[: LADDER.index(ceiling) + 1]
    return [name for step in steps for name in FLAGS[step] if name not in flags]
