"""The number of threads that numeric libraries read from the environment when they load."""

from __future__ import annotations

import os

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def limit_threads(count: int) -> None:
    """Set every library's variable; call it before NumPy or a framework is imported."""
    for name in _VARIABLES:
        os.environ[name] = str(count)
    # Both would let a library take fewer threads than asked, and threads change bits.
    os.environ["OMP_DYNAMIC"] = "FALSE"
    os.environ["MKL_DYNAMIC"] = "FALSE"
