"""The backends, by the name that a job gives. A module is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from runner.backends.base import Backend, BackendProbe, LoadRequest, unsupported
from runner.errors import RunnerError

MODULES = {
    "onnxruntime": "runner.backends.onnxruntime",
    "openvino": "runner.backends.openvino",
    "tflite": "runner.backends.tflite",
    "torch.eager": "runner.backends.torch_eager",
    "null": "runner.backends.null",
}


def create(name: str, request: LoadRequest) -> Backend:
    """The backend `name`, not loaded yet.

    Raises:
        RunnerError: kind `unsupported` for an unknown name, a package that this environment does
            not have, or a request that the backend can't fulfil.
    """
    try:
        backend: Backend = _module(name).create(request)
    except ImportError as error:
        raise RunnerError(
            "unsupported", f"the backend {name} does not import in this environment: {error}"
        ) from error
    return backend


def probe(name: str) -> BackendProbe:
    """Whether the backend `name` works in this environment; never raises."""
    try:
        found: BackendProbe = _module(name).probe()
    except RunnerError as error:
        return BackendProbe(ok=False, detail=error.message)
    except Exception as error:
        return BackendProbe(ok=False, detail=f"{type(error).__name__}: {error}")
    return found


def _module(name: str) -> ModuleType:
    if name not in MODULES:
        raise unsupported("the runner", "backend", name, tuple(MODULES))
    return import_module(MODULES[name])
