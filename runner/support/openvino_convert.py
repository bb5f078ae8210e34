"""What the converters to `openvino` do alike: a folder with `model.xml` and `model.bin`.

By OpenVINO's own `convert_model`. Weights are written as float32: its own default when saving is
float16, without a word. The batch stays open where the source leaves it open.

OpenVINO's converter tells its makers of each use over the network where its telemetry is installed;
here it is not imported.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import Shape, TensorSpec, comparable, only_input, unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import (
    conversion,
    fed_input,
    image_layout,
    openvino_graph,
    openvino_outputs,
)

OPTIONS = (*conversion.OPTIONS, "layout", "quantisation")
QUANTISATIONS = ("float16",)

_FILE = "model.xml"

Answers = Callable[[np.ndarray], Optional[Sequence[np.ndarray]]]
"""What the source gives for an input; None where nothing here can run it."""


def import_openvino() -> Any:
    """The package OpenVINO, which is not to report what it converts."""
    # Its converter takes a stub then. This must come before OpenVINO is imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")


def convert(
    job: ConvertJob,
    name: str,
    source: Any,
    packages: Sequence[str] = (),
    shape: Optional[Shape] = None,
    answers: Optional[Answers] = None,
) -> Dict[str, Any]:
    """Write `job.target`, a folder; the fields of the event `converted`.

    Options: `batch`, `item_shape`, `layout` (of the input: nchw | nhwc; by default the source's)
    and `quantisation` (float16: weights are stored as float16 and computed with as float32).

    Args:
        job: the conversion.
        name: the converter's.
        source: a path, or an exported program of PyTorch.
        packages: distributions that had a part in it besides OpenVINO.
        shape: the source's own shape, where OpenVINO forgets it.
        answers: by which to tell how far the result is from the source.

    Raises:
        RunnerError: kind `unsupported` for the request, or operators that OpenVINO does not know;
            `model` if it can't read the source; `conversion` if what was made does not run, or an
            output is lost, of another shape or not finite.
    """
    batch, item_shape = conversion.options_of(job, name, OPTIONS)
    layout = job.options.get("layout")
    if layout is not None and layout not in image_layout.LAYOUTS:
        raise unsupported(name, "layout", layout, image_layout.LAYOUTS)
    quantisation = conversion.quantisation_of(job, name, QUANTISATIONS)
    model = _imported(source, job.source)
    openvino_outputs.put_in_order(model, job.source_format, job.source)
    only_input(name, [openvino_outputs.name(port, "input") for port in model.inputs])
    taken = _fixed(model, name, shape, batch, item_shape)
    axes = None
    if layout is not None:
        axes = image_layout.axes(name, taken.name, taken.shape or (), str(layout))
    if axes:
        model = _transposed(model, axes, str(layout))
    fed = fed_input.seeded(taken.shape or (), taken.dtype)
    with conversion.written_folder(job.target) as part:
        os.makedirs(part)
        path = os.path.join(part, _FILE)
        import_openvino().save_model(model, path, compress_to_fp16=quantisation == "float16")
        del model
        got = _run(path, fed if axes is None else fed.transpose(axes), job.threads)
        conversion.check_finite(got)
        expected = None if answers is None else answers(fed)
        conversion.require_alike(expected, got)
    difference = conversion.largest_difference(expected, got)
    used = ("openvino", "numpy", *packages)
    return conversion.converted(job.target, used, difference, input_axes=axes)


def _imported(source: Any, path: str) -> Any:
    try:
        return import_openvino().convert_model(source)
    except Exception as error:
        said = " ".join(str(error).split())
        lacking = re.search(
            r"No conversion rule found for operations: ([^\s,]+(?:, [^\s,]+)*)", said
        )
        if lacking:
            raise RunnerError(
                "unsupported",
                f"OpenVINO's importer knows no conversion of the operators {lacking[1]} in "
                f"{path}; write them with others, or take another route",
                said,
            ) from error
        unread = "Cannot recognize" in said or "Unable to read" in said
        failed = classify(error, "model" if unread else "conversion")
        message = f"{path} can't be imported by OpenVINO: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error


def _fixed(
    model: Any,
    name: str,
    shape: Optional[Shape],
    batch: int,
    item_shape: Optional[Tuple[int, ...]],
) -> TensorSpec:
    """Fix what is open but the batch; what the model takes, for the batch asked for."""
    port = model.inputs[0]
    called = openvino_outputs.name(port, "input")
    for each in [port, *model.outputs]:
        if not each.element_type.is_real():
            raise RunnerError(
                "unsupported",
                f"{name}: OpenVINO drops the scale and zero point of the quantised "
                f"{openvino_outputs.name(each, 'tensor')!r}, so its values can't be compared; run the source with "
                "the backend of its own format, or quantise after the conversion",
            )
    kind = str(port.element_type.get_type_name())
    dtype = comparable(name, called, openvino_graph.numpy_name(kind))
    partial = port.partial_shape
    declared = shape
    if declared is None and partial.rank.is_static:
        declared = tuple(size.get_length() if size.is_static else None for size in partial)
    wanted = fed_input.fed_shape(name, called, declared, batch, item_shape)
    open_batch = declared is not None and declared[0] is None
    model.reshape({port: [-1 if open_batch else wanted[0], *wanted[1:]]})
    return TensorSpec(called, dtype, wanted)


def _transposed(model: Any, axes: Tuple[int, ...], layout: str) -> Any:
    """The model with an input of another layout, which it transposes by itself."""
    inner = "NCHW" if axes == image_layout.TO_NHWC else "NHWC"
    ov = import_openvino()
    changed = import_module("openvino.preprocess").PrePostProcessor(model)
    changed.input().tensor().set_layout(ov.Layout(layout.upper()))
    changed.input().model().set_layout(ov.Layout(inner))
    return changed.build()


def _run(path: str, fed: np.ndarray, threads: int) -> List[np.ndarray]:
    """What the written folder gives, in whole float32.

    Raises:
        RunnerError: kind `conversion`, if it does not load or run.
    """
    wanted = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    try:
        compiled = import_openvino().Core().compile_model(path, "CPU", wanted)
        results = compiled.create_infer_request().infer([np.ascontiguousarray(fed)])
        return [np.array(results[index]) for index in range(len(results))]
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"what OpenVINO made does not run: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
