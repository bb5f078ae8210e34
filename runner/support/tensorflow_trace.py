"""A model as one traced function of one tensor, from which TensorFlow's own files are written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Callable, List, Optional, Tuple

from runner.errors import RunnerError
from runner.support import keras_engine

PACKAGES = ("tensorflow", "tensorflow-cpu", "numpy")
"""What may have had a part in a file that TensorFlow wrote."""

OpenShape = Tuple[Optional[int], ...]
Step = Callable[[Any], List[Any]]
_PADDED = 3


@dataclass(frozen=True)
class Model:
    """What is to be written: a function of one tensor, and what it takes.

    Attributes:
        tf: TensorFlow.
        step: from a tensor to a list of tensors.
        dtype: NumPy's name of the input's.
        shape: of the input; the first dimension is None where the batch is open.
    """

    tf: Any
    step: Step
    dtype: str
    shape: OpenShape

    def with_batch(self, batch: int) -> Model:
        """The same with a fixed batch."""
        return Model(self.tf, self.step, self.dtype, (batch, *self.shape[1:]))

    def spec(self) -> Any:
        """`tf.TensorSpec` of the input, whose name is `input`."""
        return self.tf.TensorSpec(self.shape, self.tf.dtypes.as_dtype(self.dtype), name="input")


def start(threads: int) -> Any:
    """TensorFlow on the processor, held to a number of threads.

    Raises:
        ImportError: if it does not import.
    """
    tf = _imported()
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    return tf


def import_tensorflow() -> Any:
    """TensorFlow, as a probe tries it: its threads stay as they are, for it may have run already."""
    with keras_engine.variables_put_back():
        return _imported()


def _imported() -> Any:
    keras_engine.prepare_environment(os.environ, "tensorflow")
    return import_module("tensorflow")


def traced(model: Model) -> Tuple[Any, int]:
    """The concrete function from `input` to `output_000`, `output_001`, …; how many these are.

    Numbers of one width: TensorFlow sorts outputs by name.

    Raises:
        RunnerError: kind `unsupported`, for a model that answers nothing.
    """

    def answer(fed: Any) -> Any:
        return {f"output_{n:0{_PADDED}d}": tensor for n, tensor in enumerate(model.step(fed))}

    function = model.tf.function(answer, input_signature=[model.spec()])
    concrete = function.get_concrete_function()
    count = len(concrete.structured_outputs)
    if not count:
        raise RunnerError("unsupported", "the model has no output, so there is nothing to convert")
    return concrete, count


def signature_names(count: int) -> List[str]:
    """Names of a SavedModel's outputs, `output_0` and on, that sort as they are numbered."""
    width = len(str(count - 1))
    return [f"output_{place:0{width}d}" for place in range(count)]
