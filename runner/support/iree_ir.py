"""What IREE's compiler makes of a model: its phases in MLIR, LLVM IR, assembly, and the module."""

from __future__ import annotations

import os
from typing import Any, Callable, Sequence

from runner import ir_files

_ELIDED = (
    "--mlir-elide-elementsattrs-if-larger=64",
    "--mlir-elide-resource-strings-if-larger=256",
)
"""Weights are in the model, and each phase would hold them anew."""


def keep(compile_again: Callable[[Sequence[str]], Any], module: bytes, folder: str) -> None:
    """Write the module that runs, and what its compiler went through, by compiling once more.

    The compiler shows that only while it compiles. The second module is dropped; it is compiled with
    the same flags, but is no copy to the byte: IREE gives no such two.

    Args:
        compile_again: compiles the model as it was compiled, with further flags.
        module: what runs.
        folder: where to write.
    """
    ir_files.write_bytes(folder, "module.vmfb", module)
    kernels, phases = (os.path.join(folder, name) for name in ("kernels", "phases"))
    os.makedirs(kernels)
    os.makedirs(phases)
    dumps = (
        f"--iree-hal-dump-executable-intermediates-to={kernels}",
        f"--dump-compilation-phases-to={phases}",
    )
    compile_again((*_ELIDED, *dumps))
