"""TVM's targets: which processor code is made for, and what this build of TVM can do."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple, Union

import tvm

from runner.errors import RunnerError

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
CODE_LEVELS = ("own", 0, 1, 2, 3)
"""How hard a kernel's code is optimised, by LLVM or the C compiler; `own` leaves it to TVM."""


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


def cpu_target(
    kind: str,
    mcpu: str,
    *,
    fast_math: bool = False,
    features: Sequence[str] = (),
    code_level: Union[str, int] = "own",
    cores: Optional[int] = None,
) -> Any:
    """The target for the CPU; `c` leaves all to the compiler.

    Args:
        kind: one of `CPU_TARGETS`.
        mcpu: LLVM's name of the processor.
        fast_math: whether LLVM may change numbers.
        features: of the processor, by LLVM's names, with a sign.
        code_level: one of `CODE_LEVELS`.
        cores: how many a tuner may divide a kernel among; it wants to know, nobody else does.
    """
    if kind == "c":
        return tvm.target.Target({"kind": "c"})
    more: Dict[str, Any] = {}
    if features:
        more["mattr"] = list(features)
    if fast_math:
        more["fast-math"] = True
    if code_level != "own":
        more["opt-level"] = code_level
    if cores is not None:
        more["num-cores"] = cores
    return _llvm(mcpu, more)


def gpu_target(kind: str, device: Any, mcpu: str) -> Any:
    """The target for the GPU that `device` is, its host code by LLVM for the processor `mcpu`."""
    detect = getattr(tvm.target.Target, "from_device", None)
    found = detect(device) if detect is not None else tvm.target.Target(kind)
    return tvm.target.Target(found, host=_llvm(mcpu, {}))


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
