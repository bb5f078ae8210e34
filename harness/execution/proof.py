"""Whether a cell really ran on the device that it was meant for, from what its runner proved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import ExecutionError


def check_device(device: str, gpu: str | None, ran: Mapping[str, Any]) -> None:
    """Refuse a loaded model that is on another device than its cell is meant for.

    Args:
        device: `cpu` or `cuda`.
        gpu: UUID of the GPU that was leased for the cell; None for the processor.
        ran: what the runner says of the loaded model: `device`, and for a GPU `device_proof`.

    Raises:
        ExecutionError: kind `wrong-device`.
    """
    if ran.get("device") != device:
        raise ExecutionError(
            "wrong-device",
            f"It was to run on {device} and ran on {ran.get('device') or 'nobody knows what'}.",
            "The backend must prove where it ran; see docs/architecture.md.",
        )
    if gpu is None:
        return
    proof = ran.get("device_proof")
    proven = proof.get("uuid") if isinstance(proof, Mapping) else None
    # CUDA gives an instance of a divided GPU the prefix of a whole one.
    if not isinstance(proven, str) or proven.partition("-")[2] != gpu.partition("-")[2]:
        raise ExecutionError(
            "wrong-device",
            f"It was to run on the GPU {gpu}, and its model is on {proven or 'no proven GPU'}.",
            "See `harness doctor` for how GPUs reach an environment.",
        )
