"""What an ONNX model computes, apart from how its values are called and in which order it is written.

It is read from the file's bytes, so that an environment without the package onnx can do it. Each value
is known by what makes it: the kind of node with its attributes, the values that go in, the bytes of
constants. Two models whose nodes are the same in this sense compute the same by the same operators.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from runner.errors import RunnerError
from runner.fingerprints import count
from runner.support import protobuf
from runner.support.protobuf import Message

_STANDARD = ("", "ai.onnx")
_EXTERNAL = 1
_TENSOR_TYPE = 1

# A tensor's numbers, where they are not raw bytes: the field, and the dtype of an element, by the
# number of the type.
_FLOAT_FIELD, _INT32_FIELD, _STRING_FIELD, _INT64_FIELD, _DOUBLE_FIELD, _UINT64_FIELD = (
    *(4, 5, 6, 7),
    *(10, 11),
)
_INT32_HOLDS = {
    2: "<u1",  # uint8
    3: "<i1",  # int8
    4: "<u2",  # uint16
    5: "<i2",  # int16
    6: "<i4",  # int32
    9: "<u1",  # bool
    10: "<u2",  # float16, as bits
    16: "<u2",  # bfloat16, as bits
}
_UINT64_HOLDS = {12: "<u4", 13: "<u8"}


@dataclass(frozen=True)
class Structure:
    """What a model computes.

    Attributes:
        lines: canonical; equal for equal models.
        operators: how many nodes of each kind, those in bodies and functions too; kinds outside of
            ONNX's own domain with their domain: `com.microsoft.nchwc.Conv`.
    """

    lines: Tuple[str, ...]
    operators: Mapping[str, int]

    @property
    def sha256(self) -> str:
        """Over all lines."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()


def read_file(path: str) -> Structure:
    """The structure of a model file.

    Raises:
        RunnerError: kind `model`: it is no ONNX, or its weights lie outside of it.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = bytearray(size)
            file.readinto(content)
        return read(memoryview(content).toreadonly())
    except ValueError as error:
        raise RunnerError("model", f"{path}: it can't be read as ONNX: {error}") from error


def read(content: memoryview) -> Structure:
    """The structure of a model.

    Raises:
        ValueError: it is no ONNX, or its weights lie outside of it.
    """
    model = protobuf.read(content)
    graphs = protobuf.messages(model, 7)
    if len(graphs) != 1:
        raise ValueError("a model holds one graph")
    kinds: List[str] = []
    lines = [f"graph {_graph(graphs[0], {}, kinds)}"]
    lines += sorted(f"function {_function(one, kinds)}" for one in protobuf.messages(model, 25))
    # The version of its operators belongs to what a node means.
    for opset in protobuf.messages(model, 8):
        domain = _domain(protobuf.text(opset, 1))
        if any(_domain_of(kind) == domain for kind in kinds):
            lines.append(f"opset {domain} {protobuf.integers(opset, 2)}")
    return Structure((lines[0], *sorted(lines[1:])), count(kinds))


def _graph(graph: Message, outer: Mapping[str, str], kinds: List[str]) -> str:
    """The hash of a graph; `kinds` gains those of its nodes."""
    values: Dict[str, str] = dict(outer)
    held = set()
    for tensor in protobuf.messages(graph, 5):
        name = protobuf.text(tensor, 8)
        held.add(name)
        values[name] = _tensor(tensor)
    for sparse in protobuf.messages(graph, 15):
        name = protobuf.text(protobuf.messages(sparse, 1)[0], 8)
        held.add(name)
        values[name] = _sparse(sparse)
    fed = []
    for value in protobuf.messages(graph, 11):
        name = protobuf.text(value, 1)
        if name in held:
            # A weight that a caller may exchange, which nobody does here, is not folded.
            values[name] = _hash("exchangeable", values[name])
            continue
        values[name] = _hash("input", len(fed), _type(value))
        fed.append(values[name])
    made = _nodes(protobuf.messages(graph, 1), values, kinds)
    outputs = [
        (values.get(protobuf.text(one, 1), "absent"), _type(one))
        for one in protobuf.messages(graph, 12)
    ]
    return _hash("graph", fed, sorted(made), outputs)


def _function(function: Message, kinds: List[str]) -> str:
    names = protobuf.texts(function, 4)
    values = {name: _hash("argument", place) for place, name in enumerate(names)}
    made = _nodes(protobuf.messages(function, 7), values, kinds)
    outputs = [values.get(name, "absent") for name in protobuf.texts(function, 5)]
    opsets = sorted(
        (_domain(protobuf.text(one, 1)), protobuf.integers(one, 2))
        for one in protobuf.messages(function, 9)
    )
    defaults = sorted(_attribute(one, {}, kinds) for one in protobuf.messages(function, 11))
    called = (_domain(protobuf.text(function, 10)), protobuf.text(function, 1))
    return _hash(called, sorted(made), outputs, opsets, defaults)


def _nodes(nodes: List[Message], values: Dict[str, str], kinds: List[str]) -> List[str]:
    """The hash of each node; `values` gains what they make.

    A file lists its nodes in an order in which they can run.
    """
    made = []
    for node in nodes:
        kind = _kind(node)
        kinds.append(kind)
        attributes = sorted(_attribute(one, values, kinds) for one in protobuf.messages(node, 5))
        read_values = [
            values.get(name, _hash("outside", name)) if name else ""
            for name in protobuf.texts(node, 1)
        ]
        written = protobuf.texts(node, 2)
        identity = _hash(kind, attributes, read_values, [bool(name) for name in written])
        made.append(identity)
        for place, name in enumerate(written):
            if name:
                values[name] = _hash(identity, place)
    return made


def _kind(node: Message) -> str:
    domain = _domain(protobuf.text(node, 7))
    name = protobuf.text(node, 4)
    return f"{domain}.{name}" if domain else name


def _domain(name: str) -> str:
    return "" if name in _STANDARD else name


def _domain_of(kind: str) -> str:
    return kind.rpartition(".")[0]


def _attribute(attribute: Message, values: Mapping[str, str], kinds: List[str]) -> str:
    """The hash of an attribute: its name, and its value whatever it is."""
    told: List[Any] = [
        protobuf.text(attribute, 1),
        protobuf.floats(attribute, 2),
        protobuf.integers(attribute, 3),
        [bytes(one) for one in protobuf.contents(attribute, 4)],
        protobuf.floats(attribute, 7),
        protobuf.integers(attribute, 8),
        [bytes(one) for one in protobuf.contents(attribute, 9)],
        protobuf.text(attribute, 21),
    ]
    told += [[_tensor(one) for one in protobuf.messages(attribute, number)] for number in (5, 10)]
    told += [
        [_graph(one, values, kinds) for one in protobuf.messages(attribute, number)]
        for number in (6, 11)
    ]
    told += [[_sparse(one) for one in protobuf.messages(attribute, number)] for number in (22, 23)]
    told += [[bytes(one) for one in protobuf.contents(attribute, number)] for number in (14, 15)]
    return _hash(told)


def _tensor(tensor: Message) -> str:
    """The hash of a tensor's type, shape and numbers, however they are written down.

    Raises:
        ValueError: they are in another file, or of a type that is not known.
    """
    if _EXTERNAL in protobuf.integers(tensor, 14)[-1:]:
        raise ValueError("its weights lie in another file")
    kind = (protobuf.integers(tensor, 2) or [0])[-1]
    digest = hashlib.sha256(_hash(kind, protobuf.integers(tensor, 1)).encode())
    raw = protobuf.contents(tensor, 9)
    if raw:
        digest.update(raw[-1])
    else:
        digest.update(_numbers(tensor, kind))
    return digest.hexdigest()


def _numbers(tensor: Message, kind: int) -> bytes:
    """What a tensor holds that has no raw bytes, as those would be."""
    if _INT64_FIELD in tensor:
        return np.asarray(protobuf.integers(tensor, _INT64_FIELD), "<i8").tobytes()
    if _INT32_FIELD in tensor:
        whole = np.asarray(protobuf.integers(tensor, _INT32_FIELD), "<i8")
        return whole.astype(_INT32_HOLDS.get(kind, "<i4")).tobytes()
    if _UINT64_FIELD in tensor:
        whole = np.asarray(protobuf.integers(tensor, _UINT64_FIELD), "<i8")
        return whole.astype(_UINT64_HOLDS.get(kind, "<u8")).tobytes()
    if _STRING_FIELD in tensor:
        return repr([bytes(one) for one in protobuf.contents(tensor, _STRING_FIELD)]).encode()
    # Floats and doubles, and complex numbers as pairs of them, are their own bytes.
    listed = (*protobuf.contents(tensor, _FLOAT_FIELD), *protobuf.contents(tensor, _DOUBLE_FIELD))
    return b"".join(bytes(one) for one in listed)


def _sparse(sparse: Message) -> str:
    parts = [[_tensor(one) for one in protobuf.messages(sparse, number)] for number in (1, 2)]
    return _hash(parts, protobuf.integers(sparse, 3))


def _type(value: Message) -> str:
    """The type of an input or output; a size that is left open has no name of its own."""
    told = []
    for kind in protobuf.messages(value, 2):
        for tensor in protobuf.messages(kind, _TENSOR_TYPE):
            shapes = [
                [protobuf.integers(dim, 1) for dim in protobuf.messages(shape, 1)]
                for shape in protobuf.messages(tensor, 2)
            ]
            told.append((protobuf.integers(tensor, 1), shapes))
        told += [(number, "other") for number in kind if number not in (_TENSOR_TYPE, 6)]
    return repr(told)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
