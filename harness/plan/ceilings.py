"""Which cells can be held to a ceiling on the processor's instruction sets, and why others cannot."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.environments.instruction_sets import OWN, lacking


def refused(
    ceiling: str,
    *,
    backend: str,
    kept: Sequence[str] | str | None,
    device: str,
    flags: Collection[str],
) -> str | None:
    """Why a cell cannot have a ceiling; None: it can.

    Args:
        ceiling: what is asked for.
        backend: the cell's.
        kept: the ceilings that its environment says it keeps to, or why it keeps to none; None
            where the environment says nothing.
        device: the kind of the cell's device.
        flags: the features of this machine's processor, by the kernel's names.
    """
    if ceiling == OWN:
        return None
    what = f"the instruction set {ceiling}"
    if device != "cpu":
        return f"{what} is a ceiling for the CPU, and the cell is for {device}"
    if kept is None or isinstance(kept, str):
        why = kept or "its environment names none that it keeps to"
        return f"{backend} cannot be held to {what}: {why}"
    if ceiling not in kept:
        return f"{backend} cannot be held to {what}; it keeps to {', '.join(kept)}"
    if missing := lacking(ceiling, flags):
        return f"this processor does not reach {what}: it lacks {', '.join(missing)}"
    return None
