"""The converter `onnx>keras`: an ONNX model to a Keras functional model (`.keras`).

Written here because no package does it for the three engines of Keras 3 (TensorFlow, JAX and
PyTorch): onnx2keras 0.0.25 targets Keras 3, but calls TensorFlow inside Lambda layers, which other
engines can't run and `safe_mode` refuses to load; onnx2kerastl is for TensorFlow alone as well, and
onnx2tf 1.29 pins TensorFlow 2.19 with its Keras 2.

What is written holds standard layers and operations of Keras only, so it loads with
`safe_mode=True` and without custom objects. Images are channels-last. The batch stays open if ONNX
leaves it open. Options: `batch` of the probe (default 1) and `item_shape`, the shape of one input
as ONNX has it, for a model that leaves more than the batch open.
"""

from __future__ import annotations

import warnings
from typing import Any, Dict, List

import numpy as np

from runner.errors import classify
from runner.jobs import ConvertJob
from runner.support import conversion, keras_engine, keras_graph

_NAME = "onnx>keras"
_PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "onnx", "numpy")

LATE_IMPORTS = (keras_engine.import_keras,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    The file is read back and run on a seeded input: `probe_max_abs_diff` is its largest difference
    to ONNX's own reference evaluator. It is recorded and decides nothing.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that has no conversion; `model`
            if the source can't be read; `conversion` if Keras refuses what should work, or an
            output is lost, of another rank or not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME)
    model = conversion.read_onnx(job, _NAME)
    probe = conversion.seeded_input(model, batch, item_shape, _NAME)
    # Libraries announce changes to come while they are imported and used: none is this model's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = keras_engine.load(job.threads)
        built = keras_graph.build(model, keras, item_shape, _NAME)
        with conversion.written(job.target, ".keras") as part:
            try:
                built.model.save(part)
                got = _run(keras, part, probe, built)
            except Exception as error:
                failed = classify(error, "conversion")
                raise type(failed)(
                    failed.kind,
                    f"{_NAME}: the model was built and can't be saved, loaded and run by Keras "
                    f"{keras.version} on {keras.engine}: {failed.message}",
                    failed.detail,
                ) from error
            conversion.check_finite(got)
            expected = conversion.reference_outputs(model, probe)
            conversion.require_alike(expected, got, sizes=False)
            difference = conversion.largest_difference(expected, got)
    return conversion.converted(
        job.target, _PACKAGES, difference, built.input_axes, built.output_axes
    )


def _run(
    keras: keras_engine.Keras, path: str, probe: np.ndarray, built: keras_graph.Built
) -> List[np.ndarray]:
    """The outputs of the file, as ONNX lays them out."""
    loaded = keras.module.models.load_model(path, compile=False, safe_mode=True)
    fed = probe if built.input_axes is None else probe.transpose(built.input_axes)
    outputs = keras.run(loaded, np.ascontiguousarray(fed))
    return [
        output if axes is None else output.transpose(axes)
        for output, axes in zip(outputs, built.output_axes)
    ]
