"""One node of an ONNX graph as the translation to JAX reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from runner.errors import RunnerError
from runner.support import onnx_folding
from runner.support.onnx_window import Pads, Window, resolve_pads


@dataclass(frozen=True)
class Node:
    """An operator's kind, name and attributes, under the opset of its model."""

    kind: str
    name: str
    attributes: Dict[str, Any]
    opset: int
    outputs: int

    @classmethod
    def read(cls, proto: Any, opset: int) -> Node:
        """From `onnx.NodeProto`."""
        attributes = onnx_folding.attributes(proto)
        return cls(proto.op_type, proto.name, attributes, opset, len(proto.output))

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.kind} {self.name!r}" if self.name else f"a {self.kind}"

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or what it is where the model does not say."""
        return self.attributes.get(name, default)

    def given(self, name: str, argument: Any) -> Optional[np.ndarray]:
        """What older opsets have as an attribute and newer ones as an input; None: not given.

        Raises:
            RunnerError: kind `unsupported`, where it is known only when the model runs.
        """
        if argument is None:
            held = self.get(name)
            return None if held is None else np.asarray(held)
        return self.constant(name, argument)

    def constant(self, name: str, argument: Any) -> np.ndarray:
        """An input that must be known beforehand.

        Raises:
            RunnerError: kind `unsupported`, where it is not.
        """
        if not isinstance(argument, (np.ndarray, np.generic)):
            raise refuse(
                self, f"its {name} is known only when the model runs, and XLA's shapes are fixed"
            )
        return np.asarray(argument)


def refuse(node: Node, why: str) -> RunnerError:
    """The error for a node that JAX can't be given."""
    return RunnerError("unsupported", f"onnx>jax can't convert {node.label}: {why}")


def axes_of(given: Optional[np.ndarray], rank: int) -> Optional[Tuple[int, ...]]:
    """Axes counted from the front; None where none were given."""
    if given is None or given.size == 0:
        return None
    return tuple(int(axis) % rank for axis in given.reshape(-1))


def windows_of(
    sizes: Tuple[int, ...],
    kernel: Tuple[int, ...],
    strides: Tuple[int, ...],
    dilations: Tuple[int, ...],
) -> List[Window]:
    """The window along each spatial axis."""
    return [Window(*each) for each in zip(sizes, kernel, strides, dilations)]


def padding_of(node: Node, windows: List[Window]) -> List[Pads]:
    """Padding before and after each spatial axis, by `auto_pad` or `pads`."""
    return resolve_pads(windows, node.get("pads", []), node.get("auto_pad", "NOTSET"))
