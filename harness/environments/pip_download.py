"""Fetches the wheels of a lock with pip, for a Python and machine that need not be this one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.environments.environment import FromFolder
from harness.environments.pip_config import read_pip_config
from harness.environments.uv import UvError, UvFailure, redact
from harness.errors import EnvironmentSpecError
from harness.progress import Task

# The first of these found in pip's complaint names its kind.
_KINDS: dict[str, tuple[str, ...]] = {
    "storage": (
        r"No space left on device|Read-only file system|Permission denied|Disk quota exceeded",
    ),
    "hash": (r"DO NOT MATCH THE HASHES|Hashes are required",),
    "network": (
        r"Failed to establish a new connection|Temporary failure in name resolution",
        r"CERTIFICATE_VERIFY_FAILED|SSLError|ReadTimeout|ConnectTimeout|ConnectionResetError",
        r"Connection (?:refused|reset|aborted)|Cannot connect to proxy|ProxyError|Max retries",
    ),
    "no-wheel": (r"No matching distribution found|Could not find a version that satisfies",),
}


@dataclass(frozen=True)
class Secrets:
    """What is needed to fetch packages and may not stay in an image."""

    ca_bundle: Path | None = None
    """Certificates to trust, for a proxy that opens connections."""
    pip_conf: Path | None = None
    """A configuration of pip that names indexes, perhaps with passwords."""


def download_wheels(
    source: FromFolder,
    python: str,
    platforms: Sequence[str],
    folder: Path,
    task: Task,
    secrets: Secrets,
) -> None:
    """Let pip fetch what the configured indexes offer; where they lack something, the folder's too.

    Args:
        source: the lock, and the indexes that its folder names.
        python: X.Y that the wheels are for.
        platforms: names of the platforms that fit, the most wanted first.
        folder: where the wheels go; what is there already is not fetched again.
        task: shows the steps.
        secrets: certificates and configuration that were named for this.

    Raises:
        UvError: a package cannot be fetched, in pip's words.
        EnvironmentSpecError: a named file does not exist.
    """
    # What a release says of Pythons was weighed when the lock was made; uv reads an upper bound
    # otherwise than pip, and the hashes leave no choice anyway.
    arguments = [
        sys.executable, "-m", "pip", "download", "--dest", str(folder), "--require-hashes",
        "--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-input", "--progress-bar", "off",
        "--retries", "2", "--disable-pip-version-check", "--no-color",
        "--implementation", "cp", "--python-version", python,
        "--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none",
        *(word for name in platforms for word in ("--platform", name)),
        "--requirement", str(source.lock_path),
    ]  # fmt: skip
    environment = pip_environment(os.environ, secrets)
    file = source.folder.file
    upstream = [
        *(word for url in file.extra_index for word in ("--extra-index-url", url)),
        *(word for url in file.find_links for word in ("--find-links", url)),
    ]
    try:
        _run_pip(arguments, environment, source.folder.name, task)
    except UvError as first:
        offline = read_pip_config(environment).no_index
        if first.failure.kind not in {"no-wheel", "other"} or not upstream or offline:
            raise
        try:
            _run_pip([*arguments, *upstream], environment, source.folder.name, task)
        except UvError as second:
            raise second if second.failure.kind == "network" else first from second


def pip_environment(given: Mapping[str, str], secrets: Secrets) -> dict[str, str]:
    """The variables to start pip with: the person's, and what was named for this build.

    Raises:
        EnvironmentSpecError: a named file does not exist.
    """
    environment = {
        name: value
        for name, value in given.items()
        if name not in {"PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_USER"}
    }
    for option, path in (("--ca-bundle", secrets.ca_bundle), ("--pip-conf", secrets.pip_conf)):
        if path is not None and not path.is_file():
            raise EnvironmentSpecError(
                f"{path}, named by {option}, is not a file.", f"Correct {option}."
            )
    if secrets.ca_bundle is not None:
        environment["PIP_CERT"] = str(secrets.ca_bundle.resolve())
    if secrets.pip_conf is not None:
        environment["PIP_CONFIG_FILE"] = str(secrets.pip_conf.resolve())
    return environment


def _run_pip(
    command: Sequence[str], environment: Mapping[str, str], label: str, task: Task
) -> None:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=dict(environment),
        )
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for above
            for line in process.stdout:
                if (words := line.strip()).startswith(("Collecting", "Downloading")):
                    task.describe(f"{label}: {redact(words)}")
            status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if status != 0:
            log.seek(0)
            raise UvError(explain_pip(log.read(), status))


def explain_pip(stderr: str, status: int = 1) -> UvFailure:
    """Find the kind and the telling words in what pip wrote on standard error."""
    text = redact(stderr)
    kind = next(
        (
            kind
            for kind, patterns in _KINDS.items()
            if any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)
        ),
        "other",
    )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if kind == "network":
        warned = [line.removeprefix("WARNING: ") for line in lines if "WARNING: Retrying" in line]
        chosen = (warned or errors or lines)[-1:]
    elif kind == "hash":
        mismatch = [line for line in lines if re.match(r"\S+==\S+ from |Expected|Got", line)]
        chosen = ["Hash mismatch", *mismatch[:1]]
    elif kind == "storage":
        # pip may end in a traceback, whose last line says it.
        pattern = "|".join(_KINDS["storage"])
        chosen = [line for line in lines if re.search(pattern, line, re.IGNORECASE)][-1:]
    elif kind == "no-wheel":
        chosen = [line for line in errors if "that satisfies" in line][:1] or errors[:1]
    else:
        chosen = (errors or lines)[:1]
    reason = " ".join(": ".join(chosen or [f"exit status {status}"]).split()).rstrip(". ")
    reason = re.sub(r"\(from versions: [^)]{120,}\)", "(from many other versions)", reason)
    return UvFailure(kind=kind, reason=reason if len(reason) <= 400 else f"{reason[:397]}...")
