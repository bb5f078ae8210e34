"""A hash of TensorFlow's graphs that says what they compute, whatever their nodes are called.

Names of nodes and functions are counted up in a process, and optimizers make new ones for what they
leave as it was. So a node is known by its kind, its attributes (of a constant the bytes) and what it
is fed with; and a graph by how many such nodes it has.
"""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

from runner.fingerprints import strip_numbers
from runner.support.tensorflow_operators import PLUMBING

_ABOUT_NAMES = frozenset(
    ["_class", "_output_shapes", "_input_shapes", "_XlaHasReferenceVars", "config_proto"]
)
"""Attributes that hold names of other nodes, or what follows from the rest."""
_CYCLE = "cycle"


def lines(graphs: Iterable[Any]) -> Iterator[str]:
    """A line for each node of each graph and of their functions, sorted inside each.

    Args:
        graphs: of the type `GraphDef`, in their order.
    """
    for graph in graphs:
        yield "graph"
        yield from _of_nodes(graph.node)
        for function in _functions(graph):
            yield f"function {strip_numbers(function.signature.name)}"
            yield from _of_nodes(function.node_def)


def operators(graphs: Iterable[Any]) -> Dict[str, int]:
    """How many nodes that compute there are of each kind, those of functions too."""
    found: Dict[str, int] = {}
    for graph in graphs:
        bodies = [graph.node, *(function.node_def for function in _functions(graph))]
        for nodes in bodies:
            for node in nodes:
                if node.op not in PLUMBING:
                    found[str(node.op)] = found.get(str(node.op), 0) + 1
    return found


def _functions(graph: Any) -> List[Any]:
    return sorted(graph.library.function, key=lambda each: str(each.signature.name))


def _of_nodes(nodes: Sequence[Any]) -> List[str]:
    """Each node's kind and hash; the hash covers all that leads to it."""
    by_name = {str(node.name): node for node in nodes}
    hashes: Dict[str, str] = {}
    for name in _fed_first(by_name):
        node = by_name[name]
        digest = hashlib.sha256(_own(node))
        for source, port in _inputs(node):
            # A function's own arguments are no nodes, and are known by their names.
            told = hashes.get(source, _CYCLE) if source in by_name else source
            digest.update(f"<{told}:{port}".encode())
        hashes[name] = digest.hexdigest()
    return sorted(f"{by_name[name].op} {hashed}" for name, hashed in hashes.items())


def _own(node: Any) -> bytes:
    """A node's kind and attributes, without what only names things."""
    parts = [str(node.op).encode()]
    attributes: Mapping[str, Any] = node.attr
    for key in sorted(attributes):
        if key not in _ABOUT_NAMES:
            parts += [key.encode(), _value(attributes[key])]
    if "device:" in str(node.device):
        parts.append(str(node.device).rpartition("device:")[2].encode())
    return b"\0".join(parts)


def _value(value: Any) -> bytes:
    if value.HasField("func"):
        return strip_numbers(str(value.func.name)).encode()
    return bytes(value.SerializeToString(deterministic=True))


def _inputs(node: Any) -> List[Tuple[str, str]]:
    """(name of the node, which of its outputs); what only waits comes last, in any order."""
    data, waits = [], []
    for text in map(str, node.input):
        if text.startswith("^"):
            waits.append((text[1:], "waits"))
        else:
            # In a function: node:output:index.
            name, _, port = text.partition(":")
            data.append((name, port or "0"))
    return data + sorted(waits)


def _fed_first(by_name: Mapping[str, Any]) -> Iterator[str]:
    """Every name, those that feed a node before it; loops are cut where they are met."""
    done: Dict[str, bool] = {}
    for root in sorted(by_name):
        pending = [root]
        while pending:
            name = pending[-1]
            if name not in done:
                done[name] = False
                fed_by = [source for source, _ in _inputs(by_name[name])]
                pending += [one for one in fed_by if one in by_name and one not in done]
                continue
            pending.pop()
            if not done[name]:
                done[name] = True
                yield name
