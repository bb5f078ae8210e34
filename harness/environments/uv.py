"""Runs uv with pip's configuration, and turns what it says into one clear reason."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from harness.environments.pip_config import read_pip_config
from harness.errors import HarnessError, ProvisionError, StoreError
from harness.progress import Task

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"'`]+@")
# These would change what is resolved or installed behind the lock's back.
_LEFT_OUT = frozenset(
    {
        "PYTHONHOME",
        "PYTHONPATH",
        "UV_BUILD_CONSTRAINT",
        "UV_CONSTRAINT",
        "UV_OVERRIDE",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "VIRTUAL_ENV",
    }
)
# The first of these found in uv's complaint names its kind.
_KINDS: dict[str, tuple[str, ...]] = {
    "storage": (
        r"No space left on device|Read-only file system|Permission denied|Not a directory",
        r"os error (?:13|20|28|30|122)\b",
    ),
    "network": (
        r"dns error|error sending request|Failed to fetch|tcp connect error|timed out",
        r"Network connectivity is disabled|Could not connect",
        r"connection (?:refused|reset|closed)",
    ),
    "hash": (r"Hash mismatch",),
    "no-wheel": (
        r"no wheels? with a matching|has no usable wheels|no matching wheel",
        r"does not satisfy Python",
    ),
    "version": (r"there (?:is|are) no versions? of", r"only .{1,200} (?:is|are) available"),
    "package": (
        r"was not found in the (?:package registry|provided package locations|cache)",
        r"not found in the package registry",
    ),
}


@dataclass(frozen=True)
class UvFailure:
    """Why uv failed, without credentials."""

    kind: str
    """storage, network, hash, no-wheel, version, package or other."""
    reason: str
    """uv's own words, shortened to the telling ones; one line."""


class UvError(Exception):
    """uv ended with an error; callers turn it into the error of what they were doing."""

    def __init__(self, failure: UvFailure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def redact(text: str) -> str:
    """The text without users, passwords and tokens in its URLs."""
    return _CREDENTIALS.sub("****@", text)


def uv_environment(
    given: Mapping[str, str],
    extra_index: Sequence[str] = (),
    find_links: Sequence[str] = (),
) -> dict[str, str]:
    """The environment variables to start uv with: the person's, pip's, and the folder's indexes."""
    environment = {name: value for name, value in given.items() if name not in _LEFT_OUT}
    config = read_pip_config(given)
    environment.update(config.as_uv_environment(given))
    if extra_index and not config.no_index:
        before = environment.get("UV_INDEX", "").split()
        environment["UV_INDEX"] = " ".join([*before, *extra_index])
        environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if find_links and not config.no_index:
        before = [part for part in environment.get("UV_FIND_LINKS", "").split(",") if part]
        environment["UV_FIND_LINKS"] = ",".join([*before, *find_links])
    environment["UV_NO_PROGRESS"] = "1"
    environment["NO_COLOR"] = "1"
    return environment


def run_uv(
    arguments: Sequence[str],
    *,
    task: Task | None = None,
    label: str = "",
    extra_index: Sequence[str] = (),
    find_links: Sequence[str] = (),
) -> str:
    """Run uv and give its standard output; its steps are shown on `task` after `label`.

    uv runs from the root folder, so that no `pyproject.toml` of the place where the harness was
    started has a say.

    Raises:
        UvError: uv ended with an error.
        ProvisionError: uv itself cannot be started.
    """
    environment = uv_environment(os.environ, extra_index, find_links)
    options = ["--no-index"] if arguments[0] == "pip" and read_pip_config().no_index else []
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        try:
            process = subprocess.Popen(
                [uv.find_uv_bin(), *arguments, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=environment,
                cwd=Path.cwd().anchor,
            )
        except OSError as error:
            raise ProvisionError(
                f"uv, which installs environments, cannot be started: {error}.",
                "Install it again: `python -m pip install --force-reinstall uv`.",
            ) from error
        said: list[str] = []
        try:
            assert process.stderr is not None  # noqa: S101 - a pipe was asked for above
            for line in process.stderr:
                said.append(line.rstrip("\n"))
                if task is not None and line.strip():
                    task.describe(f"{label}: {redact(line.strip())}" if label else redact(line))
            status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stderr is not None:
                process.stderr.close()
        if status != 0:
            raise UvError(explain("\n".join(said), status))
        output.seek(0)
        return output.read()


def explain(stderr: str, status: int = 1) -> UvFailure:
    """Find the kind and the telling words in what uv wrote on standard error."""
    lines = _without_warnings(redact(stderr).splitlines())
    text = "\n".join(lines)
    kind = next((kind for kind, patterns in _KINDS.items() if _any_found(patterns, text)), "other")
    causes = [m[1] for line in lines if (m := re.match(r"\s*(?:cause|Caused by):\s*(.+)", line))]
    errors = [m[1] for line in lines if (m := re.match(r"\s*error:\s*(.+)", line))]
    if kind == "storage":
        chosen = [_storage_reason(text)]
    elif kind in {"version", "no-wheel", "package", "other"}:
        chosen = causes[-1:] or errors[-1:]
    else:
        # The outermost line says what was being done, the innermost what went wrong.
        chosen = [*errors[-1:], *causes[:1], *causes[-1:]]
    if not chosen:
        chosen = [line.strip() for line in lines if line.strip()][-1:] or [f"exit status {status}"]
    reason = _shorten(": ".join(dict.fromkeys(chosen)))
    if kind == "no-wheel" and (tags := re.findall(r"`cp3(\d+)`", stderr.partition("hint:")[2])):
        # The first tag of uv's hint is the Python asked for, the others have wheels.
        reason += f"; there are wheels for Python {', '.join(f'3.{tag}' for tag in tags[1:])}"
    return UvFailure(kind=kind, reason=reason)


def _storage_reason(text: str) -> str:
    what = re.search("|".join(_KINDS["storage"]), text, re.IGNORECASE)
    places = re.findall(r"`(/[^`]+)`", text)
    where = f" at {places[-1]}" if places else ""
    return f"{what[0] if what else 'the disk cannot be written'}{where}"


def _any_found(patterns: Sequence[str], text: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def _without_warnings(lines: Sequence[str]) -> list[str]:
    kept: list[str] = []
    inside = False
    for line in lines:
        if re.match(r"(?:warning|hint):", line):
            inside = True
        elif re.match(r"\S", line):
            inside = False
        if not inside:
            kept.append(line)
    return kept


def _shorten(reason: str) -> str:
    reason = " ".join(reason.split())
    reason = re.sub(r"\s*and you require .*?, we can conclude that .*$", "", reason)
    reason = re.sub(
        r", we can conclude that (?:your|the) requirements are unsatisfiable\.?$", "", reason
    )
    reason = re.sub(r"^Because ", "", reason)
    reason = reason.rstrip(". ")
    return reason if len(reason) <= 400 else f"{reason[:397]}..."


def as_harness_error(failure: UvFailure, doing: str) -> HarnessError:
    """The error to show for a failure that has nothing to do with the version asked for."""
    message = f"{doing}: {failure.reason}."
    if failure.kind == "storage":
        return StoreError(
            message,
            "Free some space or choose a folder that you may write: HARNESS_CACHE for "
            "environments, UV_CACHE_DIR for downloaded packages.",
        )
    if failure.kind == "network":
        return ProvisionError(
            message,
            "The package index cannot be reached. Check the connection, or name a reachable "
            "index as for pip: PIP_INDEX_URL, PIP_FIND_LINKS or pip.conf.",
        )
    if failure.kind == "hash":
        return ProvisionError(
            message,
            "The index offers other bytes than the lock was made from. Use the index that the "
            "lock was made with, or write the lock again with `harness env lock FOLDER`.",
        )
    if failure.kind == "no-wheel":
        return ProvisionError(
            message, "Only wheels are installed: choose a version with wheels for this machine."
        )
    return ProvisionError(
        message, "Check that the configured package index (pip.conf, PIP_* or UV_*) offers it."
    )
