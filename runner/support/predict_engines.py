"""What Keras computes with: TensorFlow, JAX or PyTorch, held to threads, device and precision.

An engine is set up before Keras is imported, which takes it and no other from then on.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Callable, ContextManager, Dict, List, Mapping, Optional, Tuple

from runner.backends.base import LoadRequest, installed_version, unsupported
from runner.errors import RunnerError
from runner.support import (
    ceiling,
    cuda,
    jax_runtime,
    keras_engine,
    native_threads,
    predict_fingerprint,
    tensorflow_operators,
    tensorflow_stack,
    xla_ceiling,
)

_BACKEND = "keras.predict"

Recorder = Callable[[Callable[[], Any]], List[tensorflow_operators.Operator]]


@dataclass(frozen=True)
class Engine:
    """An engine that was started; `place` is the context in which a model is read.

    It says where variables are made, and for nothing else: what feeds `predict` is on the CPU.
    """

    name: str
    versions: Dict[str, str]
    ran: Dict[str, Any]
    proof: Dict[str, Any]
    place: Callable[[], ContextManager[Any]] = contextlib.nullcontext
    records: Optional[Recorder] = None
    """The operators of the functions that a call makes, where the engine tells."""
    watches: Optional[Recorder] = None
    """The operators that a call dispatches one by one, where the engine tells."""
    observes: Optional[Callable[[Callable[[], Any]], Dict[str, int]]] = None
    """The operators of a call, counted, where the engine tells that alone."""
    devices: Callable[[Any], List[str]] = field(default=lambda model: [])  # noqa: ARG005
    """Where each of a model's variables is."""
    compiles: bool = True
    """Whether what it compiles keeps to the ceiling on instruction sets."""
    kept: Callable[[Callable[[], Any], Mapping[str, int]], Dict[str, Any]] = field(
        default=lambda run, operators: {}  # noqa: ARG005
    )
    """For `ran`, what shows that a run and its operators keep to the ceiling."""
    proves: Optional[predict_fingerprint.Prove] = None
    """The fingerprint of what a call executes, where the engine tells."""


def check(asked: Optional[Any]) -> Tuple[str, ...]:
    """The engines to choose from; `asked` is what a job's settings name, if anything.

    Raises:
        RunnerError: kind `unsupported`, where there is none, or the one asked for is not here.
    """
    here = keras_engine.installed()
    keras = installed_version("keras")
    if not keras or not here:
        lacking = "Keras" if not keras else "TensorFlow, JAX or PyTorch for Keras to compute with"
        raise RunnerError("unsupported", f"{_BACKEND}: this environment has no {lacking}")
    if asked is not None and asked not in here:
        why = f"Keras {keras} computes with what is installed beside it"
        raise unsupported(_BACKEND, "engine", asked, here, why=why)
    return here


def start(name: str, request: LoadRequest) -> Engine:
    """Set an engine up for a request.

    Raises:
        RunnerError: kind `unsupported` or `wrong-device`, where it can't be held to it.
    """
    return _STARTS[name](request)


def require_gpu(engine: Engine, model: Any) -> Dict[str, Any]:
    """What `device_proof` says of variables, once every one of a model's is on the GPU.

    Raises:
        RunnerError: kind `unsupported`, naming where the others are.
    """
    devices = engine.devices(model)
    elsewhere = [d for d in devices if "cuda" not in d.lower() and "gpu" not in d.lower()]
    if elsewhere or not devices:
        raise RunnerError(
            "unsupported",
            f"{_BACKEND} was asked for the GPU and {len(elsewhere)} of the model's {len(devices)} "
            f"variables are elsewhere ({', '.join(sorted(set(elsewhere))[:4])}): its times would "
            f"not be the GPU's; install {engine.name} for CUDA, or ask for the device cpu",
        )
    return {"device": devices[0], "variables": len(devices)}


def _tensorflow(request: LoadRequest) -> Engine:
    stack = tensorflow_stack.start(_BACKEND, request, compiles=None)
    package = tensorflow_stack.package()
    return Engine(
        name="tensorflow",
        versions={package: installed_version(package)},
        ran=stack.ran,
        proof=stack.proof,
        place=lambda: stack.tf.device(stack.device),
        records=lambda call: tensorflow_operators.record(call)[1],
        watches=tensorflow_operators.watch,
        devices=lambda model: [str(_value(v).device) for v in model.variables],
        compiles=tensorflow_stack.can_compile(request),
        kept=lambda run, _: ceiling.told(
            _BACKEND, request, run, unproved=tensorflow_stack.untold(request)
        ),
        proves=predict_fingerprint.by_tensorflow(tensorflow_stack.choosing_kernels(stack)),
    )


def _jax(request: LoadRequest) -> Engine:
    proof = cuda.require(_BACKEND, request.precision) if request.device == "cuda" else {}
    told = jax_runtime.prepare(request.device, request.threads, request.instruction_set)
    # Keras says the dtype of everything; its users do not turn JAX's 64 bits on.
    os.environ["JAX_ENABLE_X64"] = "0"
    if request.precision == "f32":
        os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
    jax = import_module("jax")
    before = native_threads.count()
    found = [device.platform for device in jax.devices()]
    started = native_threads.started_since(before)
    wanted = "gpu" if request.device == "cuda" else "cpu"
    if found[:1] != [wanted]:
        why = f"JAX computes on {', '.join(found) or 'nothing'} here"
        raise unsupported(_BACKEND, "device", request.device, ("cpu",), why=why)
    if wanted == "cpu":
        told["pool_threads"] = jax_runtime.proven_threads(request.threads, started)
    return Engine(
        name="jax",
        versions={name: installed_version(name) for name in ("jax", "jaxlib")},
        ran=dict(told, platform=wanted),
        proof=proof,
        devices=lambda model: [str(d) for v in model.variables for d in _value(v).devices()],
        kept=lambda run, _: ceiling.told(
            _BACKEND, request, run, unproved=xla_ceiling.shown(str(told["xla_flags"]))
        ),
    )


def _torch(request: LoadRequest) -> Engine:
    os.environ["KERAS_TORCH_DEVICE"] = request.device
    setup = import_module("runner.support.torch_setup")
    # Keras has no setting for oneDNN: what this build has is taken.
    proof = setup.set_up(_BACKEND, request, {})
    ran = dict(setup.as_set_up(request))
    version = str(ran.pop("version"))

    def observed(call: Callable[[], Any]) -> Dict[str, int]:
        return dict(import_module("runner.support.torch_operators").observed(call))

    return Engine(
        name="torch",
        versions={"torch": version},
        ran=ran,
        proof=proof,
        observes=observed,
        devices=lambda model: [str(_value(v).device) for v in model.variables],
        kept=lambda run, operators: dict(
            import_module("runner.support.torch_ceiling").told(
                _BACKEND, request, run, operators, {}
            )
        ),
        proves=predict_fingerprint.by_torch(observed),
    )


def _value(variable: Any) -> Any:
    """A variable's tensor: Keras 3 wraps the engine's own, Keras 2 does not."""
    value = getattr(variable, "value", variable)
    return variable if callable(value) else value


_STARTS: Mapping[str, Callable[[LoadRequest], Engine]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
