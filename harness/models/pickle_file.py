"""Pickles looked at, never loaded: their opcodes are followed over symbols, and nothing is called.

A pickle is a program for a small stack machine that may import and call anything. Here its stack
holds numbers, strings, containers and descriptions of what would be made; a name that it would
import is noted and stays a name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any

_MOST_OPCODES = 20_000_000
_MOST_COPIED = 1_000_000
"""Elements that calls may copy out of what they are given, all calls of one pickle together."""
_FREE = 8
"""Elements a call may copy unpaid: its own opcodes are as many."""


@dataclass(frozen=True, slots=True)
class Name:
    """Something that the pickle would import."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """`module.name`, by the names of Python 3."""
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(self.module, self.module)
        return f"{module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers that tensors are views of; `dtype` empty where they are plain bytes."""

    dtype: str
    key: str
    elements: int


@dataclass(frozen=True, slots=True)
class View:
    """A tensor: a view of a storage, in elements. `kind` names one that is no plain tensor."""

    storage: Storage | None
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that no state_dict needs and nobody here follows."""


class BrokenPickle(Exception):  # noqa: N818 - a signal between this module and torch_file
    """The opcodes make no sense; the text says what."""


@dataclass(slots=True)
class Scan:
    """What a pickle would make.

    Attributes:
        value: numbers, strings, containers, `View`, `Name` or `Unknown`.
        imports: the names that it would import, in order.
        storages: by key, as its tensors refer to them.
    """

    value: Any = None
    imports: dict[str, None] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """What stands for what a pickle calls and refers to.

    Attributes:
        call: gives the symbol for a name called with arguments.
        refer: gives the storage for a persistent id.
    """

    call: Callable[[Name, list[Any]], Any]
    refer: Callable[[Any], Storage]


def follow(stream: IO[bytes], rules: Rules, scan: Scan) -> None:
    """Follow one pickle to its end; the stream then stands behind it.

    `scan` is filled as far as it goes, also where an error is raised.

    Raises:
        BrokenPickle: the stream ends early or is no pickle.
    """
    machine = _Machine(rules, scan)
    try:
        for opcode, argument, _ in islice(pickletools.genops(stream), _MOST_OPCODES):
            machine.step(opcode.name, argument)
    # pickletools and the steps trust the stream: a garbled one fails in one of these ways.
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise BrokenPickle(str(error) or type(error).__name__) from error
    if not machine.stopped:
        raise BrokenPickle("it has too many opcodes")


class _Machine:
    def __init__(self, rules: Rules, scan: Scan) -> None:
        self._rules = rules
        self._scan = scan
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._copied = 0
        self.stopped = False

    def step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name](argument))
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            raise BrokenPickle(f"it has the opcode {name}, which no state_dict has")

    def pop(self) -> Any:
        if not self._stack:
            raise BrokenPickle("it takes more from its stack than is there")
        return self._stack.pop()

    def top(self) -> Any:
        if not self._stack:
            raise BrokenPickle("its stack is empty")
        return self._stack[-1]

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def since_mark(self) -> list[Any]:
        if not self._below:
            raise BrokenPickle("it has an end without a beginning")
        items, self._stack = self._stack, self._below.pop()
        return items

    def put(self, index: int | None = None) -> None:
        self._memo[len(self._memo) if index is None else int(index)] = self.top()

    def get(self, index: int) -> None:
        self.push(self._memo[int(index)])

    def name(self, module: Any, name: Any) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            module, name = "a name", "made while loading"
        found = Name(module, name)
        self._scan.imports.setdefault(found.path)
        return found

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple | list):
            arguments = [Unknown()]
        known = isinstance(function, Name)
        if known:
            self._pay(arguments)
        self.push(self._rules.call(function, list(arguments)) if known else Unknown())

    def _pay(self, arguments: Sequence[Any]) -> None:
        """Count what a call may copy: a container in the memo costs few bytes each time again."""
        inner = (one for one in arguments[:_FREE] if isinstance(one, tuple | list | dict))
        self._copied += sum(max(0, len(one) - _FREE) for one in (arguments, *inner))
        if self._copied > _MOST_COPIED:
            raise BrokenPickle("it copies the same values over and over")

    def refer(self, about: Any) -> None:
        storage = self._rules.refer(about)
        known = self._scan.storages.setdefault(storage.key, storage)
        if known != storage:
            raise BrokenPickle(f"its storage {storage.key!r} is described twice and differently")
        self.push(storage)

    def extend(self, items: list[Any]) -> None:
        if isinstance(self.top(), list):
            self.top().extend(items)

    def set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise BrokenPickle("a key has no value")
        target = self.top()
        if isinstance(target, dict):
            target.update(
                (key, value)
                for key, value in _pairs(items)
                if isinstance(key, str | int | float | bytes | None)
            )

    def stop(self) -> None:
        self._scan.value = self.pop()
        self.stopped = True


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(items[::2], items[1::2], strict=True)


def _dict(items: list[Any]) -> dict[Any, Any]:
    return {k: v for k, v in _pairs(items) if isinstance(k, str | int | float | bytes | None)}


def _old_instance(machine: _Machine, argument: str) -> None:
    arguments = machine.since_mark()
    machine.call(machine.name(*argument.split(" ", 1)), arguments)


def _old_object(machine: _Machine, _: Any) -> None:
    function, *arguments = machine.since_mark()
    machine.call(function, arguments)


def _stack_global(machine: _Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push(machine.name(module, name))


def _reduce(machine: _Machine, _: Any) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.call(function, arguments)


def _new_extended(machine: _Machine, _: Any) -> None:
    machine.pop()
    _reduce(machine, None)


def _pop(machine: _Machine, _: Any) -> None:
    # At a fresh mark a pop takes the mark itself.
    if machine._stack:  # noqa: SLF001 - one module
        machine.pop()
    else:
        machine.since_mark()


def _drop_to_mark(machine: _Machine, _: Any) -> None:
    machine.since_mark()


def _frozen_set(machine: _Machine, _: Any) -> None:
    machine.since_mark()
    machine.push(Unknown())


def _build(machine: _Machine, _: Any) -> None:
    # The state goes to an object that is a symbol: it changes nothing.
    machine.pop()


def _popped(machine: _Machine, count: int) -> tuple[Any, ...]:
    return tuple(machine.pop() for _ in range(count))[::-1]


_CONSTANTS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
            *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"),
            *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
            *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        ),
        lambda argument: argument,
    ),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_DICT": lambda _: {},
    "EMPTY_SET": lambda _: Unknown(),
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda _, __: None,
    "FRAME": lambda _, __: None,
    "STOP": lambda m, _: m.stop(),
    "MARK": lambda m, _: m.mark(),
    "POP": _pop,
    "POP_MARK": _drop_to_mark,
    "DUP": lambda m, _: m.push(m.top()),
    "PUT": lambda m, a: m.put(a),
    "BINPUT": lambda m, a: m.put(a),
    "LONG_BINPUT": lambda m, a: m.put(a),
    "MEMOIZE": lambda m, _: m.put(),
    "GET": lambda m, a: m.get(a),
    "BINGET": lambda m, a: m.get(a),
    "LONG_BINGET": lambda m, a: m.get(a),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.push(_popped(m, 1)),
    "TUPLE2": lambda m, _: m.push(_popped(m, 2)),
    "TUPLE3": lambda m, _: m.push(_popped(m, 3)),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "DICT": lambda m, _: m.push(_dict(m.since_mark())),
    "FROZENSET": _frozen_set,
    "APPEND": lambda m, _: m.extend([m.pop()]),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "ADDITEMS": _drop_to_mark,
    "SETITEM": lambda m, _: m.set_items(list(_popped(m, 2))),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "GLOBAL": lambda m, a: m.push(m.name(*a.split(" ", 1))),
    "STACK_GLOBAL": _stack_global,
    "INST": _old_instance,
    "OBJ": _old_object,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _new_extended,
    "BUILD": _build,
    "PERSID": lambda m, a: m.refer(a),
    "BINPERSID": lambda m, _: m.refer(m.pop()),
    "EXT1": lambda m, a: m.push(m.name("copyreg", f"extension {a}")),
    "EXT2": lambda m, a: m.push(m.name("copyreg", f"extension {a}")),
    "EXT4": lambda m, a: m.push(m.name("copyreg", f"extension {a}")),
}
