"""Fingerprints of what `model.predict` executes, by the engine that Keras computes with."""

from __future__ import annotations

import os
from typing import Any, Callable, List, Mapping, Sequence

import numpy as np

from runner.fingerprints import Fingerprint, of_lines
from runner.support import pass_log, tensorflow_fingerprint, tensorflow_operators

_XLA_VARIABLES = ("XLA_FLAGS", "TF_XLA_FLAGS")

Prove = Callable[[Any, Callable[[], Any], str], Fingerprint]
"""Of a model, a call of its `predict`, and scratch space."""


def by_tensorflow(about: Sequence[str]) -> Prove:
    """The graphs of the function that Keras makes, or its operations where it is called eagerly.

    Where XLA compiles the function, TensorFlow shows what XLA is given and not what it makes of it:
    its flags count as part of that.

    Args:
        about: what chooses kernels and is not seen in a graph.
    """

    def prove(model: Any, run: Callable[[], Any], folder: str) -> Fingerprint:
        if model.run_eagerly:
            return tensorflow_fingerprint.of_operations(lambda _: run(), None, folder, about)
        flags = [f"{name}={os.environ.get(name, '')}" for name in _XLA_VARIABLES]
        compiled = ["compiled by XLA", *flags] if model.jit_compile else []
        # Made anew, since TensorFlow tells of a function's graphs only when it is first called.
        model.make_predict_function(force=True)
        with pass_log.standard_error(folder) as said:
            _, functions = tensorflow_operators.record_graphs(run)
        return tensorflow_fingerprint.of_functions(
            functions, _weights(model), [*about, *compiled], said.text
        )

    return prove


def by_torch(observed: Callable[[Callable[[], Any]], Mapping[str, int]]) -> Prove:
    """The operators of a call with their kernels, and the weights.

    Args:
        observed: counts the operators of a call.
    """

    def prove(model: Any, run: Callable[[], Any], folder: str) -> Fingerprint:  # noqa: ARG001
        operators = dict(observed(run))
        lines = [f"{number} {kind}" for kind, number in sorted(operators.items())]
        return of_lines("fx", lines, _weights(model), operators=operators)

    return prove


def _weights(model: Any) -> List["np.ndarray"]:
    """The values of a model's variables, in Keras's order."""
    return [np.asarray(value) for value in model.get_weights()]
