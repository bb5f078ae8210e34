"""Which passes there are: what a backend, or a tool that rewrites model files, knows by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.errors import UsageError
from harness.models.inspect import inspect_model
from harness.studies.passes import of_backend
from harness.studies.rewriting import passes_of
from harness.studies.trials import Trials

_FEW = 8
"""Images that are read to ask for names: what is offered does not depend on them."""

_ANY = 224
"""For a dimension that a model leaves open."""


def stand_in(model: Path, architecture: str | None, folder: Path) -> Path | None:
    """An array that a model file takes, for asking what there is by name: nothing is run on it.

    Args:
        model: a file.
        architecture: as for `inspect_model`.
        folder: where the array is written.

    Returns:
        The `.npy` of zeros, [1, …]; None where the file does not say what it takes.

    Raises:
        ModelError: as `inspect_model`.
    """
    inputs = inspect_model(model, architecture).inputs
    if len(inputs) != 1 or inputs[0].shape is None:
        return None
    shape = (1, *(_ANY if size is None else size for size in inputs[0].shape[1:]))
    array = folder / "any.npy"
    np.save(array, np.zeros(shape, dtype=inputs[0].dtype))
    return array


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
