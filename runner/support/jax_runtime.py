"""What JAX reads from the environment when it is imported, and the cores that XLA may use.

XLA on the CPU sizes its pools by a variable of the environment, but runs independent parts of a
model in the calling thread beside the pool, so that one thread would be two now and then. So the
process is also held to as many cores as threads are asked for. This module imports no JAX.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from runner.errors import RunnerError
from runner.instruction_sets import OWN
from runner.support import native_threads, xla_ceiling

_THREADS = ("PJRT_NPROC", "NPROC")
"""How many threads XLA's pools on the CPU get; older jaxlibs know the second only."""

_EIGEN = "--xla_cpu_multi_thread_eigen"
_POOL = "tf_XLAEigen"
"""What XLA calls the threads that compute, in the 15 characters that the kernel keeps."""


def prepare(
    device: str, threads: int, ceiling: str = OWN, cache: Optional[str] = None
) -> Dict[str, Any]:
    """Set platform, threads, cores, instruction sets and cache; for `ran`, what was set.

    Args:
        device: `cpu` or `cuda`.
        threads: how many XLA gets.
        ceiling: on instruction sets.
        cache: a folder for compilations; None: none are kept.

    Raises:
        RunnerError: kind `backend`, where JAX has been imported already: it would not look again;
            `unsupported`, where a process can't be held to cores, or XLA to a ceiling.
    """
    if "jaxlib" in sys.modules:
        raise RunnerError("backend", "jax was imported before its number of threads was set")
    flags = xla_ceiling.set_flags("jax", "jaxlib", ceiling, os.environ.get("XLA_FLAGS", ""))
    chosen = {
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda,cpu",
        # Int64 of an ONNX file stays int64; JAX makes it int32 otherwise, without a word.
        "JAX_ENABLE_X64": "1",
        "XLA_FLAGS": _flags(flags, threads),
        # Memory is taken as it is needed, not three quarters of the GPU at the start.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    chosen.update({name: str(threads) for name in _THREADS})
    if cache is not None:
        chosen.update(_cache(cache))
    os.environ.update(chosen)
    told: Dict[str, Any] = {"xla_flags": chosen["XLA_FLAGS"]}
    if device == "cpu":
        told["cores"] = native_threads.hold_to_cores("jax", threads)
    return told


def proven_threads(threads: int, started: Optional[int]) -> int:
    """The threads that XLA computes with, counted in this process once there is a client.

    Args:
        threads: those asked for.
        started: how many threads came with the client. Older jaxlibs name none of theirs: they are
            two pools, of as many threads each.

    Raises:
        RunnerError: kind `unsupported`, where they are not as many as asked for.
    """
    found = native_threads.named(_POOL)
    if found == threads or (found == 0 and started == 2 * threads):
        return threads
    raise RunnerError(
        "unsupported",
        f"jax was asked to use {threads} threads and XLA's pool has {found or 'an unknown number'}: "
        "this version of jaxlib does not take the number from PJRT_NPROC or NPROC; use another "
        "version",
    )


def _cache(folder: str) -> Dict[str, str]:
    """What makes JAX keep all its compilations in a folder, those that were quick too."""
    return {
        "JAX_COMPILATION_CACHE_DIR": os.path.join(folder, "xla"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _flags(before: str, threads: int) -> str:
    """XLA's flags, with Eigen's pool only where there is more than one thread."""
    kept = [flag for flag in before.split() if not flag.startswith(_EIGEN)]
    return " ".join([*kept, f"{_EIGEN}={'true' if threads > 1 else 'false'}"])
