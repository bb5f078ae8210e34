"""The backends, by the name that a job gives. A module is imported only when it is asked for."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import Dict, Tuple

from runner import plugins
from runner.backends.base import Backend, BackendProbe, LoadRequest, unsupported
from runner.errors import RunnerError


def names() -> Tuple[str, ...]:
    """All backends there are, whether or not this environment can run them."""
    return tuple(_modules())


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
    # What does not even import can't say its stack; a backend's name begins with one.
    stack = name.partition(".")[0]
    try:
        module = _module(name)
        stack = str(getattr(module, "STACK", ""))
        found: BackendProbe = module.probe()
    except RunnerError as error:
        return BackendProbe(ok=False, stack=stack, detail=error.message)
    except Exception as error:
        return BackendProbe(ok=False, stack=stack, detail=f"{type(error).__name__}: {error}")
    return replace(found, stack=stack)


def _modules() -> Dict[str, plugins.Load]:
    return plugins.find(sys.modules[__name__], plugins.BACKENDS, plugins.backend_name)


def _module(name: str) -> ModuleType:
    modules = _modules()
    if name not in modules:
        raise unsupported("the runner", "backend", name, tuple(modules))
    return modules[name]()
