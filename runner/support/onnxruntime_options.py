"""What ONNX Runtime is told: the settings, and how they become options and providers of a session."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from typing import Any, Dict, List, Mapping, Tuple

from runner import placement
from runner.backends.base import LoadRequest, Offer, unsupported
from runner.errors import RunnerError
from runner.support import onnxruntime_passes as passes

CPU = placement.CPU
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
_PROVIDERS = {"cpu": (CPU,), "cuda": (CUDA, CPU), "tensorrt": (TENSORRT, CUDA, CPU)}
_DEVICES = {"cpu": "cpu", "cuda": "cuda", "tensorrt": "cuda"}

OFFER = Offer(
    backend="onnxruntime",
    formats=("onnx",),
    devices=("cpu", "cuda"),
    settings={
        "graph_optimization_level": tuple(_LEVELS),
        "provider": ("auto", *_PROVIDERS),
        "execution_mode": ("sequential", "parallel"),
        "allow_spinning": (True, False),
        "arena": (True, False),
        "mem_pattern": (True, False),
    },
    names=dict.fromkeys(passes.SETTINGS, ()),
)
"""Without the names of optimizers, which differ between versions: `offer` has them."""

EXECUTION = ("provider", "execution_mode", "allow_spinning", "arena", "mem_pattern")
"""Settings that change how a graph is run, and not the graph."""

_TF32_SINCE = (1, 18)
"""Older ones do not know the option; NVIDIA's own switch works with all."""

_ABSENT = {
    CUDA: "this onnxruntime is built for the CPU; install onnxruntime-gpu in its place",
    TENSORRT: "this onnxruntime is built without it; onnxruntime-gpu has it",
}


def offer(ort: Any) -> Offer:
    """What the installed version can be asked for."""
    there = passes.of_this_build(ort)
    return replace(OFFER, names=dict.fromkeys(passes.SETTINGS, there))


def accept(ort: Any, request: LoadRequest) -> Dict[str, Any]:
    """The effective settings: `provider` is never `auto`, and what excludes each other is refused.

    Raises:
        RunnerError: kind `unsupported`.
    """
    named = any(request.settings.get(name) is not None for name in passes.SETTINGS)
    settings = (offer(ort) if named else OFFER).accept(request)
    if settings["provider"] == "auto":
        settings["provider"] = request.device
    device = _DEVICES[settings["provider"]]
    if device != request.device:
        raise unsupported(
            "onnxruntime",
            "provider",
            settings["provider"],
            tuple(name for name, where in _DEVICES.items() if where == request.device),
            why=f"this cell runs on the device {request.device}, and that provider on {device}",
        )
    if settings["execution_mode"] == "parallel":
        if request.device == "cuda":
            raise unsupported(
                "onnxruntime",
                "value of execution_mode",
                "parallel",
                ("sequential",),
                why="ONNX Runtime runs the nodes of a GPU one after the other",
            )
        if request.settings.get("mem_pattern") is True:
            raise unsupported(
                "onnxruntime",
                "setting",
                "mem_pattern: true",
                ("mem_pattern: false",),
                why="ONNX Runtime plans no memory where nodes run in parallel",
            )
        settings["mem_pattern"] = False
    return settings


def providers(ort: Any, request: LoadRequest, settings: Mapping[str, Any]) -> List[Any]:
    """The providers for a session, each with its options.

    Raises:
        RunnerError: kind `unsupported`, if this build is without one.
    """
    names = _PROVIDERS[settings["provider"]]
    there = ort.get_available_providers()
    for name in names:
        if name not in there:
            what = "device" if name == CUDA else "provider"
            asked = request.device if name == CUDA else settings["provider"]
            built = tuple(short for short, long in _PROVIDERS.items() if long[0] in there)
            raise unsupported("onnxruntime", what, asked, built, why=_ABSENT.get(name, ""))
    listed: List[Any] = []
    for name in names:
        chosen = {} if name == CPU else {"device_id": "0"}
        if name == CUDA and request.precision == "f32" and version(ort) >= _TF32_SINCE:
            chosen["use_tf32"] = "0"
        listed.append((name, chosen) if chosen else name)
    return listed


def options(ort: Any, settings: Mapping[str, Any], threads: int) -> Tuple[Any, Dict[str, Any]]:
    """The session's options, and what `ran` says of its pools.

    Where nodes run side by side, the threads are between them; else inside each.
    """
    chosen = ort.SessionOptions()
    parallel = settings["execution_mode"] == "parallel"
    intra, inter = (1, threads) if parallel else (threads, 1)
    chosen.graph_optimization_level = getattr(
        ort.GraphOptimizationLevel, _LEVELS[settings["graph_optimization_level"]]
    )
    chosen.execution_mode = (
        ort.ExecutionMode.ORT_PARALLEL if parallel else ort.ExecutionMode.ORT_SEQUENTIAL
    )
    chosen.intra_op_num_threads, chosen.inter_op_num_threads = intra, inter
    chosen.enable_cpu_mem_arena = settings["arena"]
    chosen.enable_mem_pattern = settings["mem_pattern"]
    spinning = "1" if settings["allow_spinning"] else "0"
    for pool in ("intra_op", "inter_op"):
        chosen.add_session_config_entry(f"session.{pool}.allow_spinning", spinning)
    return chosen, {"intra_op_threads": intra, "inter_op_threads": inter}


def disabled(ort: Any, settings: Mapping[str, Any]) -> Tuple[str, ...]:
    """The optimizers that a session is to turn off; raises as `onnxruntime_passes.turned_off`."""
    return passes.turned_off(ort, settings, _LEVELS[settings["graph_optimization_level"]])


def version(ort: Any) -> Tuple[int, ...]:
    """The first two numbers of its version."""
    return tuple(int(part) for part in re.findall(r"\d+", ort.__version__)[:2])


def check_taken(ort: Any, asked: List[Any], taken: List[str], gpu: str) -> None:
    """Refuse a session that dropped a provider.

    Raises:
        RunnerError: kind `unsupported`, or `backend` where the CPU was asked for.
    """
    names = [one if isinstance(one, str) else one[0] for one in asked]
    if taken == names:
        return
    if names == [CPU]:
        raise RunnerError("backend", f"asked for {CPU} and ONNX Runtime took {', '.join(taken)}")
    lacking = next((name for name in names if name not in taken), names[0])
    needs = "CUDA or cuDNN" if lacking == CUDA else "TensorRT"
    raise RunnerError(
        "unsupported",
        f"onnxruntime {ort.__version__} could not start {lacking} on {gpu} and took "
        f"{', '.join(taken)}: the log names the library of {needs} that does not load or does not "
        "fit the driver",
    )


def preload(ort: Any) -> None:
    """Load the libraries of CUDA and cuDNN that lie in wheels, where this version can."""
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()


def build(ort: Any) -> Dict[str, str]:
    """The commit and kind of the build, and the CUDA and cuDNN that it was made for."""
    found = {}
    said = ort.get_build_info() if hasattr(ort, "get_build_info") else ""
    for name, key in (("git", "git-commit-id"), ("type", "build type")):
        value = re.search(re.escape(key) + r"=([^,]+)", said)
        if value:
            found[name] = value.group(1).strip()
    try:
        info = import_module("onnxruntime.capi.build_and_package_info")
    except ImportError:
        return found
    for name in ("cuda_version", "cudnn_version"):
        value = getattr(info, name, None)
        if value:
            found[name] = str(value)
    return found
