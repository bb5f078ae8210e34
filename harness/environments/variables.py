"""The environment variables of a runner that is a process: of a cell and of a probe alike."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ExecutionError

VARIABLES = "variables"
"""The setting of every backend that holds variables of its own process."""

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_OURS = frozenset({"PATH", "HOME", "TMPDIR", "CUDA_VISIBLE_DEVICES"})
_OUR_BEGINNINGS = ("LD_", "PYTHON")


def fault_of_variables(value: object) -> str | None:
    """Why a value of the setting `variables` cannot be used; None: it can."""
    if not isinstance(value, Mapping):
        return f"{VARIABLES} is a mapping of NAME to text, not {value!r}"
    for name, text in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return f"{name!r} is no name of a variable: capital letters, digits and underscores"
        if name in _OURS or name.startswith(_OUR_BEGINNINGS):
            return f"the variable {name} says where a worker finds its parts and cannot be set"
        if not isinstance(text, str) or "\0" in text:
            return f"the variable {name} must be a text (write numbers in quotes), not {text!r}"
    return None


def given_variables(job: Mapping[str, Any]) -> dict[str, str]:
    """The variables that a job's settings ask for.

    Raises:
        ExecutionError: kind `unsupported`: they cannot be set.
    """
    value = (job.get("settings") or {}).get(VARIABLES)
    if value is None:
        return {}
    if fault := fault_of_variables(value):
        raise ExecutionError("unsupported", f"{fault[0].upper()}{fault[1:]}.")
    return dict(value)


def runner_variables(
    work: Path, runner: Path, given: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What a runner needs, and nothing of the caller's that could change an answer.

    Args:
        work: the runner's own folder, which gets `home` and `tmp`.
        runner: the folder that holds the package `runner`.
        given: the caller's variables, of which PATH is kept.
    """
    for name in ("home", "tmp"):
        (work / name).mkdir(parents=True, exist_ok=True)
    return {
        "PATH": given.get("PATH", os.defpath),
        "HOME": str(work / "home"),
        "LANG": "C.UTF-8",
        "TMPDIR": str(work / "tmp"),
        "PYTHONPATH": str(runner),
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        # ONNX Runtime from 1.29 on starts a thread for telemetry where it is imported.
        "ORT_DISABLE_TELEMETRY": "1",
    }


def probe_variables(
    work: Path, runner: Path, given: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables of a probe: those of a cell, and the GPUs that the caller may use.

    A cell sees one GPU or none; a probe says which devices start, and so sees what the caller
    sees. No identity depends on it.
    """
    variables = runner_variables(work, runner, given)
    if (gpus := given.get("CUDA_VISIBLE_DEVICES")) is not None:
        variables["CUDA_VISIBLE_DEVICES"] = gpus
    return variables
