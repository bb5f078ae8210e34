"""What JAX hands to XLA, and what XLA makes of it, as text."""

from __future__ import annotations

from typing import Any

from runner import ir_files

_LARGEST_ELEMENTS = 256
"""Larger constants are weights, which are in the model and would drown the program."""


def keep(lowered: Any, compiled: Any, folder: str) -> None:
    """Write StableHLO with the weights elided, and XLA's program after its optimisation.

    Args:
        lowered: a `jax.stages.Lowered`.
        compiled: the `jax.stages.Compiled` that is run.
        folder: where to write.
    """
    program = lowered.compiler_ir("stablehlo").operation
    text = program.get_asm(large_elements_limit=_LARGEST_ELEMENTS)
    ir_files.write_text(folder, "stablehlo.mlir", text)
    optimised = compiled.as_text()
    if optimised:
        ir_files.write_text(folder, "optimised_hlo.txt", optimised)
    else:
        ir_files.not_shown(folder, "this version of XLA does not show its optimised program")
