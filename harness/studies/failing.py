"""Whether two failures are the same one: what two messages say, but for what differs every time. Pure."""

from __future__ import annotations

import re
import signal

_SIGNAL = re.compile(r"\b(SIG[A-Z]+[0-9+-]*)\b|\bsignal (\d+)\b")
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^\s/\\'\"():,;]+)+[/\\]?")
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")
_TELLING = 20
"""Fewer letters than this of a message are in many outputs."""


def same_failure(a: str, b: str) -> bool:
    """Whether two messages of one kind of failure tell of the same.

    The same signal, and the same words: numbers (addresses, process ids, lines) and paths aside.
    """
    return signal_in(a) == signal_in(b) and plain(a) == plain(b)


def signal_in(message: str) -> int | None:
    """The number of the signal that a message names (`SIGSEGV`, `signal 11`); None without one."""
    found = _SIGNAL.search(message)
    if found is None:
        return None
    if found[2] is not None:
        return int(found[2])
    known = {one.name: int(one) for one in signal.Signals}
    return known.get(found[1])


def plain(message: str) -> str:
    """A message without what differs from one run to the next: paths and numbers."""
    return " ".join(_NUMBER.sub("#", _PATH.sub("<path>", message)).split())


def is_said(message: str, output: str) -> bool:
    """Whether an output holds a failure's message, whatever was put before it (`tvm: …`)."""
    wanted, there = plain(message), plain(output)
    while len(wanted) >= _TELLING:
        if wanted in there:
            return True
        wanted = wanted.partition(": ")[2]
    return False
