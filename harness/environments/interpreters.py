"""Python interpreters: the running one, others on this machine, and those uv can bring."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.environments.uv import UvError, run_uv
from harness.errors import EnvironmentSpecError, ProvisionError
from harness.progress import Progress

_ASK = "import platform; print(platform.python_implementation(), platform.python_version())"
_ANSWER_SECONDS = 30


@dataclass(frozen=True)
class Interpreter:
    """A Python that environments can be made from."""

    path: Path
    version: str
    """X.Y.Z"""

    @property
    def minor(self) -> str:
        """X.Y: what locks are named by."""
        return ".".join(self.version.split(".")[:2])


def running() -> Interpreter:
    """The Python that runs the harness (its base, where it runs from a virtual environment)."""
    path = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter(path=Path(path), version=platform.python_version())


@cache
def inspect_interpreter(path: Path) -> Interpreter | None:
    """What the interpreter at `path` says it is; None where that is no working CPython."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    if done.returncode != 0 or len(words) != 2 or words[0] != "CPython":
        return None
    return Interpreter(path=path, version=words[1])


@cache
def find_installed(python: str) -> Interpreter | None:
    """An interpreter `X.Y` already on this machine, without any download."""
    if running().minor == python:
        return running()
    try:
        found = run_uv(["python", "find", "--no-python-downloads", "--system", python]).strip()
    except UvError:
        found = ""
    candidates = [Path(found)] if found else []
    # Where pyenv has not activated a version, its shim on PATH fails and uv gives up there.
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates += sorted(versions.glob(f"{python}.*/bin/python{python}"), reverse=True)
    for candidate in candidates:
        interpreter = inspect_interpreter(candidate)
        if interpreter is not None and interpreter.minor == python:
            return interpreter
    return None


def choose(
    name: str,
    pythons: Sequence[str],
    wanted: str | Path | None = None,
    *,
    progress: Progress | None = None,
    download: bool = True,
) -> Interpreter:
    """The interpreter for an environment that supports `pythons` (`X.Y`, the preferred first).

    The running one where it is supported, else one found on this machine, else (with `download`)
    one that uv brings. `wanted` (an `X.Y` or the path of an interpreter) leaves no choice.

    Raises:
        EnvironmentSpecError: `wanted` is not supported by the environment, or is no Python.
        ProvisionError: no supported Python is here and none could be brought.
    """
    if wanted is not None:
        return _wanted(name, pythons, wanted)
    if running().minor in pythons:
        return running()
    for python in pythons:
        if found := find_installed(python):
            return found
    reason = ""
    if download and pythons:
        for python in pythons:
            try:
                return bring(python, progress)
            except UvError as error:
                reason = f" ({error.failure.reason})"
    raise ProvisionError(
        f"Environment {name} needs Python {either(pythons)}; this is {running().minor}, no other "
        f"was found, and uv could not bring one{reason}.",
        f"Install Python {pythons[0] if pythons else ''} (on PATH), or start the harness from it.",
    )


def bring(python: str, progress: Progress | None = None) -> Interpreter:
    """Let uv download Python `X.Y` and give it.

    Raises:
        UvError: it could not be downloaded.
        ProvisionError: what was downloaded does not run.
    """
    arguments = ["python", "install", python]
    if progress is None:
        run_uv(arguments)
    else:
        with progress.task(f"Downloading Python {python}") as task:
            run_uv(arguments, task=task, label=f"Python {python}")
    find_installed.cache_clear()
    found = find_installed(python)
    if found is None:
        raise ProvisionError(f"Python {python} was installed by uv but does not start.")
    return found


def _wanted(name: str, pythons: Sequence[str], wanted: str | Path) -> Interpreter:
    interpreter = named(wanted)
    if interpreter.minor not in pythons:
        raise EnvironmentSpecError(
            f"Environment {name} has no lock for Python {interpreter.minor}; it supports "
            f"{either(pythons)}.",
            "Choose one of these.",
        )
    return interpreter


def named(wanted: str | Path) -> Interpreter:
    """The interpreter somebody named: a version `X.Y` or a path.

    Raises:
        EnvironmentSpecError: there is none.
    """
    text = str(wanted)
    if os.sep in text:
        found = inspect_interpreter(Path(text).expanduser().absolute())
    else:
        found = find_installed(".".join(text.split(".")[:2]))
    if found is None:
        raise EnvironmentSpecError(
            f"No Python interpreter is found for {text!r}.",
            "Name a version that is installed (3.12) or the path of an interpreter.",
        )
    return found


def either(words: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} or {words[-1]}"
