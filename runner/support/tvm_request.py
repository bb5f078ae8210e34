"""What the backend `tvm` can be asked for, and which of its settings contradict each other."""

from __future__ import annotations

from typing import Any, Dict

from runner.backends.base import LoadRequest, Offer, unsupported
from runner.instruction_sets import HONOURED, OWN
from runner.support import tvm_build, tvm_passes, tvm_targets, tvm_tuning

OFFER = Offer(
    backend="tvm",
    formats=("onnx", "tflite", "relax"),
    devices=("cpu", "cuda"),
    settings={
        "target": ("auto", *tvm_targets.CPU_TARGETS, *tvm_targets.GPU_TARGETS),
        "mcpu": tvm_targets.PROCESSORS,
        "pipeline": tvm_build.PIPELINES,
        "fast_math": (False, True),
        "code_level": tvm_targets.CODE_LEVELS,
        "tuner": tvm_tuning.TUNERS,
    },
    names={"passes": tvm_passes.all_optional(), "disabled_passes": tvm_passes.of_pipeline()},
    free={"trials": "integer"},
    instruction_sets=HONOURED["tvm"],
)

_TARGETS = {"cpu": tvm_targets.CPU_TARGETS, "cuda": tvm_targets.GPU_TARGETS}
_ON_GPU = ("target", "mcpu")


def accept(request: LoadRequest) -> Dict[str, Any]:
    """The effective settings: `target` is never `auto`, and those of the other device are refused.

    Raises:
        RunnerError: kind `unsupported`.
    """
    settings = OFFER.accept(request)
    if request.instruction_set != OWN and settings["mcpu"] != "host":
        why = "both choose the processor; leave the setting away"
        asked = request.instruction_set
        raise unsupported("tvm", "instruction set with mcpu", asked, (OWN,), why=why)
    targets = _TARGETS[request.device]
    if settings["target"] == "auto":
        settings["target"] = targets[0]
    if settings["target"] not in targets:
        why = f"this cell runs on the device {request.device}, and that target is for another"
        raise unsupported("tvm", "target", settings["target"], targets, why=why)
    if request.device == "cpu":
        return _tuned(settings)
    others = [name for name in request.settings if name not in _ON_GPU]
    if others:
        why = "the others are about code for the CPU"
        raise unsupported("tvm", "setting on a GPU", others[0], _ON_GPU, why=why)
    return {name: settings[name] for name in _ON_GPU}


def _tuned(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Settings with the tuner's budget, where there is a tuner."""
    trials = settings.get("trials")
    if settings["tuner"] == "none":
        if trials is not None:
            why = "nothing is tuned without tuner=metaschedule"
            raise unsupported("tvm", "number of trials", trials, ("none",), why=why)
        return settings
    if settings["target"] != "llvm":
        why = "what the tuner measures is LLVM's code"
        raise unsupported("tvm", "target with a tuner", settings["target"], ("llvm",), why=why)
    if settings["pipeline"] != "default":
        why = "it tunes the kernels of the other pipeline"
        raise unsupported(
            "tvm", "pipeline with a tuner", settings["pipeline"], ("default",), why=why
        )
    if trials is not None and trials < 1:
        raise unsupported("tvm", "number of trials", trials, ("1 and more",))
    return dict(settings, trials=tvm_tuning.TRIALS if trials is None else trials)
