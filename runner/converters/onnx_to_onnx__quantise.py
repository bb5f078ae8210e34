"""The converter `onnx>onnx:quantise`: smaller numbers, by ONNX Runtime's own tools.

Options: `quantisation`, which must be said:

- `dynamic`: weights are kept in 8 bits without a sign, activations quantised as they come, by
  integer operators, which ONNX Runtime runs in all its versions. A convolution gets one scale for all
  its channels: those by channel (MobileNet's) lose their answers by it. Meant for matrices.
- `static`: 8 bits with a sign for weights and activations, weights by channel, as pairs of
  QuantizeLinear and DequantizeLinear around the operators; ranges from the smallest and largest
  values that the calibration inputs give. A model below opset 13 is raised to it.
- `float16`: everything but inputs, outputs and a few operators that have no such form.

Besides `batch` (default 1) and `item_shape`, the shape of one input, for a model that leaves more than
the batch open: it is checked with these. What the model leaves open stays open.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import onnx
from onnx import version_converter

from runner.backends.base import unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import calibration, conversion, onnx_model, onnx_steps

_NAME = "onnx>onnx:quantise"
_PACKAGES = (*onnx_steps.PACKAGES, "sympy")
_QUANTISERS = ("QuantizeLinear", "DynamicQuantizeLinear")
_BY_CHANNEL = 13
"""The first opset whose DequantizeLinear takes a scale for each channel."""

OPTIONS = (*conversion.OPTIONS, "quantisation")
"""What a job may say."""


def import_quantization() -> Any:
    """ONNX Runtime's quantiser."""
    onnx_steps.import_onnxruntime()
    from onnxruntime import quantization
    from onnxruntime.quantization import onnx_model, shape_inference  # noqa: F401 (used as its own)

    return quantization


def import_float16() -> Any:
    """ONNX Runtime's converter to half precision."""
    onnx_steps.import_onnxruntime()
    from onnxruntime.transformers import float16

    return float16


LATE_IMPORTS = (import_quantization, import_float16)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    `probe_max_abs_diff` is the largest difference to the source on a seeded input, both by ONNX
    Runtime. It is no measure of a quantised model: noise is no image.

    Raises:
        RunnerError: `unsupported` for the request, or a model in which nothing can be quantised;
            `model` if the source can't be read; `conversion` if the quantiser fails or what it made is
            not valid, not portable or not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME, OPTIONS)
    asked = conversion.quantisation_of(job, _NAME)
    if asked is None:
        why = "the step is to quantise: say how"
        raise unsupported(_NAME, "quantisation", None, conversion.QUANTISATIONS, why=why)
    source = conversion.read_onnx(job, _NAME)
    fed = conversion.seeded_input(source, batch, item_shape, _NAME)
    _refuse_quantised(source, job.source)
    with tempfile.TemporaryDirectory(dir=job.work) as folder:
        try:
            model = _quantised(job, asked, source, fed, folder)
        except RunnerError:
            raise
        except Exception as error:
            failed = classify(error, "conversion")
            message = f"{_NAME}: ONNX Runtime can't quantise {job.source}: {failed.message}"
            raise RunnerError(failed.kind, message, failed.detail) from error
    _require_quantised(model, asked)
    with conversion.written(job.target, ".onnx") as part:
        onnx_steps.make_portable(model, source, _NAME)
        onnx_steps.save(model, part, _NAME)
        difference = onnx_steps.difference(job, part, source, fed)
    return conversion.converted(job.target, _PACKAGES, difference)


def _quantised(job: ConvertJob, asked: str, source: Any, fed: np.ndarray, folder: str) -> Any:
    if asked == "float16":
        # The converter changes the model that it is given; the source is still compared with.
        copied = onnx.ModelProto()
        copied.CopyFrom(source)
        made = import_float16().convert_float_to_float16(copied, keep_io_types=True)
        # It puts the casts of inputs last, where ONNX wants them before who reads them.
        import_quantization().onnx_model.ONNXModel(made).topological_sort()
        return made
    quantization = import_quantization()
    ready, done = (os.path.join(folder, name) for name in ("ready.onnx", "done.onnx"))
    _prepare(job, source, asked, ready, folder)
    kinds = quantization.QuantType
    if asked == "dynamic":
        quantization.quantize_dynamic(ready, done, per_channel=True, weight_type=kinds.QUInt8)
    else:
        name = conversion.graph_input(source, _NAME).name
        quantization.quantize_static(
            ready,
            done,
            _Reader(name, _grouped(job, source, fed)),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=kinds.QInt8,
            weight_type=kinds.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
    return onnx.load(done)


def _prepare(job: ConvertJob, source: Any, asked: str, ready: str, folder: str) -> None:
    """Fold what can be, and find shapes, as the quantiser wants it."""
    pre_process = import_quantization().shape_inference.quant_pre_process
    path = job.source
    if asked == "static" and onnx_model.supported_opset(source, _NAME) < _BY_CHANNEL:
        path = os.path.join(folder, "raised.onnx")
        onnx.save(version_converter.convert_version(source, _BY_CHANNEL), path)
    try:
        pre_process(path, ready)
    except Exception as error:
        # Symbolic shapes help with transformers only, and its rules lack operators.
        print(f"runner: no symbolic shapes are found: {error!r}", flush=True)
        pre_process(path, ready, skip_symbolic_shape=True)


class _Reader:
    """Calibration inputs as ONNX Runtime asks for them: one after the other, then None."""

    def __init__(self, name: str, batches: Iterator[np.ndarray]) -> None:
        self._name = name
        self._batches = batches

    def get_next(self) -> Optional[Dict[str, np.ndarray]]:
        """What to feed, by the input's name."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def _grouped(job: ConvertJob, source: Any, fed: np.ndarray) -> Iterator[np.ndarray]:
    """The calibration inputs, in batches where the model declares its batch; the last one padded."""
    first = conversion.graph_input(source, _NAME).type.tensor_type.shape.dim[0]
    size = max(1, first.dim_value)
    held: List[np.ndarray] = []
    for row in calibration.batches(job, str(fed.dtype)):
        _check_fit(row.shape, fed.shape)
        held.append(row)
        if len(held) == size:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held + held[-1:] * (size - len(held)))


def _check_fit(row: Tuple[int, ...], fed: Tuple[int, ...]) -> None:
    if row[1:] != fed[1:]:
        raise RunnerError(
            "unsupported",
            f"{_NAME}: a calibration input is {list(row[1:])} and the model takes {list(fed[1:])}: "
            "give inputs of the model's own layout and size",
        )


def _refuse_quantised(model: Any, path: str) -> None:
    if onnx_steps.count(model, *_QUANTISERS, "DequantizeLinear"):
        message = f"{_NAME}: {path} is quantised already: give the float32 model"
        raise RunnerError("unsupported", message)


def _require_quantised(model: Any, asked: str) -> None:
    """Refuse what came out as it went in.

    Raises:
        RunnerError: kind `unsupported`.
    """
    if asked == "float16":
        done = "float16" in onnx_model.narrow_floats(model)
    else:
        done = onnx_steps.count(model, *_QUANTISERS) > 0
    if not done:
        kinds = ", ".join(sorted(onnx_steps.kinds_of(model)))
        raise RunnerError(
            "unsupported",
            f"{_NAME}: ONNX Runtime found nothing in this model that it can make {asked}; its "
            f"operators are {kinds}",
        )
