"""Reading a message of Protocol Buffers without its schema: fields by number, in the order written."""

from __future__ import annotations

import struct
from typing import Dict, List, Tuple, Union

Value = Union[int, memoryview]
"""A number, or the bytes of a fixed number, a text, a packed list or another message."""

Message = Dict[int, List[Value]]

_MASK = (1 << 64) - 1
_FIXED = {1: 8, 5: 4}
_VARINT, _BYTES = 0, 2


def read(content: memoryview) -> Message:
    """The fields of a message; what is inside of them is not read.

    Raises:
        ValueError: it is no such message.
    """
    found: Message = {}
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value: Value
            value, place = _varint(content, place)
        else:
            size = _FIXED.get(kind, 0)
            if kind == _BYTES:
                size, place = _varint(content, place)
            elif not size:
                raise ValueError(f"a field of the unknown kind {kind} at byte {place}")
            if place + size > len(content):
                raise ValueError("it ends in the middle of a field")
            value, place = content[place : place + size], place + size
        found.setdefault(number, []).append(value)
    return found


def messages(message: Message, number: int) -> List[Message]:
    """The messages in a repeated field."""
    return [read(value) for value in contents(message, number)]


def contents(message: Message, number: int) -> List[memoryview]:
    """The bytes in a field, as often as it was written.

    Raises:
        ValueError: there are numbers in it.
    """
    found = []
    for value in message.get(number, ()):
        if isinstance(value, int):
            raise ValueError(f"field {number} holds a number where bytes belong")  # noqa: TRY004
        found.append(value)
    return found


def text(message: Message, number: int) -> str:
    """A field's text; empty where it is absent."""
    found = contents(message, number)
    return bytes(found[-1]).decode("utf-8", "replace") if found else ""


def texts(message: Message, number: int) -> List[str]:
    """The texts in a repeated field."""
    return [bytes(one).decode("utf-8", "replace") for one in contents(message, number)]


def integers(message: Message, number: int) -> List[int]:
    """Signed numbers in a repeated field, packed or not."""
    found: List[int] = []
    for value in message.get(number, ()):
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        place = 0
        while place < len(value):
            one, place = _varint(value, place)
            found.append(_signed(one))
    return found


def floats(message: Message, number: int) -> List[float]:
    """Numbers of 32 bits in a repeated field, packed or not."""
    joined = b"".join(bytes(one) for one in contents(message, number))
    return list(struct.unpack(f"<{len(joined) // 4}f", joined))


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _varint(content: memoryview, place: int) -> Tuple[int, int]:
    """A number at a place, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            raise ValueError("it ends in the middle of a number")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number in it is too long")
