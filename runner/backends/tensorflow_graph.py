"""The backend `tensorflow.graph`: a model traced into one graph, which TensorFlow executes.

On the CPU or one NVIDIA GPU. Settings: `freeze` = true | false (true: variables become constants
before the graph is optimised), `grappler` = true | false (TensorFlow's optimiser of graphs),
`onednn` = true | false (false: TensorFlow's own kernels on the CPU), `disabled_passes` = grappler's
optimizers to be left out, `passes` = those that alone are kept.
"""

from __future__ import annotations

from typing import Any, List, Mapping

from runner.backends.base import BackendProbe, LoadRequest, Offer
from runner.instruction_sets import HONOURED
from runner.support import (
    named_passes,
    tensorflow_fingerprint,
    tensorflow_grappler,
    tensorflow_ir,
    tensorflow_operators,
    tensorflow_program,
)
from runner.support.tensorflow_freeze import frozen
from runner.support.tensorflow_operators import Operator
from runner.support.tensorflow_program import Call, TensorFlowProgram, Way
from runner.support.tensorflow_source import Step

STACK = "tensorflow"


def _make(tf: Any, step: Step, spec: Any, settings: Mapping[str, Any]) -> Call:
    traced = tf.function(step, input_signature=[spec]).get_concrete_function()
    made: Call = frozen(traced) if settings["freeze"] else traced
    return made


def _first(call: Call, fed: Any) -> List[Operator]:
    """TensorFlow optimises a graph, and gives it kernels, when it is first called."""
    return tensorflow_operators.record(lambda: call(fed))[1]


_WAY = Way(
    offer=Offer(
        backend="tensorflow.graph",
        formats=("keras", "savedmodel", "graphdef"),
        devices=("cpu", "cuda"),
        instruction_sets=HONOURED["tensorflow.graph"],
        settings={"freeze": (True, False), "grappler": (True, False), "onednn": (True, False)},
        names=dict.fromkeys(named_passes.SETTINGS, tensorflow_grappler.OPTIMIZERS),
    ),
    make=_make,
    first=_first,
    shown=tensorflow_ir.keep_graph,
    proof=tensorflow_fingerprint.of_graph,
    without=tensorflow_grappler.left_out,
)


def create(request: LoadRequest) -> TensorFlowProgram:
    """A model to be loaded."""
    return TensorFlowProgram(request, _WAY)


def probe() -> BackendProbe:
    """Whether TensorFlow traces a function and executes its graph."""
    return tensorflow_program.probe(_WAY)
