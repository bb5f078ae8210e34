"""What the converters to `mlir` do alike in an environment of IREE: write, read back, run, compare."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from iree import runtime

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, iree_mlir
from runner.support.iree_compile import Compiled, compile_mlir

_FLAGS = ("--iree-llvmcpu-target-cpu=host",)


def write(
    job: ConvertJob,
    data: bytes,
    packages: Sequence[str],
    fed: np.ndarray,
    expected: Optional[Sequence[np.ndarray]],
    *,
    sizes: bool = True,
) -> Dict[str, Any]:
    """Write `job.target`, read it back, and compile and run that; the fields of `converted`.

    Args:
        job: the conversion.
        data: the module, as MLIR's bytecode.
        packages: distributions that had a part in it besides IREE's.
        fed: an input to try it with.
        expected: what the source gives for it, where that is known.
        sizes: whether the outputs must have the sizes of those expected, or only their ranks.

    Raises:
        RunnerError: kind `unsupported` for an operator that IREE can't compile; `model` if what was
            written can't be read; `conversion` if it does not run, or an output is lost, of another
            shape or not finite.
    """
    with conversion.written(job.target) as part:
        with open(part, "wb") as file:
            file.write(data)
        got = _run(compile_mlir(iree_mlir.read(part, job.converter), _FLAGS), fed)
        conversion.check_finite(got)
        conversion.require_alike(expected, got, sizes=sizes)
    difference = conversion.largest_difference(expected, got)
    used = ("iree-base-compiler", "iree-base-runtime", "numpy", *packages)
    return conversion.converted(job.target, used, difference)


def _run(compiled: Compiled, fed: np.ndarray) -> List[np.ndarray]:
    """The outputs for one input, in the calling thread."""
    try:
        device = runtime.get_device("local-sync", cache=False)
        context = runtime.SystemContext(config=runtime.Config(device=device))
        loaded = runtime.VmModule.copy_buffer(context.instance, compiled.module)
        context.add_vm_module(loaded)
        results = context.modules[loaded.name][iree_mlir.NAME](fed)
        outputs = results if isinstance(results, (tuple, list)) else (results,)
        return [np.array(output.to_host()) for output in outputs]
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"what IREE's importer made does not run: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
