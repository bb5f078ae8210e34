"""The environment variables of a runner that is a process: of a cell and of a probe alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


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
