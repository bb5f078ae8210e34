"""Which of grappler's optimizers ran, read from what TensorFlow writes into its log.

It says so to standard error, where the variable `TF_CPP_VMODULE` asks for it before TensorFlow is
imported.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import Dict, Iterator, List, Optional

_VARIABLE, _SOURCE = "TF_CPP_VMODULE", "meta_optimizer=1"
_LINE = re.compile(
    r"meta_optimizer\.cc:\d+\]\s+([a-z]\w*)(?:\{.*)?(?:: Graph size after| did nothing)"
)
_STANDARD_ERROR = 2


def ask() -> None:
    """Have TensorFlow tell, which must not be imported yet."""
    before = os.environ.get(_VARIABLE, "")
    os.environ[_VARIABLE] = ",".join([*filter(None, [before]), _SOURCE])


def optimizers(text: str) -> Optional[List[str]]:
    """Those that a log names, in the order in which they first ran; None if it names none."""
    found: Dict[str, None] = {}
    for line in text.splitlines():
        match = _LINE.search(line)
        if match:
            found.setdefault(match.group(1))
    return list(found) or None


class Captured:
    """What was written; empty until the end."""

    text = ""


@contextlib.contextmanager
def standard_error(folder: str) -> Iterator[Captured]:
    """Keep what this process writes to standard error, native code included.

    Args:
        folder: where a file may be written meanwhile.
    """
    captured = Captured()
    path = os.path.join(folder, "stderr.txt")
    sys.stderr.flush()
    before = os.dup(_STANDARD_ERROR)
    try:
        with open(path, "wb") as file:
            os.dup2(file.fileno(), _STANDARD_ERROR)
        try:
            yield captured
        finally:
            sys.stderr.flush()
            os.dup2(before, _STANDARD_ERROR)
    finally:
        os.close(before)
    with open(path, encoding="utf-8", errors="replace") as said:
        captured.text = said.read()
    os.remove(path)
