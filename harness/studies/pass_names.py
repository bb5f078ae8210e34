"""Which passes there are: what a backend, or a tool that rewrites model files, knows by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.errors import UsageError
from harness.studies.passes import of_backend
from harness.studies.rewriting import passes_of
from harness.studies.trials import Trials

_FEW = 8
"""Images that are read to ask for names: what is offered does not depend on them."""


def known_passes(trials: Trials, tool: str | None = None) -> list[str]:
    """Every pass by name: of the backend, or of a tool that rewrites ONNX files.

    Raises:
        UsageError: it has none that can be named.
    """
    trials = trials.over(_FEW)
    if tool is not None:
        return list(passes_of(trials, tool).known)
    return list(of_backend(backend_names(trials), backend=trials.cell().backend).known)


def backend_names(trials: Trials) -> Mapping[str, Sequence[str]]:
    """The backend's passes, by the setting that names them.

    Raises:
        UsageError: it has none, and another backend of its environment has.
    """
    names: Mapping[str, Sequence[str]] = trials.offer().get("names") or {}
    others = {} if any(names.values()) else trials.named_passes()
    if others:
        told = ", ".join(f"{name} has {count}" for name, count in others.items())
        raise UsageError(
            f"{trials.cell().backend} offers no passes by name, so there is nothing to switch off.",
            f"In the same environment {told}: --backend {next(iter(others))}.",
        )
    return names
