"""TVM's target `c`: C source that the compiler of this machine makes a library of."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any, List, Tuple, Union

import tvm

from runner.errors import RunnerError
from runner.support.tvm_targets import ask

_COMPILERS = ("cc", "gcc", "clang")
_COMPILE_LIMIT_S = 1800
"""A cell has a limit of its own; this one is for a compiler that hangs."""


def compiler() -> Tuple[str, str]:
    """The C compiler on the path, and what it calls itself.

    Raises:
        RunnerError: kind `unsupported`, where there is none that makes a library.
    """
    path = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if path is None:
        raise RunnerError(
            "unsupported",
            "tvm: the target c needs a C compiler and none is here (looked for "
            f"{', '.join(_COMPILERS)}); install one (Debian: gcc, libc6-dev), build an image "
            "whose env.toml names it under system_packages, or ask for target llvm",
        )
    said = _run([path, "--version"]).splitlines()
    return path, said[0].strip() if said else path


def compiler_flags(mcpu: str, *, fast_math: bool, code_level: Union[str, int] = "own") -> List[str]:
    """What the C compiler is told; `mcpu` and `code_level` are settings."""
    x86 = os.uname().machine == "x86_64"
    arch = "native" if mcpu == "host" else mcpu
    if mcpu == "generic":
        arch = "x86-64" if x86 else ""
    return [
        "-O3" if code_level == "own" else f"-O{code_level}",
        "-fPIC",
        *([f"-march={arch}"] if arch else []),
        *(["-ffast-math"] if fast_math else []),
    ]


def compile_c(executable: Any, folder: str, path: str, flags: List[str]) -> Any:
    """The module of an executable of target `c`, compiled in `folder` and loaded from there."""

    def build(output: str, files: List[str], options: Any = None, **_: Any) -> None:
        objects = []
        for file in files:
            if file.endswith(".o"):
                objects.append(file)
                continue
            objects.append(file + ".o")
            _run([path, "-c", *flags, *(options or []), file, "-o", objects[-1]])
        # Linked without the flags: -ffast-math would make the library switch denormals off for
        # everything in the process.
        _run([path, "-shared", "-o", output, *objects])

    setattr(build, "object_format", "o")  # noqa: B010 (a function's attribute, for mypy)
    triple = ask("target.llvm_get_system_triple")
    if triple is not None:
        # Weights are packed by LLVM, which needs no compiler for megabytes of numbers.
        setattr(build, "get_target_triple", lambda: str(triple()))  # noqa: B010
    library = os.path.join(folder, "model.so")
    executable.export_library(library, fcompile=build, workspace_dir=folder)
    return tvm.runtime.load_module(library)


def _run(command: List[str]) -> str:
    """Run the compiler; what it prints.

    Raises:
        RunnerError: kind `backend`, with what it said.
    """
    try:
        done = subprocess.run(
            command,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMPILE_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunnerError("backend", f"tvm: {command[0]} did not run: {error}") from error
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise RunnerError(
            "backend",
            f"tvm: {command[0]} ended with {done.returncode}: {' '.join(said.split())[:500]}; a C "
            "compiler with its headers is needed (Debian: gcc, libc6-dev)",
            said,
        )
    return said
