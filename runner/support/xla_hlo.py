"""What XLA made of a function: the instructions of its optimised HLO text, counted by kind."""

from __future__ import annotations

import re
from typing import Dict

from runner.support.tally import tally

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?[\w.-]+ = (?:\(.*?\)|\S+) ([a-z][\w-]*)\(")
_CALLS = re.compile(r"calls=%?([\w.-]+)")
_KIND = re.compile(r"[ ,]kind=k(\w+)")
_FUSION_CONFIG = re.compile(r'"fusion_config":\{"kind":"([^"]+)"')
_TARGET = re.compile(r'custom_call_target="([^"]+)"')
# What only names or regroups values, and computes nothing.
_FREE = frozenset(("parameter", "constant", "bitcast", "tuple", "get-tuple-element"))
_LIBRARIES = {
    "__ynn_fusion": "YNNPACK",
    "__xnn_fusion": "XNNPACK",
    "__onednn_fusion": "oneDNN",
}


def operators(text: str) -> Dict[str, int]:
    """Instructions of the entry computation by kind, and in brackets what computes them.

    A fusion that goes to a library is called by its main instruction, others by XLA's kind of
    fusion (loop, input, output, custom).
    """
    roots: Dict[str, str] = {}
    inside, entry = "", False
    lines = []
    for line in text.splitlines():
        opened = _COMPUTATION.match(line)
        if opened:
            entry, inside = bool(opened.group(1)), opened.group(2)
            continue
        found = _INSTRUCTION.match(line)
        if found is None:
            continue
        if found.group(1):
            roots[inside] = found.group(2)
        if entry and found.group(2) not in _FREE:
            lines.append((found.group(2), line))
    return tally(_label(opcode, line, roots) for opcode, line in lines)


def _label(opcode: str, line: str, roots: Dict[str, str]) -> str:
    if opcode == "custom-call":
        target = _TARGET.search(line)
        return f"custom-call ({target.group(1) if target else 'XLA'})"
    if opcode != "fusion":
        return f"{opcode} (XLA)"
    config, calls, kind = _FUSION_CONFIG.search(line), _CALLS.search(line), _KIND.search(line)
    if config:
        root = roots.get(calls.group(1), "fusion") if calls else "fusion"
        return f"{root} ({_LIBRARIES.get(config.group(1), config.group(1).strip('_'))})"
    return f"{kind.group(1).lower() if kind else 'unnamed'} fusion (XLA)"
