"""Asks an environment what it holds, by a probe job of the runner: a process or a container."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.canonical import storage_errors
from harness.containers.engine import Engine
from harness.containers.rules import WORK, ContainerSpec, Mount
from harness.containers.running import Finished, run_to_end
from harness.containers.strays import owner_labels
from harness.environments.environment import NOTHING, Preparing
from harness.environments.uv import redact
from harness.environments.variables import probe_variables
from harness.errors import ProvisionError
from harness.paths import runner_tree
from harness.trees import temporary_folder

RUNNER_INSIDE = "/opt/harness"
"""Where a container finds the folder that holds `runner/`."""
_PROBE_SECONDS = 300
_TAIL_LINES = 8
_ERROR_BYTES = 1 << 20


def probe(
    name: str,
    python: str | Path,
    backends: Sequence[str] | None,
    preparing: Preparing = NOTHING,
) -> dict[str, Any]:
    """Run a probe job with `python`, under the variables of a cell, and give its event.

    Args:
        name: of the environment, for messages.
        python: the interpreter.
        backends: those that must work; None: say of all that the runner knows whether they do.
        preparing: what must work besides; all that the runner knows is said in any case.

    Raises:
        ProvisionError: the runner failed or did not answer, or something declared does not work.
    """
    parent, _ = runner_tree()
    with (
        storage_errors(Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(prefix="harness-probe-") as folder,
    ):
        job = _write_job(Path(folder), folder, backends)
        # The open pipe on its standard input tells the runner that somebody still waits.
        try:
            process = subprocess.Popen(
                [str(python), "-m", "runner", str(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                cwd=folder,
                env=probe_variables(Path(folder), parent),
            )
        except OSError as error:
            raise ProvisionError(
                f"The Python of environment {name} does not start: {error.strerror}.",
                f"Remove it with `harness env remove {name}` and try again.",
            ) from error
        try:
            output, log = _collect(process)
        except subprocess.TimeoutExpired as error:
            raise ProvisionError(
                f"Environment {name} did not answer a probe within {_PROBE_SECONDS} s.",
                f"Remove it with `harness env remove {name}` and try again.",
            ) from error
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        failure = _failure(Path(folder) / "error.json")
    if process.returncode != 0:
        if failure:
            raise ProvisionError(f"Environment {name} does not answer a probe: {failure}")
        reason = _tail(log) or f"exit status {process.returncode}"
        raise ProvisionError(f"Environment {name} was installed but does not start: {reason}")
    return check_probe(name, parse_events(output), backends, preparing)


def probe_image(
    engine: Engine,
    name: str,
    image: str,
    python: str,
    backends: Sequence[str] | None,
    gpu: str | None = None,
    preparing: Preparing = NOTHING,
) -> dict[str, Any]:
    """Run a probe job in a container of `image`, under the container rules, and give its event.

    Args:
        engine: the container engine.
        name: of the environment, for messages.
        image: the image's id.
        python: the interpreter inside it.
        backends: those that must work; None: say of all that the runner knows whether they do.
        gpu: UUID or index of a GPU that it is to see.
        preparing: what must work besides; all that the runner knows is said in any case.

    Raises:
        ProvisionError: the runner failed or did not answer, or something declared does not work.
        EngineError: the engine went away or refuses the container.
    """
    with (
        storage_errors(Path(tempfile.gettempdir())),
        temporary_folder("harness-probe-") as folder,
    ):
        _write_job(folder, WORK, backends)
        command = (python, "-m", "runner", f"{WORK}/job.json")
        finished = run_inside(engine, name, image, command, output=folder, gpu=gpu)
        failure = _failure(folder / "error.json")
    if finished.status != 0 or finished.timed_out:
        said = failure or _tail(finished.log)
        raise ProvisionError(
            f"Environment {name} does not answer a probe in its image: {_ending(finished, said)}."
        )
    output = finished.stdout.decode("utf-8", errors="replace")
    return check_probe(name, parse_events(output), backends, preparing)


def run_inside(
    engine: Engine,
    name: str,
    image: str,
    command: Sequence[str],
    output: Path | None = None,
    gpu: str | None = None,
) -> Finished:
    """Run a short command in a container of `image` with the runner mounted, as a cell would be.

    Raises:
        EngineError: the engine went away or refuses the container.
    """
    parent, _ = runner_tree()
    spec = ContainerSpec(
        image=image,
        command=tuple(command),
        name=name,
        mounts=(Mount(str(parent), RUNNER_INSIDE),),
        output=output,
        env={"PYTHONPATH": RUNNER_INSIDE},
        labels=owner_labels(),
        gpu=gpu,
        stdin=True,
    )
    return run_to_end(engine, spec, _PROBE_SECONDS)


def parse_events(output: str) -> list[dict[str, Any]]:
    """The runner's events: the lines of its standard output that are JSON objects."""
    events = []
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def check_probe(
    name: str,
    events: Sequence[dict[str, Any]],
    backends: Sequence[str] | None,
    preparing: Preparing = NOTHING,
) -> dict[str, Any]:
    """The probe event, once all that the environment declares is found to work.

    Raises:
        ProvisionError: there is no probe event, or what is declared is missing or broken.
    """
    event = next((item for item in events if item.get("event") == "probe"), None)
    if event is None:
        raise ProvisionError(f"Environment {name} gave no answer to a probe.")
    for what, kind, declared in (
        ("backend", "backends", backends or ()),
        ("preprocessor", "preprocessors", preparing.preprocessors),
        ("library for corruptions", "corruptions", preparing.corruptions),
    ):
        answers = event.get(kind, {})
        for one in declared:
            answer = answers.get(one, {})
            if not answer.get("ok"):
                detail = answer.get("detail") or "the runner does not know it"
                raise ProvisionError(
                    f"Environment {name} was installed, but its {what} {one} does not work: "
                    f"{redact(str(detail))}",
                    "Check that its locked packages support this machine.",
                )
    return event


def _write_job(folder: Path, work: str, backends: Sequence[str] | None) -> Path:
    """Write the probe's job document; `work` is the folder as the runner sees it."""
    path = folder / "job.json"
    document = {
        "schema_version": 1,
        "kind": "probe",
        "work": work,
        "backends": None if backends is None else list(backends),
        "preprocessors": None,
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    # A container's user is another than the caller's, whose umask may hide files from it.
    path.chmod(0o644)
    return path


def _ending(finished: Finished, said: str) -> str:
    """How a container's probe ended badly, in words."""
    if finished.timed_out:
        return f"it did not end within {_PROBE_SECONDS} s, and was killed"
    if finished.oom_killed:
        return "it ran out of memory"
    if said:
        return said.rstrip(".")
    if finished.status > 128:
        return f"it was ended by signal {finished.status - 128}"
    return f"exit status {finished.status}"


def _collect(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Both outputs of a process whose standard input stays open until it ends.

    `communicate` would close the input at once, which the runner takes for a dead parent.
    """
    held = process.stdin
    process.stdin = None
    try:
        return process.communicate(timeout=_PROBE_SECONDS)
    finally:
        if held is not None:
            held.close()


def _failure(path: Path) -> str:
    """What `error.json` says; a container wrote it, so it may be anything."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            document = json.loads(file.read(_ERROR_BYTES))
        return redact(str(document["message"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _tail(log: str) -> str:
    return redact("\n".join(log.strip().splitlines()[-_TAIL_LINES:]))
