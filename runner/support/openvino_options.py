"""How OpenVINO's CPU plug-in is told by settings: its properties, and which of them are refused."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional

from runner.backends.base import LoadRequest, unsupported
from runner.errors import RunnerError, classify

PROPERTIES = "properties"
"""A free setting: properties of the plug-in, such as `{"TBB_PARTITIONER": "STATIC"}`."""

_OWNED = {
    "CACHE_DIR": "the harness",
    "CACHE_MODE": "the harness",
    "CPU_DENORMALS_OPTIMIZATION": "denormals_optimization",
    "ENABLE_CPU_PINNING": "cpu_pinning",
    "EXECUTION_MODE_HINT": "execution_mode",
    "INFERENCE_NUM_THREADS": "threads",
    "INFERENCE_PRECISION_HINT": "precision",
    "NUM_STREAMS": "the harness, which sends one request at a time",
    "PERFORMANCE_HINT": "the harness, which sends one request at a time",
    "SNIPPETS_MODE": "snippets",
}
"""Properties that are said in another place."""


def check(settings: Mapping[str, Any]) -> None:
    """Refuse properties that have a place of their own.

    Raises:
        RunnerError: kind `unsupported`.
    """
    for name in settings.get(PROPERTIES) or {}:
        if name in _OWNED:
            why = f"a sweep says it by {_OWNED[name]}"
            raise unsupported("openvino", "property", name, ("all others",), why=why)


def wanted(
    request: LoadRequest, settings: Mapping[str, Any], cache: Optional[str]
) -> Dict[str, Any]:
    """The plug-in's properties for a request; what was not asked for is left to OpenVINO.

    Args:
        request: threads, precision, and which settings were given.
        settings: the effective ones.
        cache: a folder for compiled models; None: none are kept.
    """
    told: Dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": request.threads,
    }
    if request.precision == "f32":
        told["INFERENCE_PRECISION_HINT"] = "f32"
    # OpenVINO may know this machine better than a default of ours.
    if "execution_mode" in request.settings:
        told["EXECUTION_MODE_HINT"] = str(settings["execution_mode"]).upper()
    if "cpu_pinning" in request.settings:
        told["ENABLE_CPU_PINNING"] = settings["cpu_pinning"]
    if not settings["snippets"]:
        told["SNIPPETS_MODE"] = "DISABLE"
    if settings["denormals_optimization"] != "default":
        told["CPU_DENORMALS_OPTIMIZATION"] = settings["denormals_optimization"]
    told.update(settings.get(PROPERTIES) or {})
    if cache is not None:
        told["CACHE_DIR"] = os.path.join(cache, "openvino")
    return told


def unseen(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """What of the settings the graph that runs does not show, though it changes how that runs."""
    told = dict(settings.get(PROPERTIES) or {}, cpu_pinning=settings["cpu_pinning"])
    if settings["denormals_optimization"] != "default":
        told["denormals_optimization"] = settings["denormals_optimization"]
    return told


def refusal(error: Exception) -> RunnerError:
    """Why a model did not compile: the properties asked for, or something else."""
    if isinstance(error, RunnerError):
        return error
    text = " ".join(str(error).split())
    for words in ("Unsupported property", "Option not found", "Wrong value", "wrong value"):
        if words in text:
            found = text[text.index(words) :][:300]
            message = f"openvino: its CPU plug-in refuses what was asked for: {found}"
            return RunnerError("unsupported", message, classify(error).detail)
    return classify(error)
