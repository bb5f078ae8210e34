"""The backend `tensorflow.eager`: a Keras model called as an object, operation by operation.

On the CPU or one NVIDIA GPU. Settings: `onednn` = true | false (false: TensorFlow's own kernels on
the CPU).
"""

from __future__ import annotations

from typing import Any, List, Mapping

from runner.backends.base import BackendProbe, LoadRequest, Offer
from runner.instruction_sets import HONOURED
from runner.support import tensorflow_fingerprint, tensorflow_operators, tensorflow_program
from runner.support.tensorflow_operators import Operator
from runner.support.tensorflow_program import Call, TensorFlowProgram, Way
from runner.support.tensorflow_source import Step

STACK = "tensorflow"


def _make(tf: Any, step: Step, spec: Any, settings: Mapping[str, Any]) -> Call:  # noqa: ARG001
    """Nothing is made: each call dispatches every operation."""
    return step


def _watched(call: Call, fed: Any) -> List[Operator]:
    return tensorflow_operators.watch(lambda: call(fed))


_WAY = Way(
    offer=Offer(
        backend="tensorflow.eager",
        formats=("keras",),
        devices=("cpu", "cuda"),
        instruction_sets=HONOURED["tensorflow.eager"],
        settings={"onednn": (True, False)},
    ),
    make=_make,
    watched=_watched,
    proof=tensorflow_fingerprint.of_operations,
)


def create(request: LoadRequest) -> TensorFlowProgram:
    """A model to be loaded."""
    return TensorFlowProgram(request, _WAY)


def probe() -> BackendProbe:
    """Whether TensorFlow imports and computes."""
    return tensorflow_program.probe(_WAY)
