"""The outputs of a model as OpenVINO read it: their names, and the order that TensorFlow has.

OpenVINO sorts the outputs of TensorFlow's files as text, so that `output_10` comes before
`output_2`. The operation at each end keeps the right name. The tensor that it takes has others too,
and of a SavedModel even those of other outputs.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO, Iterator, List, Sequence, Tuple

_NODE, _NAME = 0x0A, 0x0A
"""Field 1 with a length: of a graph a node, of a node its name."""

_PLAIN = {1: 8, 5: 4}
"""Bytes of values by the kind of their field, where all have as many."""


def name(port: Any, fallback: str) -> str:
    """What an input or output is called: as the operation there is, if that names a tensor of it."""
    names = set(port.names)
    own = str(port.node.friendly_name)
    for told in (own, f"{own}:0"):
        if told in names:
            return told
    numbered = sorted(each for each in names if each.startswith("output_"))
    return next(iter(numbered or sorted(names)), fallback)


def put_in_order(model: Any, source_format: str, path: str) -> None:
    """Give a model read from TensorFlow's file the order of outputs that TensorFlow has, in place."""
    if source_format not in ("graphdef", "savedmodel"):
        return
    results = list(model.get_results())
    names = [str(result.friendly_name) for result in results]
    places = of_signature(names) if source_format == "savedmodel" else of_graph(names, path)
    if places == sorted(places):
        return
    for result in results:
        model.remove_result(result)
    model.add_results([results[place] for place in places])


def of_signature(names: Sequence[str]) -> List[int]:
    """The order of a signature's outputs, as places in `names`: by name, and numbers by size."""
    return sorted(range(len(names)), key=lambda place: _split(names[place].partition(":")[0]))


def of_graph(names: Sequence[str], path: str) -> List[int]:
    """The order of a frozen graph's outputs, as places in `names`: by number, or as in the file."""
    split = [each.partition(":")[::2] for each in names]
    numbers = [operation.rpartition("_")[2] for operation, _ in split]
    if all(number.isdigit() for number in numbers):
        keys: List[Tuple[Any, ...]] = [
            (int(number), *each) for number, each in zip(numbers, _by_port(split))
        ]
    else:
        order = {operation: place for place, operation in enumerate(operations(path))}
        # What OpenVINO calls by a name that is not in the file comes last.
        keys = [(order.get(each[0], len(order)), *each) for each in _by_port(split)]
    return sorted(range(len(names)), key=keys.__getitem__)


def operations(path: str) -> List[str]:
    """The names of a frozen graph's operations, in the order of the file, whose weights are not read."""
    found: List[str] = []
    with open(path, "rb") as file:
        for tag, end in _fields(file, os.path.getsize(path)):
            if tag != _NODE:
                continue
            for inner, inner_end in _fields(file, end):
                if inner == _NAME:
                    found.append(file.read(inner_end - file.tell()).decode("utf-8", "replace"))
                    break
    return found


def _split(operation: str) -> Tuple[str, int]:
    """Sorts `output_2` before `output_10`."""
    head, _, number = operation.rpartition("_")
    return (head, int(number)) if number.isdigit() else (operation, -1)


def _by_port(split: Sequence[Tuple[str, str]]) -> Iterator[Tuple[str, int]]:
    for operation, port in split:
        yield operation, int(port) if port.isdigit() else 0


def _fields(file: BinaryIO, end: int) -> Iterator[Tuple[int, int]]:
    """Tag and end of each field of a message of Protocol Buffers; the file stands at its value."""
    while file.tell() < end:
        tag = _varint(file)
        kind = tag & 7
        if kind == 2:
            size = _varint(file)
        elif kind in _PLAIN:
            size = _PLAIN[kind]
        else:
            _varint(file)
            size = 0
        after = file.tell() + size
        yield tag, after
        file.seek(after)


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte:
            return value
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return value
