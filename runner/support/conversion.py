"""What converters do alike: options, a seeded input, checks of what it made.

Each conversion is looked at right after it is made: read back, run on a seeded input, and compared
with ONNX's own reference evaluator. The difference is recorded and decides nothing: a conversion
that changes answers is what the harness is there to measure. One that is not finite is a failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import installed_version, only_input, unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import fed_input, onnx_model

OPTIONS = ("batch", "item_shape")
QUANTISATIONS = ("dynamic", "static", "float16")


def options_of(
    job: ConvertJob, name: str, known: Sequence[str] = OPTIONS
) -> Tuple[int, Optional[Tuple[int, ...]]]:
    """The batch, and the shape of one input where the job says it.

    Args:
        job: whose options they are.
        name: the converter's.
        known: all options that the converter takes.

    Raises:
        RunnerError: kind `unsupported` for an unknown option, `job` for a bad value.
    """
    require_options(job, name, known)
    batch, item_shape = job.options.get("batch", 1), job.options.get("item_shape")
    sizes = [batch] + list(item_shape or ())
    if any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in sizes):
        message = f"{name}: batch and the sizes of item_shape must be integers of at least 1"
        raise RunnerError("job", message)
    return batch, None if item_shape is None else tuple(item_shape)


def require_options(job: ConvertJob, name: str, known: Sequence[str]) -> None:
    """Refuse an option that the converter does not take.

    Raises:
        RunnerError: kind `unsupported`.
    """
    for option in job.options:
        if option not in known:
            raise unsupported(name, "option", option, tuple(known))


def require_format(job: ConvertJob, name: str, *known: str) -> None:
    """Refuse a source of another format than the converter reads.

    Raises:
        RunnerError: kind `unsupported`.
    """
    if job.source_format not in known:
        raise unsupported(name, "source format", job.source_format, known)


def opset_of(job: ConvertJob, name: str, known: Sequence[int], default: int) -> int:
    """The ONNX operator set to write.

    Raises:
        RunnerError: kind `unsupported`, for one that the converter cannot write.
    """
    opset = job.options.get("opset", default)
    if isinstance(opset, bool) or opset not in known:
        raise unsupported(name, "opset", opset, (f"{min(known)} to {max(known)}",))
    return int(opset)


def quantisation_of(
    job: ConvertJob, name: str, known: Sequence[str] = QUANTISATIONS
) -> Optional[str]:
    """What is asked for: one of `known`, or None for float32.

    Raises:
        RunnerError: kind `unsupported`, for another, or for `static` without calibration inputs.
    """
    asked = job.options.get("quantisation")
    if asked is None:
        return None
    if asked not in known:
        raise unsupported(name, "quantisation", asked, tuple(known))
    if asked == "static" and job.calibration is None:
        raise RunnerError(
            "unsupported",
            f"{name}: static quantisation chooses the ranges of integers from inputs, and this job "
            "brings none: give images, with --calibration N",
        )
    return str(asked)


def read_onnx(job: ConvertJob, name: str) -> Any:
    """The source as `onnx.ModelProto`.

    Raises:
        RunnerError: kind `unsupported` if it is no ONNX file, `model` if it can't be read.
    """
    import onnx

    require_format(job, name, "onnx")
    try:
        return onnx.load(job.source)
    except Exception as error:
        refused = classify(error, "model")
        message = f"{job.source}: {refused.message}"
        raise RunnerError(refused.kind, message, refused.detail) from error


def graph_input(model: Any, name: str) -> Any:
    """The model's one input, as `onnx.ValueInfoProto`.

    Raises:
        RunnerError: kind `unsupported`, if it has none or several.
    """
    fed = onnx_model.inputs(model)
    only_input(name, [value.name for value in fed])
    return fed[0]


def fed_shape(
    model: Any, batch: int, item_shape: Optional[Tuple[int, ...]], name: str
) -> Tuple[int, ...]:
    """The whole shape of the model's input as a cell will feed it; raises as `fed_input.fed_shape`."""
    value = graph_input(model, name)
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    declared = [size if size > 0 else None for size in sizes]
    return fed_input.fed_shape(name, value.name, declared, batch, item_shape)


def seeded_input(
    model: Any, batch: int, item_shape: Optional[Tuple[int, ...]], name: str
) -> np.ndarray:
    """An input of the model's own shape and dtype: standard normal, or small integers.

    Raises:
        RunnerError: as `fed_shape`.
    """
    import onnx

    shape = fed_shape(model, batch, item_shape, name)
    elem_type = graph_input(model, name).type.tensor_type.elem_type
    return fed_input.seeded(shape, onnx.helper.tensor_dtype_to_np_dtype(elem_type))


def reference_outputs(model: Any, fed: np.ndarray) -> Optional[List[np.ndarray]]:
    """What ONNX's reference evaluator gives; None where it can't run the model."""
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(model)
        outputs: Any = evaluator.run(None, {evaluator.input_names[0]: fed})
    except Exception as error:
        print(f"runner: ONNX's reference evaluator can't run the model: {error!r}", flush=True)
        return None
    return [np.asarray(output) for output in outputs]


def require_alike(
    expected: Optional[Sequence[np.ndarray]], got: Sequence[np.ndarray], *, sizes: bool = True
) -> None:
    """Refuse a conversion that lost an output, or changed a shape; `expected` None tells nothing.

    Without `sizes` only ranks count: ONNX's reference evaluator rounds those of Resize another way.

    Raises:
        RunnerError: kind `conversion`.
    """
    shapes = [[np.shape(one) for one in outputs] for outputs in (expected or (), got)]
    told = shapes if sizes else [[len(shape) for shape in one] for one in shapes]
    if expected is not None and told[0] != told[1]:
        raise RunnerError(
            "conversion",
            f"the source gives {len(shapes[0])} outputs of the shapes {shapes[0]}, and what was "
            f"made of it {len(shapes[1])} of {shapes[1]}: the tool changes the model; use another",
        )


def largest_difference(
    expected: Optional[Sequence[np.ndarray]], got: Sequence[np.ndarray]
) -> Optional[float]:
    """The largest absolute difference over all outputs; None where it can't be told."""
    if expected is None or [e.shape for e in expected] != [g.shape for g in got]:
        return None
    worst = [
        float(np.abs(np.subtract(e, g, dtype=np.float64)).max(initial=0.0))
        for e, g in zip(expected, got)
    ]
    return max(worst) if worst and np.isfinite(worst).all() else None


def check_finite(outputs: Sequence[np.ndarray]) -> None:
    """Refuse a conversion that gives NaN or infinity.

    Raises:
        RunnerError: kind `conversion`.
    """
    for index, output in enumerate(outputs):
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            raise RunnerError(
                "conversion",
                f"the converted model's output {index} is not finite on a seeded input: the "
                "conversion succeeded and its result can't be used",
            )


@contextlib.contextmanager
def written(target: str, suffix: str = "") -> Iterator[str]:
    """A path to write to, which becomes the target if the block ends well.

    Args:
        target: the file to make.
        suffix: what the path is to end with, where a library insists on one.
    """
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    part = f"{target}.part{suffix}"
    try:
        yield part
        os.replace(part, target)
    finally:
        if os.path.exists(part):
            os.unlink(part)


@contextlib.contextmanager
def written_folder(target: str) -> Iterator[str]:
    """A folder to fill, which becomes the target if the block ends well; made by whoever fills it."""
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    part = f"{target}.part"
    try:
        yield part
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def converted(
    target: str,
    packages: Sequence[str],
    difference: Optional[float],
    input_axes: Optional[Sequence[int]] = None,
    output_axes: Optional[Sequence[Optional[Sequence[int]]]] = None,
) -> Dict[str, Any]:
    """The fields of the event `converted`.

    Args:
        target: the file or folder that was made.
        packages: distributions that had a part in it; those that are not installed are left out.
        difference: to the reference evaluator.
        input_axes: how the source's input is transposed to become the target's.
        output_axes: how each of the target's outputs is transposed to become the source's.
    """
    versions = {name: installed_version(name) for name in packages}
    parent = os.path.dirname(os.path.abspath(target))
    return {
        "files": {os.path.relpath(path, parent): sha256(path) for path in _files(target)},
        "versions": {name: version for name, version in versions.items() if version},
        "probe_max_abs_diff": difference,
        "input_axes": None if input_axes is None else list(input_axes),
        "output_axes": None
        if output_axes is None or all(axes is None for axes in output_axes)
        else [None if axes is None else list(axes) for axes in output_axes],
    }


def _files(target: str) -> List[str]:
    """The target itself, or every file below it, by absolute path."""
    if not os.path.isdir(target):
        return [os.path.abspath(target)]
    walked = os.walk(os.path.abspath(target))
    return sorted(os.path.join(folder, name) for folder, _, names in walked for name in names)


def sha256(path: str) -> str:
    """Of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1024**2), b""):
            digest.update(block)
    return digest.hexdigest()
