"""A ceiling on the instruction sets of the processor, so that one machine can stand for several.

Libraries read theirs from the environment when they load, the C library even before Python begins. So
a job with a ceiling starts the interpreter once more, as the same process, with all of it set. Which
backends keep to which ceilings is written here, and in `env.toml` of the environments; what shows
that they do is gathered in `runner.support.ceiling`. Imports nothing but the standard library.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import Callable, Dict, List, Mapping, MutableMapping, Sequence, Tuple

from runner.errors import RunnerError
from runner.system import cpu

OWN = "own"
"""No ceiling."""

LADDER = ("sse4.1", "avx", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx")
"""From the lowest; each holds those before it."""

_AVX512 = LADDER.index("avx512")

# The kernel's names of what a processor must have for a step, beside those of the steps below it:
# with AVX2 came fused multiplication, and "AVX-512" is what the first servers with it have.
_FLAGS: Dict[str, Tuple[str, ...]] = {
    "sse4.1": ("ssse3", "sse4_1"),
    "avx": ("avx",),
    "avx2": ("avx2", "fma", "f16c", "bmi1", "bmi2"),
    "avx512": ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"),
    "avx512_vnni": ("avx512_vnni",),
    "avx512_bf16": ("avx512_bf16",),
    "amx": ("amx_tile", "amx_int8", "amx_bf16"),
}

# What each library calls the steps. MKL keeps to AVX2 and above by the variable for it, on Intel's
# processors; what lies below is had everywhere by its mode for reproducible results, and is SSE2.
_ONEDNN = {
    "sse4.1": "SSE41",
    "avx": "AVX",
    "avx2": "AVX2",
    "avx512": "AVX512_CORE",
    "avx512_vnni": "AVX512_CORE_VNNI",
    "avx512_bf16": "AVX512_CORE_BF16",
    "amx": "AVX512_CORE_AMX",
}
_ATEN = {"sse4.1": "default", "avx": "default", "avx2": "avx2"}
_MKL = {
    "avx2": "AVX2",
    "avx512": "AVX512",
    "avx512_vnni": "AVX512_E1",
    "avx512_bf16": "AVX512_E1",
    "amx": "AVX512_E4",
}
_FBGEMM = {"sse4.1": "AVX2", "avx": "AVX2", "avx2": "AVX2", "avx512": "AVX512"}
XLA = {
    "avx": "AVX",
    "avx2": "AVX2",
    "avx512": "AVX512",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx": "AMX",
}
"""What XLA's option `xla_cpu_max_isa` calls them; its lowest, SSE4.2, lies above SSE4.1."""

LLVM: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "sse4.1": ("x86-64", ("+sse3", "+ssse3", "+sse4.1")),
    "avx": ("x86-64-v2", ("+avx",)),
    "avx2": ("x86-64-v3", ()),
    "avx512": ("x86-64-v4", ()),
    "avx512_vnni": ("x86-64-v4", ("+avx512vnni",)),
    "avx512_bf16": ("x86-64-v4", ("+avx512vnni", "+avx512bf16")),
    "amx": (
        "x86-64-v4",
        ("+avx512vnni", "+avx512bf16", "+amx-tile", "+amx-int8", "+amx-bf16"),
    ),
}
"""LLVM's processor and features: the levels of the System V ABI, tuned for no maker's."""

GCC = {
    "sse4.1": "core2",
    "avx": "sandybridge",
    "avx2": "haswell",
    "avx512": "skylake-avx512",
    "avx512_vnni": "cascadelake",
    "avx512_bf16": "cooperlake",
    "amx": "sapphirerapids",
}
"""For a C compiler's `-march=`, which takes one word; it has no processor that ends with SSE4.1."""

# The C library's functions are chosen by these, of which libm's give other bits with FMA.
_GLIBC: Dict[str, Tuple[str, ...]] = {
    "avx": ("AVX", "AVX_Fast_Unaligned_Load"),
    "avx2": ("AVX2", "FMA", "FMA4", "BMI1", "BMI2", "LZCNT", "MOVBE"),
    "avx512": ("AVX512F", "AVX512CD", "AVX512BW", "AVX512DQ", "AVX512VL"),
}
# NumPy only prepares inputs; it must not use what is then looked for in the model's own code.
_NUMPY = (
    *("AVX512F", "AVX512CD", "AVX512_SKX", "AVX512_CLX", "AVX512_CNL", "AVX512_ICL", "AVX512_SPR"),
    "X86_V4",
)
_NUMPY_WARNS = "ignore:During parsing environment variable:ImportWarning"
"""Of those of the names above that a version of NumPy does not have; the last filter holds."""

_TORCH = LADDER
# Inductor takes the widest that its own search finds where PyTorch may use AVX-512, VNNI included.
_INDUCTOR = tuple(one for one in LADDER if one != "avx512")
# Their own code is compiled for AVX.
_FROM_AVX = LADDER[1:]

HONOURED: Mapping[str, Tuple[str, ...]] = {
    "torch.eager": _TORCH,
    "torch.jit": _TORCH,
    "torch.compile": _INDUCTOR,
    "torch.export": _INDUCTOR,
    "tensorflow.eager": _FROM_AVX,
    "tensorflow.graph": _FROM_AVX,
    "tensorflow.xla": _FROM_AVX,
    "keras.predict": _FROM_AVX,
    "jax": _FROM_AVX,
    "openvino": LADDER,
    "tvm": LADDER,
    "iree": LADDER,
}
"""The ceilings that each backend keeps to, as far as its library can be told."""

NO_CEILING: Mapping[str, str] = {
    "onnxruntime": "its library MLAS takes what the processor has, and has no switch",
    "tflite": "XNNPACK takes what the processor has, and has no switch",
    "ncnn": "it takes what the processor has, and has no switch",
    "tensorrt": "it runs on GPUs",
    "null": "it has no code that could be chosen",
}
"""Why a backend keeps to none."""


def is_above(one: str, other: str) -> bool:
    """Whether one step of the ladder lies above another."""
    return LADDER.index(one) > LADDER.index(other)


def lacking(ceiling: str, flags: Sequence[str]) -> Tuple[str, ...]:
    """What a processor with these flags (the kernel's names) lacks to reach a ceiling."""
    needed = (name for step in LADDER[: LADDER.index(ceiling) + 1] for name in _FLAGS[step])
    return tuple(name for name in needed if name not in flags)


def variables(ceiling: str) -> Dict[str, str]:
    """What libraries read from the environment, for a ceiling."""
    place = LADDER.index(ceiling)
    found = {
        "ONEDNN_MAX_CPU_ISA": _ONEDNN[ceiling],
        "OV_CPU_MAX_ISA": _ONEDNN[ceiling],
        "ATEN_CPU_CAPABILITY": _ATEN.get(ceiling, "avx512"),
        "FBGEMM_ENABLE_INSTRUCTIONS": _FBGEMM.get(ceiling, "AVX512_E1"),
        # Older PyTorch does not know it, which is found where its code is compiled.
        "TORCHINDUCTOR_CPP_MARCH": GCC[ceiling],
    }
    if ceiling in _MKL:
        found["MKL_ENABLE_INSTRUCTIONS"] = _MKL[ceiling]
    else:
        found["MKL_CBWR"] = "COMPATIBLE"
    masked = [name for step in LADDER[place + 1 :] for name in _GLIBC.get(step, ())]
    if masked:
        found["GLIBC_TUNABLES"] = "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in masked)
    if place < _AVX512:
        found["NPY_DISABLE_CPU_FEATURES"] = ",".join(_NUMPY)
    return found


def enter(
    ceiling: str,
    arguments: Sequence[str],
    hand_over: Callable[[], None],
    environ: MutableMapping[str, str] = os.environ,
) -> None:
    """Start this process's interpreter again under a ceiling, unless it was already.

    Args:
        ceiling: what the job asks for; nothing happens for `own`.
        arguments: the runner's.
        hand_over: called at last, to leave things as they were found.
        environ: the environment's variables.

    Raises:
        RunnerError: kind `unsupported`, where this processor does not reach the ceiling.
    """
    if ceiling == OWN:
        return
    if platform.machine() not in ("x86_64", "AMD64"):
        raise RunnerError(
            "unsupported",
            f"the instruction set {ceiling} is one of x86 processors, and this one is "
            f"{platform.machine()}: ask for {OWN}",
        )
    missing = lacking(ceiling, cpu()["flags"])
    if missing:
        raise RunnerError(
            "unsupported",
            f"this processor does not reach the instruction set {ceiling}: it lacks "
            f"{', '.join(missing)}; ask for a lower one, or {OWN}",
        )
    wanted = variables(ceiling)
    if all(environ.get(name) == value for name, value in wanted.items()):
        return
    environ.update(wanted)
    if environ.get("PYTHONWARNINGS"):
        environ["PYTHONWARNINGS"] += f",{_NUMPY_WARNS}"
    hand_over()
    os.execv(sys.executable, _command(arguments))  # noqa: S606


def _command(arguments: Sequence[str]) -> List[str]:
    """This interpreter's command line; before Python 3.10 it keeps none of its own options."""
    given: List[str] = getattr(sys, "orig_argv", [])
    if given:
        return [sys.executable, *given[1:]]
    return [sys.executable, "-m", "runner", *arguments]
