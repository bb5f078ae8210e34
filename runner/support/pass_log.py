"""Which passes ran, read from what TensorFlow and XLA write into their logs.

Both say it to standard error, where the variable `TF_CPP_VMODULE` asks for it before they are
imported.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import Dict, Iterator, List, Mapping, Optional

GRAPPLER = "meta_optimizer"
XLA = "hlo_pass_pipeline"
"""The sources that tell, by their names in `TF_CPP_VMODULE`."""

_VARIABLE = "TF_CPP_VMODULE"
_LINES: Mapping[str, str] = {
    GRAPPLER: r"meta_optimizer\.cc:\d+\]\s+([a-z]\w*)(?:\{.*)?(?:: Graph size after| did nothing)",
    XLA: r"hlo_pass_pipeline\.cc:\d+\]\s+HLO pass ([\w .-]+?)\s*$",
}
_STANDARD_ERROR = 2


def variables(source: str, before: str = "") -> Dict[str, str]:
    """What has a source tell which passes run; `before` is the variable's value so far."""
    return {_VARIABLE: ",".join([*filter(None, [before]), f"{source}=1"])}


def ask(source: str) -> None:
    """Have this process's libraries tell, which must not be imported yet."""
    os.environ.update(variables(source, os.environ.get(_VARIABLE, "")))


def passes(source: str, text: str) -> Optional[List[str]]:
    """The passes that a log names, in the order in which they first ran; None if it names none.

    Pipelines of passes, which XLA names as well, are left out.
    """
    found: Dict[str, None] = {}
    for line in text.splitlines():
        match = re.search(_LINES[source], line)
        if match and " pipeline on module " not in line:
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
