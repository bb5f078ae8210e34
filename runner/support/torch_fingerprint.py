"""Fingerprints of what PyTorch executes: programs called eagerly, TorchScript, inductor's code."""

from __future__ import annotations

import os
import re
from typing import Any, Iterable, List, Mapping, Sequence, Tuple

import numpy as np
import torch

from runner.errors import RunnerError
from runner.fingerprints import Fingerprint, number_names, of_lines, strip_addresses, strip_paths
from runner.support import elf_code
from runner.support.torch_program import held

_SOURCE = re.compile(r"\s+# .*$")
_COMMENT = re.compile(r"^\s*(# |//)")
_VARIABLES = ("ONEDNN_", "DNNL_", "ATEN_CPU_CAPABILITY", "MKL_CBWR")
"""Beginnings of the names of variables by which kernels are chosen."""

Held = Iterable[Tuple[str, Any]]


def choosing_kernels(settings: Mapping[str, Any]) -> List[str]:
    """What chooses between kernels and is seen in no program."""
    named = sorted(name for name in os.environ if name.startswith(_VARIABLES))
    return [f"onednn={settings.get('onednn')}", *(f"{name}={os.environ[name]}" for name in named)]


def of_program(module: Any, operators: Mapping[str, int], about: Sequence[str]) -> Fingerprint:
    """A program whose operators are called one after the other, by the kernels that were seen.

    Args:
        module: of the exported program.
        operators: of one run, counted with their kernels.
        about: as of `choosing_kernels`.
    """
    graph = strip_addresses(str(getattr(module, "graph", module)))
    return of_lines(
        "fx",
        [*about, *_counted(operators), *(_SOURCE.sub("", line) for line in graph.splitlines())],
        contents(held(module)),
        operators=operators,
    )


def of_script(
    graph: Any, tensors: Held, operators: Mapping[str, int], about: Sequence[str]
) -> Fingerprint:
    """The graph that TorchScript's executor runs.

    Args:
        graph: as the executor optimised it.
        tensors: what the module holds, constants in its graph included.
        operators: of one run, or of the graph.
        about: as of `choosing_kernels`.
    """
    lines = [_SOURCE.sub("", line) for line in strip_addresses(str(graph)).splitlines()]
    return of_lines(
        "torchscript",
        [*about, *_counted(operators), *number_names(lines)],
        contents(tensors),
        operators=operators,
    )


def of_inductor(
    sources: Iterable[str],
    folder: str,
    tensors: Held,
    operators: Mapping[str, int],
    about: Sequence[str],
    *,
    packed: bool = False,
) -> Fingerprint:
    """The code that inductor generated, and what the C++ compiler made of it.

    The machine code is there since flags of the compiler (fast-math) are seen in no source.

    Args:
        sources: texts of what is executed, in any order.
        folder: where inductor wrote it.
        tensors: weights and frozen constants.
        operators: what the code calls.
        about: as of `choosing_kernels`.
        packed: whether it runs from an archive, so that its libraries are looked for where they were
            made and not among those that are loaded.

    Raises:
        RunnerError: kind `unsupported`, where what was packed can't be found.
    """
    code = elf_code.built(folder) if packed else elf_code.executed(folder)
    if packed and not code:
        raise RunnerError(
            "unsupported", "this version of AOTInductor leaves no library whose code could be read"
        )
    texts: List[List[str]] = []
    for source in sources:
        # Comments tell where frozen constants lie, and messages where a pass's function does.
        text = strip_addresses(strip_paths(source, [folder, os.path.realpath(folder)]))
        kept = (line for line in text.splitlines() if not _COMMENT.match(line))
        texts.append([_SOURCE.sub("", line) for line in kept])
    # Files are called by hashes over what is left out here, so that their order tells nothing.
    lines = [line for text in sorted(texts) for line in text]
    return of_lines(
        "fx",
        [*about, *lines],
        [*code, *contents(tensors)],
        operators=operators,
        code_bytes=sum(map(len, code)) or None,
    )


def contents(tensors: Held) -> List["np.ndarray"]:
    """Values in the order of the tensors' names, each with how it lies in memory."""
    found = []
    for _, tensor in sorted(tensors, key=lambda each: str(each[0])):
        is_packed = bool(getattr(tensor, "is_mkldnn", False))
        plain = (tensor.to_dense() if is_packed else tensor).detach().cpu()
        strides = [] if is_packed else list(plain.stride())
        found.append(np.array([int(is_packed), *strides], np.int64))
        found.append(_values(plain))
    return found


def _values(tensor: Any) -> "np.ndarray":
    """A tensor's bytes; NumPy does not know all of its dtypes."""
    flat = tensor.contiguous().flatten()
    found: "np.ndarray" = flat.view(torch.uint8).numpy()
    return found


def _counted(operators: Mapping[str, int]) -> List[str]:
    return [f"{number} {kind}" for kind, number in sorted(operators.items())]
