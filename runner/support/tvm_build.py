"""Compiling a Relax module with TVM: targets, pipelines, kernels, and C source by a compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Dict, List, Optional, Sequence, Tuple

import tvm

from runner.errors import RunnerError
from runner.support.tally import tally
from runner.support.tvm_model import ENTRY

CPU_TARGETS = ("llvm", "c")
GPU_TARGETS = ("cuda", "opencl", "vulkan")

# What a processor must have for code of these levels (System V ABI supplement for x86-64).
_LEVELS: Dict[str, Tuple[str, ...]] = {
    "x86-64-v2": ("cx16", "sahf", "popcnt", "sse4.1", "sse4.2", "ssse3"),
    "x86-64-v3": ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
# LLVM names a hundred features, most of which change no number.
_VECTORS = ("amx", "avx", "f16c", "fma", "neon", "sse", "sve")
_ARITHMETIC = (*_VECTORS, "bf16", "dotprod", "fullfp16", "i8mm")
PROCESSORS = ("host", "generic", *_LEVELS)
PIPELINES = ("default", "default_build")

_COMPILERS = ("cc", "gcc", "clang")
_COMPILE_LIMIT_S = 1800
"""A cell has a limit of its own; this one is for a compiler that hangs."""


@dataclass(frozen=True)
class Lowered:
    """A module after TVM's passes: what the virtual machine will call, and how often."""

    module: Any
    calls: Dict[str, int]
    kernels: int
    parallel_kernels: int
    dtypes: Tuple[str, ...]
    """Those of what the kernels give, the most frequent first."""


def ask(name: str) -> Optional[Any]:
    """A function of TVM's registry, or None where this build is without it."""
    return tvm.get_global_func(name, allow_missing=True)


def processor(mcpu: str) -> str:
    """LLVM's name of the processor that code is made for.

    Raises:
        RunnerError: kind `unsupported`, if this processor could not run such code.
    """
    host = str(_needed("target.llvm_get_system_cpu")())
    if mcpu == "host":
        return host
    has = _needed("target.llvm_cpu_has_feature")
    if mcpu in _LEVELS:
        here = _llvm(host, {})
        names = list(_LEVELS)
        levels = names[: names.index(mcpu) + 1]
        lacking = [one for level in levels for one in _LEVELS[level] if not has(one, here)]
        if lacking:
            raise RunnerError(
                "unsupported",
                f"tvm: this processor ({host}) can't run code for mcpu {mcpu}: it lacks "
                f"{', '.join(lacking)}; ask for host or generic",
            )
    return mcpu


def cpu_target(kind: str, mcpu: str, *, fast_math: bool, features: Sequence[str] = ()) -> Any:
    """The target for the CPU; `mcpu` and features are LLVM's, and `c` leaves all to the compiler."""
    if kind == "c":
        return tvm.target.Target({"kind": "c"})
    more: Dict[str, Any] = {"mattr": list(features)} if features else {}
    return _llvm(mcpu, dict(more, **({"fast-math": True} if fast_math else {})))


def gpu_target(kind: str, device: Any) -> Any:
    """The target for the GPU that `device` is, its host code by LLVM for this processor."""
    host = _llvm(str(_needed("target.llvm_get_system_cpu")()), {})
    detect = getattr(tvm.target.Target, "from_device", None)
    found = detect(device) if detect is not None else tvm.target.Target(kind)
    return tvm.target.Target(found, host=host)


def features() -> Tuple[str, ...]:
    """The features for arithmetic that code for `host` may use, by LLVM's names."""
    listed = ask("target.llvm_get_cpu_features")
    cpu = ask("target.llvm_get_system_cpu")
    if listed is None or cpu is None:
        return ()
    names = [str(name) for name in dict(listed(_llvm(str(cpu()), {})))]
    return tuple(sorted(name for name in names if name.startswith(_ARITHMETIC)))


def no_runtime(kind: str) -> str:
    """Why there is no runtime for a kind of device, by TVM's account of its build."""
    built = dict(tvm.support.libinfo()).get(f"USE_{kind.upper()}", "OFF")
    if str(built).upper() in ("OFF", "FALSE", "0", "NOT-FOUND"):
        return f"this TVM is built without its runtime (USE_{kind.upper()} is {built})"
    return f"TVM's runtime for {kind} does not load: a library of it or of the driver is missing"


def llvm_version() -> str:
    """The major version of the LLVM inside TVM; an empty string without one."""
    major = ask("target.llvm_version_major")
    return "" if major is None else str(major())


def lower(module: Any, target: Any, pipeline: str) -> Lowered:
    """Run the Relax passes of a pipeline.

    `default` is TVM's pipeline for the target, which fuses operators; `default_build` is what
    `tvm.compile` takes when it is given none: every operator a kernel of its own. (TVM's `zero`
    makes the kernels of `default`, on the CPU.)
    """
    with target:
        lowered = _passes(target, pipeline)(module)
    calls: Dict[str, int] = {}
    relax = import_module("tvm.relax")

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call):
            callee = node.op
            if isinstance(callee, tvm.ir.GlobalVar):
                name = kernel_kind(str(callee.name_hint))
                calls[name] = calls.get(name, 0) + 1

    relax.analysis.post_order_visit(lowered[ENTRY], visit)
    kernels = [
        function
        for _, function in lowered.functions.items()
        if not isinstance(function, relax.Function)
    ]
    loops = ["T.parallel(" in kernel.script() for kernel in kernels]
    dtypes = tally(dtype for dtype in map(_given, kernels) if dtype)
    return Lowered(lowered, calls, len(loops), sum(loops), tuple(dtypes))


def compile_lowered(lowered: Lowered, target: Any) -> Any:
    """The executable of a lowered module."""
    return tvm.compile(lowered.module, target, relax_pipeline=None)


def kernel_kind(name: str) -> str:
    """What kernels have in common that TVM numbers: `fused_conv2d13_add8` is `fused_conv2d_add`."""
    return re.sub(r"(?<=[A-Za-z])\d+(?=_|$)", "", name)


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


def compiler_flags(mcpu: str, *, fast_math: bool) -> List[str]:
    """What the C compiler is told; `mcpu` is the setting."""
    x86 = os.uname().machine == "x86_64"
    arch = "native" if mcpu == "host" else mcpu
    if mcpu == "generic":
        arch = "x86-64" if x86 else ""
    return [
        "-O3",
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


def _given(kernel: Any) -> str:
    """The dtype of the buffer that a kernel writes to, its last one; empty where it has none."""
    # Parameters are buffers, or in older versions pointers that a map turns into buffers.
    buffers = getattr(kernel, "buffer_map", {})
    taken = [buffers.get(one, one) for one in getattr(kernel, "params", ())]
    dtypes = [str(getattr(one, "dtype", "handle")) for one in taken]
    return next((dtype for dtype in reversed(dtypes) if dtype != "handle"), "")


def _passes(target: Any, pipeline: str) -> Any:
    relax = import_module("tvm.relax")
    if pipeline == "default_build":
        return relax.get_pipeline("default_build")
    if target.kind.name == "c":
        # TVM has none for C source; its loops are the CPU's.
        return import_module("tvm.relax.backend.cpu_generic").get_default_pipeline(target)
    return relax.get_default_pipeline(target)


def _llvm(cpu: str, more: Dict[str, Any]) -> Any:
    triple = str(_needed("target.llvm_get_system_triple")())
    return tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu, **more})


def _needed(name: str) -> Any:
    found = ask(name)
    if found is None:
        raise RunnerError(
            "unsupported", f"tvm {tvm.__version__} is built without LLVM: it has no {name}"
        )
    return found


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
