"""The converter `onnx>jax`: an ONNX model to functions exported by JAX (StableHLO), and weights.

The graph is written in JAX node by node (`runner.support.jax_graph`), in ONNX's own layout, and
exported with a fixed batch. Options: `batch` (default 1) and `item_shape`, the shape of one input,
for a model that leaves more than the batch open.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, jax_archive, jax_runtime, onnx_model

_NAME = "onnx>jax"
_PLATFORMS = ("cpu", "cuda")


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or an operator that nothing is known of; `model`
            if the source can't be read; `conversion` if it can't be traced or an output is lost,
            of another rank or not finite.
    """
    batch, item_shape = conversion.options_of(job, _NAME)
    jax_runtime.prepare("cpu", job.threads)
    model = conversion.read_onnx(job, _NAME)
    probe = conversion.seeded_input(model, batch, item_shape, _NAME)
    with conversion.written(job.target) as part:
        _export(model, probe, part)
        got = _run(part, probe)
        conversion.check_finite(got)
        expected = conversion.reference_outputs(model, probe)
        conversion.require_alike(expected, got, sizes=False)
    difference = conversion.largest_difference(expected, got)
    return conversion.converted(job.target, ("jax", "jaxlib", "onnx", "numpy"), difference)


def _import_jax() -> None:
    import flatbuffers  # noqa: F401
    import jax.export  # noqa: F401
    import onnx  # noqa: F401


LATE_IMPORTS = (_import_jax,)
"""What is imported only when a model is converted, for a probe to try."""


def _export(model: Any, probe: np.ndarray, path: str) -> None:
    """Trace the model once for each precision, and write all with the weights."""
    import jax
    from jax import export

    from runner.support.jax_graph import translate

    def function(*values: Any) -> Tuple[Any, ...]:
        return program.function(*values)

    program = translate(model, probe.shape)
    arguments = [
        jax.ShapeDtypeStruct(value.shape, value.dtype) for value in (probe, *program.weights)
    ]
    functions: Dict[str, bytes] = {}
    versions = set()
    for precision in jax_archive.PRECISIONS:
        with jax.default_matmul_precision(precision):
            try:
                exported = export.export(jax.jit(function), platforms=_PLATFORMS)(*arguments)
            except RunnerError:
                raise
            except Exception as error:
                failed = classify(error, "conversion")
                message = f"the model can't be exported by JAX: {failed.message}"
                raise RunnerError(failed.kind, message, failed.detail) from error
        functions[precision] = bytes(exported.serialize())
        versions.add(int(exported.calling_convention_version))
    about = {
        "format": "jax.export",
        "calling_convention_version": max(versions),
        "jax": jax.__version__,
        "platforms": list(_PLATFORMS),
        "input": conversion.graph_input(model, _NAME).name,
        "outputs": list(program.outputs),
        "computes_in": list(onnx_model.narrow_floats(model)),
    }
    jax_archive.write(path, functions, program.weights, about)


def _run(path: str, probe: np.ndarray) -> List[np.ndarray]:
    """The outputs of the function with whole float32, read back from its file."""
    from jax import export

    archive = jax_archive.read(path)
    exported = export.deserialize(bytearray(archive.functions["highest"]))
    return [np.asarray(value) for value in exported.call(probe, *archive.weights)]
