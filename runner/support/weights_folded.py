"""Fits the arrays of a weights file to a network: other names, folded batch norms, absent biases."""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np

from runner.architectures import Architecture
from runner.architectures.base import split
from runner.errors import RunnerError

_SHOWN = 5
_COUNTER = "num_batches_tracked"


def canonical(
    arrays: Mapping[str, np.ndarray], architecture: Architecture
) -> Dict[str, np.ndarray]:
    """The arrays by their canonical names, without those that inference does not need.

    Raises:
        RunnerError: kind `model`, if two names of the file mean the same array.
    """
    found: Dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        known = architecture.alias(name)
        if known.endswith(_COUNTER) or known.startswith(architecture.ignored or ("\0",)):
            continue
        if known in found:
            message = f"the weights hold {known} twice, once as {name!r}: leave one out"
            raise RunnerError("model", message)
        found[known] = array
    return found


def classes_of(arrays: Mapping[str, np.ndarray], architecture: Architecture) -> int:
    """The number of classes: the length of the head's weight.

    Args:
        arrays: of a file, under any names that the architecture knows.
        architecture: the network's.

    Raises:
        RunnerError: kind `model`, if there is no such array.
    """
    name = f"{architecture.head}.weight"
    head = canonical(arrays, architecture).get(name)
    if head is None or head.ndim < 2 or not head.shape[0]:
        said = "is not there" if head is None else f"has the shape {list(head.shape)}"
        raise RunnerError(
            "model",
            f"these are no weights of {architecture.name}: the array of the logits, {name}, "
            f"{said}; the file has {_listed(list(arrays))}. Name another architecture",
        )
    return int(head.shape[0])


def complete(
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, Sequence[int]],
    architecture: Architecture,
    epsilon: float,
) -> Dict[str, np.ndarray]:
    """Exactly the arrays that a network needs: float32, C-contiguous, in the order of `expected`.

    - Names are translated to the canonical ones; `num_batches_tracked` is left out.
    - Where the file has a convolution with a bias and none of the arrays of the batch norm behind
      it, which `expected` names, it was folded, and the batch norm becomes the identity: weight 1,
      running_mean 0, running_var 1 - epsilon (so that adding epsilon gives exactly 1 in float32),
      bias the convolution's.
    - Where `expected` names a bias that the canonical layer does not have (Keras's convolutions
      before a batch norm), it is zeros.
    - Shapes that differ only in last dimensions of size 1 (a linear layer [O, I] as a convolution
      [O, I, 1, 1]) are reshaped.

    Args:
        arrays: of a file, under any names that the architecture knows.
        expected: canonical name to shape, in PyTorch's layouts. Name every array that the file
            should hold, also one that has no place of its own in the network (the weight of a batch
            norm that does not scale), and deal with that afterwards.
        architecture: the network's.
        epsilon: of the network's batch norms.

    Raises:
        RunnerError: kind `model`, listing what is missing, unexpected, of another shape, or no
            floating-point number.
    """
    found = canonical(arrays, architecture)
    _unfold(found, expected, architecture, epsilon)
    for name in expected:
        prefix, own = split(name)
        weight = found.get(f"{prefix}.weight")
        is_layer = weight is not None and weight.ndim > 1
        if own == "bias" and name not in found and is_layer and not architecture.biased(prefix):
            found[name] = np.zeros(expected[name], np.float32)
    _check(found, expected, architecture)
    return {
        name: np.array(found[name], np.float32, order="C").reshape(tuple(shape))
        for name, shape in expected.items()
    }


def identity_variance(epsilon: float) -> np.float32:
    """The float32 that gives exactly 1 when epsilon is added to it in float32.

    Raises:
        RunnerError: kind `unsupported`, if there is none.
    """
    variance = np.float32(1) - np.float32(epsilon)
    if np.float32(variance + np.float32(epsilon)) != np.float32(1):
        message = f"a batch norm with epsilon {epsilon} can't be the identity in float32"
        raise RunnerError("unsupported", message)
    return np.float32(variance)


def _unfold(
    found: Dict[str, np.ndarray],
    expected: Mapping[str, Sequence[int]],
    architecture: Architecture,
    epsilon: float,
) -> None:
    for name in [name for name in found if name.endswith(".bias")]:
        prefix, _ = split(name)
        norm = architecture.norm_of(prefix)
        if norm is None or f"{prefix}.weight" not in found or f"{norm}.running_var" not in expected:
            continue
        arrays = [f"{norm}.{own}" for own in ("weight", "bias", "running_mean", "running_var")]
        if any(array in found for array in arrays):
            continue
        bias = found.pop(name)
        found[arrays[0]] = np.ones(bias.shape, np.float32)
        found[arrays[1]] = bias
        found[arrays[2]] = np.zeros(bias.shape, np.float32)
        found[arrays[3]] = np.full(bias.shape, identity_variance(epsilon), np.float32)


def _check(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, Sequence[int]],
    architecture: Architecture,
) -> None:
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    both = [name for name in expected if name in found]
    misshapen = [
        f"{name} {list(found[name].shape)} instead of {list(expected[name])}"
        for name in both
        if not _same(found[name].shape, expected[name])
    ]
    integers = [f"{name} ({found[name].dtype})" for name in both if found[name].dtype.kind != "f"]
    kinds: List[Tuple[str, List[str]]] = [
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", misshapen),
        ("no floating-point numbers", integers),
    ]
    wrong = [f"{len(names)} {what}: {_listed(names)}" for what, names in kinds if names]
    if wrong:
        raise RunnerError(
            "model",
            f"the weights do not fit {architecture.name}: {'; '.join(wrong)}. Name the architecture "
            "that they are of, and look whether the file is whole",
        )


def _same(one: Sequence[int], other: Sequence[int]) -> bool:
    return _without_last_ones(one) == _without_last_ones(other)


def _without_last_ones(shape: Sequence[int]) -> Tuple[int, ...]:
    """[O, I, 1, 1] as [O, I]: what stands in front keeps its place, so that no layout passes."""
    sizes = tuple(shape)
    while sizes and sizes[-1] == 1:
        sizes = sizes[:-1]
    return sizes


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
