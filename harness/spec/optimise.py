"""How an optimiser of ONNX files is asked for: `onnxsim`, or with passes by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

NONE = "none"

TOOLS = ("onnxoptimizer", "onnxsim")
"""The optimisers, by the name that their converters `onnx>onnx:…` end in."""

_WRITTEN = re.compile(
    r"(?P<tool>[a-z0-9_]+)((?P<sign>[=-])(?P<names>[A-Za-z0-9_]+(\+[A-Za-z0-9_]+)*)?)?"
)
_OPTIONS = {"=": "passes", "-": "disabled_passes"}


@dataclass(frozen=True, slots=True)
class Optimising:
    """What one of the optimisers is to do.

    Attributes:
        tool: one of `TOOLS`.
        options: of its converter: `passes` (these alone, in this order), `disabled_passes` (all of
            its own but these), or nothing: as one gets it unasked.
    """

    tool: str
    options: dict[str, Any]


def read_optimise(text: str) -> Optimising | None:
    """What `optimise` asks for; None: nothing.

    Which passes there are differs between versions, so the converter refuses those it does not have.

    Raises:
        ValueError: it is written otherwise, with how it is written.
    """
    if text == NONE:
        return None
    match = _WRITTEN.fullmatch(text)
    if match is None or match["tool"] not in TOOLS or (match["sign"] == "-" and not match["names"]):
        msg = (
            f"{text!r} is no optimiser of ONNX files: write none, {' or '.join(TOOLS)}; passes that "
            "alone are to run after an equals sign, as in onnxoptimizer=fuse_bn_into_conv+"
            "eliminate_identity (none of them: onnxoptimizer=); those to leave out after a minus sign, "
            "as in onnxsim-constant_folding"
        )
        raise ValueError(msg)
    names = match["names"].split("+") if match["names"] else []
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        msg = f"{text!r} names {doubled[0]} twice"
        raise ValueError(msg)
    options = {_OPTIONS[match["sign"]]: names} if match["sign"] else {}
    return Optimising(match["tool"], options)


def checked_optimise(text: str) -> str:
    """The text without spaces around it, if it is one; raises as `read_optimise`."""
    text = text.strip()
    read_optimise(text)
    return text
