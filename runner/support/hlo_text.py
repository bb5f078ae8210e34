"""XLA's program as text, without what another process would write differently or nobody executes."""

from __future__ import annotations

import re
from typing import List

from runner.fingerprints import number_names

_METADATA = re.compile(r", metadata=\{(?:[^{}\"]|\"(?:[^\"\\]|\\.)*\")*\}")
_MODULE = re.compile(r"^HloModule [^,\s]+")
_STACK_TABLES = frozenset(("FileNames", "FunctionNames", "FileLocations", "StackFrames"))


def lines(text: str) -> List[str]:
    """The lines of an optimised program: names by their order, no sources, no name of the module.

    Large constants are left out by XLA itself (`constant({...})`): whoever hashes this adds theirs.
    """
    kept: List[str] = []
    in_table = False
    for line in text.splitlines():
        if line.strip() in _STACK_TABLES:
            in_table = True
        elif in_table and (not line.strip() or line.startswith(("%", "ENTRY"))):
            in_table = False
        if not in_table and line.strip():
            kept.append(_METADATA.sub("", _MODULE.sub("HloModule", line)))
    return number_names(kept)
