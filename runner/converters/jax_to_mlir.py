"""The converter `jax>mlir`: a function exported by JAX to StableHLO with its weights, for IREE.

JAX's portable bytecode (VHLO), which other compilers read. The function is the artifact's own with
whole float32 (`highest`), its weights constants in it. Batch and shape are the artifact's. Options:
`batch` and `item_shape`, which must be the artifact's own.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any, Dict, List

import numpy as np

from runner.backends.base import only_input, require_file
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, fed_input, jax_archive, jax_runtime

_NAME = "jax>mlir"
_PACKAGES = ("jax", "jaxlib", "numpy")
OPTIONS = conversion.OPTIONS


def _import_jax() -> None:
    import_module("flatbuffers")
    import_module("jax.export")


LATE_IMPORTS = (_import_jax,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request; `model` if the source can't be read;
            `conversion` if it can't be exported, or an output is not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME, OPTIONS)
    conversion.require_format(job, _NAME, "jax")
    require_file(job.source)
    jax_runtime.prepare("cpu", job.threads)
    archive = jax_archive.read(job.source)
    source = _deserialised(archive.functions["highest"], job.source)
    fed = source.in_avals[0]
    only_input(_NAME, [str(i) for i in range(len(source.in_avals) - len(archive.weights))])
    called, declared = str(archive.about.get("input", "input")), tuple(map(int, fed.shape))
    shape = fed_input.fed_shape(_NAME, called, declared, batch, item_shape)
    given = fed_input.seeded(shape, str(fed.dtype))
    exported = _exported(source, archive.weights, given, job.source)
    with conversion.written(job.target) as part:
        with open(part, "wb") as file:
            file.write(exported.mlir_module_serialized)
        got = _run(exported, part, given)
        conversion.check_finite(got)
    expected = [np.asarray(one) for one in source.call(given, *archive.weights)]
    difference = conversion.largest_difference(expected, got)
    return conversion.converted(job.target, _PACKAGES, difference)


def _deserialised(function: bytes, path: str) -> Any:
    try:
        return import_module("jax.export").deserialize(bytearray(function))
    except Exception as error:
        refused = classify(error, "model")
        message = f"{path} can't be read by this JAX: {refused.message}; convert the model again"
        raise RunnerError(refused.kind, message, refused.detail) from error


def _exported(source: Any, weights: Any, given: np.ndarray, path: str) -> Any:
    """The function of the input alone, for the CPU."""
    jax = import_module("jax")

    def main(fed: Any) -> Any:
        return source.call(fed, *weights)

    shape = jax.ShapeDtypeStruct(given.shape, given.dtype)
    try:
        return import_module("jax.export").export(jax.jit(main), platforms=("cpu",))(shape)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{path} can't be exported by JAX: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error


def _run(exported: Any, path: str, given: np.ndarray) -> List[np.ndarray]:
    """The outputs of what was written, by JAX."""
    with open(path, "rb") as file:
        written = replace(exported, mlir_module_serialized=file.read())
    return [np.asarray(one) for one in written.call(given)]
