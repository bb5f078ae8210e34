"""What the converters to `mlir` do alike in an environment of IREE: compile, run, compare, write."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from iree import runtime

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, iree_mlir
from runner.support.iree_compile import Compiled, compile_mlir

FLAGS = ("--iree-llvmcpu-target-cpu=host",)


def write(
    job: ConvertJob,
    data: bytes,
    packages: Sequence[str],
    fed: np.ndarray,
    expected: Optional[Sequence[np.ndarray]],
    compiled: Optional[Compiled] = None,
) -> Dict[str, Any]:
    """Write `job.target` and try what was written; the fields of the event `converted`.

    Args:
        job: the conversion.
        data: the module, as MLIR's bytecode.
        packages: distributions that had a part in it besides IREE's.
        fed: an input to try it with.
        expected: what the source gives for it, where that is known.
        compiled: the module compiled, where that has been done.

    Raises:
        RunnerError: kind `unsupported` for an operator that IREE can't compile; `conversion` if the
            module does not run, or an output is not finite.
    """
    with conversion.written(job.target) as part:
        with open(part, "wb") as file:
            file.write(data)
        source = iree_mlir.read(part, job.converter)
        got = run(compiled or compile_mlir(source, FLAGS), fed)
        conversion.check_finite(got)
    difference = conversion.largest_difference(expected, got)
    used = ("iree-base-compiler", "iree-base-runtime", "numpy", *packages)
    return conversion.converted(job.target, used, difference)


def run(compiled: Compiled, fed: np.ndarray) -> List[np.ndarray]:
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
