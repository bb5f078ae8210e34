"""What TVM compiled a module to, as one hash: the virtual machine's program, kernels, constants."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from importlib import import_module
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from runner import fingerprints
from runner.errors import RunnerError
from runner.fingerprints import Fingerprint
from runner.support import tvm_ir
from runner.support.tvm_build import Lowered
from runner.support.tvm_model import ENTRY

_SHOWN = {"llvm": "asm", "c": "c", "cuda": "cuda"}
"""By kind of a generated module, the form that is nearest to what executes."""

_CODE = {"llvm": "o"}
"""By kind of a generated module, the file whose size is that of the code."""

_COMMENT = re.compile(r"^\s*(#|//|;)")


def take(
    lowered: Lowered,
    executable: Any,
    about: Sequence[str],
    passes: Sequence[str],
    folder: str,
) -> Fingerprint:
    """The fingerprint of one compilation.

    Args:
        lowered: the module after TVM's passes, with the constants.
        executable: what was compiled of it, with its kernels; for target `c` before the compiler.
        about: what else decides what executes: the target, a compiler and its flags.
        passes: those that ran.
        folder: scratch space.

    Raises:
        RunnerError: kind `unsupported`, where this version shows no code of a kernel.
    """
    lines = [*about, *executable.as_text().splitlines()]
    sizes: List[Optional[int]] = []
    for index, (kind, module) in enumerate(_kernels(executable)):
        text = tvm_ir.source(module, _SHOWN[kind])
        if not text:
            raise RunnerError("unsupported", f"tvm shows no {_SHOWN[kind]} of its {kind} kernels")
        lines.extend(line for line in text.splitlines() if not _COMMENT.match(line))
        sizes.append(_size(kind, module, os.path.join(folder, str(index))))
    known = [size for size in sizes if size is not None]
    found = fingerprints.of_lines(
        "relax", lines, _constants(lowered.module), operators=lowered.calls, passes=passes
    )
    return replace(found, code_bytes=sum(known) if known else None)


def _kernels(executable: Any) -> Iterator[Tuple[str, Any]]:
    for module in tvm_ir.below(executable.mod):
        kind = tvm_ir.kind_of(module)
        if kind in _SHOWN:
            yield kind, module


def _size(kind: str, module: Any, path: str) -> Optional[int]:
    """Bytes of a module's object file; None for one that is source only."""
    if kind not in _CODE:
        return None
    file = f"{path}.{_CODE[kind]}"
    write = getattr(module, "write_to_file", None) or module.save
    write(file, _CODE[kind])
    return os.path.getsize(file)


def _constants(module: Any) -> List[Any]:
    """The constants of the virtual machine's function, in the order of their use."""
    found: List[Any] = []

    def visit(node: Any) -> None:
        # The class of constants is another in each version; what they hold is a tensor in all.
        for name in ("value", "data"):
            held = getattr(node, name, None)
            if hasattr(held, "numpy"):
                found.append(held.numpy())

    import_module("tvm.relax").analysis.post_order_visit(module[ENTRY], visit)
    return found
