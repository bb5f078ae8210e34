"""Runs a reproducer where nothing but its own folder counts: in environments made for it alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.environments.folders import EnvironmentFolder
from harness.environments.locking import run_with_upstream
from harness.environments.uv import UvError, as_harness_error, run_uv
from harness.progress import Progress
from harness.studies.failing import is_said, signal_in
from harness.studies.reproducer import SCRIPT, ReproducedSide, file_names

Document = dict[str, Any]

LIMIT_S = 1800
_TOLD = re.compile(r"differ by (\S+) of the largest number")
_KEPT = frozenset({"PATH", "LANG", "LC_ALL", "TZ"})
"""What of this process's environment the script sees: a compiler is found by PATH."""


def reproduce(
    folder: Path,
    sides: tuple[ReproducedSide, ReproducedSide],
    progress: Progress,
    *,
    failure: str | None = None,
    message: str = "",
    limit_s: float = LIMIT_S,
) -> Document:
    """Make the environments from the reproducer's own files and run its script in them.

    Nothing that is installed here is used, and the folder is copied first, so that it is tested as
    somebody else gets it.

    Args:
        folder: the reproducer.
        sides: as it was written.
        progress: where long steps are told.
        failure: how B ends, where it is a failure that is reproduced.
        message: of that failure.
        limit_s: for one side.

    Returns:
        `verified` (True, False, or None where a side cannot be made anew, or where B failed but not
        so that it can be told for the same failure), `reason`, `difference`, `runs` (each `side`,
        `status`, `late`: whether it was ended for taking too long, `seconds`, `said`).

    Raises:
        ProvisionError: an environment cannot be installed.
    """
    for name, side in zip("ab", sides, strict=True):
        if side.environment is None or side.requirements is None:
            reason = f"side {name} runs in an environment that no lock describes"
            return {"verified": None, "reason": reason, "difference": None, "runs": []}
    with tempfile.TemporaryDirectory(prefix="harness-reproducer-") as place:
        copy, home = Path(place) / "reproducer", Path(place) / "home"
        shutil.copytree(folder, copy)
        home.mkdir()
        for stale in copy.glob("output-*.npy"):
            stale.unlink()
        pythons = _environments(Path(place), copy, sides, progress)
        runs = []
        for name, python in zip("ab", pythons, strict=True):
            with progress.task(f"Running the reproducer's side {name}"):
                runs.append(_run(name, python, copy, home, limit_s))
    return {**_judged(runs, failure, message), "runs": runs}


def _judged(runs: Sequence[Document], failure: str | None, message: str = "") -> Document:
    """Whether the script showed it; pure."""
    a, b = runs
    if failure is not None:
        verified = _same_end(b, failure, message) if a["status"] == 0 else False
        reason = "" if verified else f"a ended with {a['status']} and b with {b['status']}"
        if verified is None:
            lines = b["said"].strip().splitlines() or ["it said nothing"]
            reason += f", which is not shown to be the same failure: {lines[-1][:300]}"
        return {"verified": verified, "reason": reason, "difference": None}
    told = _TOLD.search(b["said"])
    if a["status"] != 0 or told is None:
        worst = a if a["status"] != 0 else b
        lines = worst["said"].strip().splitlines() or ["it said nothing"]
        reason = f"side {worst['side']} ended with {worst['status']}: {lines[-1][:300]}"
        return {"verified": False, "reason": reason, "difference": None}
    shown = b["status"] == 0
    return {
        "verified": shown,
        "reason": "" if shown else "the difference is smaller than it was",
        "difference": told[1],
    }


def _same_end(run: Document, failure: str, message: str) -> bool | None:
    """Whether a run ended by a failure; None where it failed, and nothing says that it is this one."""
    status = run["status"]
    if status == 0:
        return False
    if run["late"]:
        return True if failure == "timeout" else None
    if failure == "signal" and status < 0:
        return True if signal_in(message) in {None, -status} else None
    return True if is_said(message, run["said"]) else None


def _environments(
    place: Path,
    copy: Path,
    sides: tuple[ReproducedSide, ReproducedSide],
    progress: Progress,
) -> list[Path]:
    """The Python of each side, in an environment of its own."""
    made: dict[str, Path] = {}
    pythons = []
    for name, file, side in zip("ab", file_names(sides), sides, strict=True):
        if file not in made:
            made[file] = place / f"venv-{name}"
            _install(made[file], copy / file, side, progress)
        pythons.append(made[file] / "bin" / "python")
    return pythons


def _install(venv: Path, requirements: Path, side: ReproducedSide, progress: Progress) -> None:
    env = side.environment
    assert env is not None  # noqa: S101 - looked at by the caller
    folder: EnvironmentFolder | None = env.folder
    install = [
        "pip", "install", "--python", str(venv / "bin" / "python"), "--require-hashes", "--no-deps",
        "--only-binary", ":all:", "--requirement", str(requirements),
    ]  # fmt: skip
    with progress.task(f"Installing {env.name} anew") as task:
        try:
            run_uv(["venv", str(venv), "--no-project", "--python", str(env.interpreter)], task=task)
            run_with_upstream(
                install,
                folder.file.extra_index if folder else (),
                folder.file.find_links if folder else (),
                task=task,
                label=env.name,
            )
        except UvError as error:
            raise as_harness_error(
                error.failure, f"The reproducer's {requirements.name} cannot be installed"
            ) from error


def _run(name: str, python: Path, folder: Path, home: Path, limit_s: float) -> Document:
    started, late = time.monotonic(), False
    try:
        done = subprocess.run(
            [str(python), SCRIPT, name],
            cwd=folder,
            env=_variables(os.environ, home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=limit_s,
        )
        status, said = done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        status, said, late = -9, f"it was ended after {limit_s:g} s", True
    seconds = round(time.monotonic() - started, 1)
    said = said[-2000:]
    return {"side": name, "status": status, "late": late, "seconds": seconds, "said": said}


def _variables(given: Mapping[str, str], home: Path) -> dict[str, str]:
    kept = {name: value for name, value in given.items() if name in _KEPT}
    return {
        **kept,
        "HOME": str(home),
        "CUDA_VISIBLE_DEVICES": given.get("CUDA_VISIBLE_DEVICES", ""),
    }
