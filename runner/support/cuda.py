"""What every backend does before it runs on the GPU that this process sees."""

from __future__ import annotations

import os
from typing import Any, Dict

from runner import gpus

_TF32 = "NVIDIA_TF32_OVERRIDE"


def require(backend: str, precision: str) -> Dict[str, Any]:
    """What `device_proof` says of the GPU, once it is certain that there is exactly one.

    For `f32` CUDA's libraries are told to leave TF32 alone, which keeps 10 bits of 23. That is one
    of two switches: each backend sets its framework's own as well, which is the one that counts
    where a library was loaded before this is called, as PyTorch's are.

    Raises:
        RunnerError: kind `wrong-device`, where there is none, or more than one.
    """
    proof = gpus.seen().proof(backend)
    if precision == "f32":
        os.environ[_TF32] = "0"
    return proof
