"""How one layer of a Keras application takes the arrays of one module of PyTorch.

A `Row` pairs a layer of Keras with the prefix of canonical names (those of PyTorch's `state_dict`).
Its kind says which arrays there are, how they are laid out, and to which variables they go:

| kind | canonical | Keras |
|---|---|---|
| `conv` | `.weight` [O, I, H, W], and `.bias` where Keras has one | `kernel` [H, W, I, O], `bias` |
| `depthwise` | `.weight` [C, 1, H, W] | `kernel` or `depthwise_kernel` [H, W, C, 1] |
| `linear` | `.weight` [O, I], `.bias` | `kernel` [I, O], `bias` |
| `linear_as_conv` | `.weight` [O, I], `.bias` | `kernel` [1, 1, I, O], `bias` |
| `conv_as_linear` | `.weight` [O, I, 1, 1], `.bias` | `kernel` [I, O], `bias` |
| `norm` | `.weight .bias .running_mean .running_var` | `gamma beta moving_mean moving_variance` |
| `layer_norm` | `.weight .bias` | `gamma beta` |
| `scale` | the name itself, [C, 1, 1] | `gamma` [C], or `depthwise_kernel` [1, 1, C, 1] |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Tuple

import numpy as np

Shape = Tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One layer: its name in Keras, the kind of its arrays, and where they are in PyTorch."""

    layer: str
    kind: str
    source: str


@dataclass(frozen=True)
class Slot:
    """One array: its canonical name and shape, and how it becomes the variable's value.

    The variable is None where Keras has no place for the array: a batch norm that does not scale.
    """

    name: str
    shape: Shape
    variable: Any
    axes: Tuple[int, ...]

    def value(self, array: np.ndarray) -> np.ndarray:
        """A canonical array as the variable has it."""
        turned = array.transpose(self.axes).reshape(tuple(self.variable.shape))
        return np.ascontiguousarray(turned, dtype=np.float32)


_KERNEL_AXES: Mapping[str, Tuple[int, ...]] = {
    "conv": (2, 3, 1, 0),
    "depthwise": (2, 3, 0, 1),
    "linear": (1, 0),
    "linear_as_conv": (1, 0),
    "conv_as_linear": (2, 3, 1, 0),
}
_NORMS = {
    "norm": (
        (".weight", "gamma"),
        (".bias", "beta"),
        (".running_mean", "moving_mean"),
        (".running_var", "moving_variance"),
    ),
    "layer_norm": ((".weight", "gamma"), (".bias", "beta")),
}


def slots(row: Row, layer: Any) -> List[Slot]:
    """The arrays that a layer is given."""
    if row.kind in _NORMS:
        shape = _shape(layer.beta)
        return [
            Slot(row.source + end, shape, getattr(layer, name), (0,))
            for end, name in _NORMS[row.kind]
        ]
    if row.kind == "scale":
        gamma = getattr(layer, "gamma", None)
        variable = _kernel(layer) if gamma is None else gamma
        channels = int(np.prod(_shape(variable)))
        return [Slot(row.source, (channels, 1, 1), variable, (0, 1, 2))]
    found = [_kernel_slot(row, _kernel(layer))]
    bias = getattr(layer, "bias", None)
    if bias is not None:
        found.append(Slot(row.source + ".bias", _shape(bias), bias, (0,)))
    return found


def _kernel_slot(row: Row, kernel: Any) -> Slot:
    axes, shape = _KERNEL_AXES[row.kind], _shape(kernel)
    if row.kind == "conv_as_linear":
        shape = (1, 1, *shape)
    elif row.kind == "linear_as_conv":
        shape = shape[2:]
    canonical = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
    return Slot(row.source + ".weight", canonical, kernel, axes)


def _kernel(layer: Any) -> Any:
    """The kernel of a convolution: Keras 2 names a depthwise one differently."""
    depthwise = getattr(layer, "depthwise_kernel", None)
    return layer.kernel if depthwise is None else depthwise


def _shape(variable: Any) -> Shape:
    return tuple(int(size) for size in variable.shape)
