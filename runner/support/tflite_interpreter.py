"""TensorFlow Lite's interpreter, whichever package brings it: making one, and what it will run.

The packages share one Python interface and differ in the kernels inside.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple

import numpy as np

from runner.backends.base import installed_version, unsupported
from runner.support.tally import tally

# Newest first: (distribution, module that holds Interpreter and OpResolverType).
_PACKAGES = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
    ("tensorflow-cpu", "tensorflow.lite.python.interpreter"),
)

RESOLVERS = {
    "xnnpack": "AUTO",
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
"""The setting `kernels`, by the name that the library gives to that choice."""

_DELEGATE = "DELEGATE"


def import_interpreter() -> Tuple[str, Any]:
    """The first package that is installed, and its module.

    Raises:
        ImportError: if there is none, or if the one that is installed does not import.
    """
    for package, module in _PACKAGES:
        if installed_version(package):
            return package, import_module(module)
    raise ImportError("none of " + ", ".join(p for p, _ in _PACKAGES) + " is installed")


def resolver(module: Any, package: str, kernels: str) -> Any:
    """The library's own value for a choice of kernels.

    Raises:
        RunnerError: kind `unsupported`, if this version does not have it.
    """
    types = module.OpResolverType
    offered = tuple(name for name, member in RESOLVERS.items() if hasattr(types, member))
    if kernels not in offered:
        what = f"value of kernels in {package} {installed_version(package)}"
        raise unsupported("tflite", what, kernels, offered)
    return getattr(types, RESOLVERS[kernels])


def operators(interpreter: Any) -> Optional[List[Dict[str, Any]]]:
    """Each operator with the numbers of its tensors; None where this version does not tell."""
    try:
        return list(interpreter._get_ops_details())  # noqa: SLF001 (no public way to ask)
    except Exception:
        return None


def partitions(listed: Iterable[Dict[str, Any]]) -> int:
    """How many parts of the graph a delegate took."""
    return sum(1 for operator in listed if operator["op_name"] == _DELEGATE)


def delegated(listed: Iterable[Dict[str, Any]]) -> Set[int]:
    """Places in the list of those operators that a delegate runs.

    The interpreter goes on listing them beside the delegate's own node. Which they are follows from
    that node's tensors: whatever leads to its outputs, back to its inputs.
    """
    rows = list(listed)
    producer = {
        int(tensor): place
        for place, operator in enumerate(rows)
        if operator["op_name"] != _DELEGATE
        for tensor in operator["outputs"]
    }
    taken: Set[int] = set()
    for operator in rows:
        if operator["op_name"] != _DELEGATE:
            continue
        known = {int(tensor) for tensor in operator["inputs"]}
        waiting = [int(tensor) for tensor in operator["outputs"]]
        while waiting:
            tensor = waiting.pop()
            if tensor in known:
                continue
            known.add(tensor)
            place = producer.get(tensor)
            if place is not None:
                taken.add(place)
                waiting.extend(int(one) for one in rows[place]["inputs"])
    return taken


def by_kernel(listed: Iterable[Dict[str, Any]], kernels: str) -> Dict[str, int]:
    """Operators by kind and by who runs them, such as `{"CONV_2D (xnnpack)": 36}`."""
    return tally(kind for kind, _ in _with_kernel(listed, kernels))


def plan_of(interpreter: Any, listed: Iterable[Dict[str, Any]], kernels: str) -> List[str]:
    """What an interpreter runs, a line an operator: its kind, its kernel, and its tensors.

    Tensors are numbered by the file, and have a shape once they are allocated for a batch.
    """
    details = {int(one["index"]): one for one in interpreter.get_tensor_details()}

    def tensor(index: int) -> str:
        about = details.get(index)
        if about is None:
            return str(index)
        shape = "x".join(str(int(size)) for size in about["shape"])
        return f"{index}:{np.dtype(about['dtype']).name}[{shape}]"

    lines = []
    for kind, operator in _with_kernel(listed, kernels):
        read, written = (
            " ".join(tensor(int(index)) for index in operator[side])
            for side in ("inputs", "outputs")
        )
        lines.append(f"{kind} {read} -> {written}")
    return lines


def _with_kernel(
    listed: Iterable[Dict[str, Any]], kernels: str
) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """Each operator of the file, with its kind and who runs it."""
    rows = list(listed)
    taken = delegated(rows)
    own = "builtin" if kernels == "xnnpack" else kernels
    for place, operator in enumerate(rows):
        if operator["op_name"] != _DELEGATE:
            yield f"{operator['op_name']} ({'xnnpack' if place in taken else own})", operator


def computed_in(interpreter: Any, listed: Iterable[Dict[str, Any]]) -> List[str]:
    """The dtypes of what the operators give, the most frequent first."""
    dtypes = {
        int(one["index"]): np.dtype(one["dtype"]).name for one in interpreter.get_tensor_details()
    }
    given = [
        int(tensor) for row in listed if row["op_name"] != _DELEGATE for tensor in row["outputs"]
    ]
    return list(tally(dtypes[tensor] for tensor in given if tensor in dtypes))
