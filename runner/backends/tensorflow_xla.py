"""The backend `tensorflow.xla`: a model compiled as a whole by XLA (`jit_compile=True`).

On the CPU or one NVIDIA GPU. Settings: `freeze` = false | true (true: variables become constants
that XLA can fold), `onednn` = true | false (false: TensorFlow's own kernels on the CPU, as far as
XLA calls any), `disabled_passes`, `passes`, `xla_flags`: XLA's passes and flags by name
(`xla_passes`).
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from runner.backends.base import BackendProbe, LoadRequest, Offer
from runner.instruction_sets import HONOURED
from runner.support import (
    tensorflow_fingerprint,
    tensorflow_ir,
    tensorflow_operators,
    tensorflow_program,
    xla_passes,
)
from runner.support.tensorflow_freeze import frozen
from runner.support.tensorflow_operators import Operator
from runner.support.tensorflow_program import Call, TensorFlowProgram, Way
from runner.support.tensorflow_source import Step

STACK = "tensorflow"


def _make(tf: Any, step: Step, spec: Any, settings: Mapping[str, Any]) -> Call:
    if settings["freeze"]:
        constant = frozen(tf.function(step, input_signature=[spec]).get_concrete_function())

        def compiled(fed: Any) -> List[Any]:
            return list(constant(fed))

        # XLA names its program by it, and dumps programs by name.
        compiled.__name__ = step.__name__
    else:
        compiled = step
    made: Call = tf.function(compiled, input_signature=[spec], jit_compile=True)
    return made


def _first(call: Call, fed: Any) -> List[Operator]:
    """XLA compiles at the first call. What it can't compile is an error: nothing falls back."""
    call(fed)
    return []


def _watched(call: Any, fed: Any) -> List[Operator]:
    """The program that XLA made, which it makes once more to show it."""
    place = "GPU" if "GPU" in str(call(fed)[0].device) else "CPU"
    text = call.experimental_get_compiler_ir(fed)(stage="optimized_hlo")
    return tensorflow_operators.of_hlo(str(text), place)


def _options(backend: str, settings: Mapping[str, Any]) -> Dict[str, Any]:
    disabled = xla_passes.to_disable(backend, settings, xla_passes.passes("tensorflow"))
    flags = xla_passes.checked_flags(backend, "tensorflow", settings.get(xla_passes.FLAGS))
    return xla_passes.as_options(disabled, flags)


_WAY = Way(
    offer=Offer(
        backend="tensorflow.xla",
        formats=("keras", "savedmodel", "graphdef"),
        devices=("cpu", "cuda"),
        instruction_sets=HONOURED["tensorflow.xla"],
        settings={"freeze": (False, True), "onednn": (True, False)},
        names=xla_passes.offered("tensorflow"),
        free=xla_passes.FREE,
    ),
    make=_make,
    first=_first,
    watched=_watched,
    shown=tensorflow_ir.keep_hlo,
    proof=tensorflow_fingerprint.of_hlo,
    options=_options,
)


def create(request: LoadRequest) -> TensorFlowProgram:
    """A model to be loaded."""
    return TensorFlowProgram(request, _WAY)


def probe() -> BackendProbe:
    """Whether XLA compiles and runs a function."""
    return tensorflow_program.probe(_WAY)
