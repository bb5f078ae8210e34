"""Images that somebody else made: found or pulled, pinned, and asked what they hold."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import docker.errors
import requests

from harness.canonical import write_json
from harness.containers.engine import Engine, engine_errors
from harness.environments.adopted_python import QUESTION, Answer, best, read_answers
from harness.environments.probe import probe_image, run_inside
from harness.environments.pulling import pull
from harness.errors import EngineError, EnvironmentSpecError, ProvisionError
from harness.paths import cache_dir, runner_tree
from harness.progress import Progress

CANDIDATES = (
    "python",
    "python3",
    "/opt/env/bin/python",
    "/opt/conda/bin/python",
    "/opt/venv/bin/python",
    "/venv/bin/python",
    "/usr/local/bin/python3",
    "/usr/bin/python3",
)
"""Where a Python is looked for inside an image; names without a path on its PATH."""

_BRING = (
    "Pull it where a registry can be reached and bring it here (`docker save`, `docker load`), or "
    "correct the reference; a private registry needs `docker login` first."
)
_LOOK = (
    'for name in "$@"; do found=$(command -v "$name" 2>/dev/null) && '
    '"$found" -c "$0" "$found" 2>/dev/null; done; exit 0'
)
_ID = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*(@sha256:[0-9a-f]{64})?")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l"}


@dataclass(frozen=True)
class Image:
    """An image that is here.

    Attributes:
        id: `sha256:…`, what cells run.
        digest: `REPO/NAME@sha256:…` under which a registry knows it; None for one made here.
        size_bytes: as the engine says.
        variables: what it sets in the environment of what runs in it, but where programs are found.
    """

    id: str
    digest: str | None
    size_bytes: int
    variables: tuple[str, ...] = ()


def check_reference(text: str) -> str:
    """An image's reference without `image:`, if it can be one.

    Raises:
        EnvironmentSpecError: it cannot.
    """
    if not (_ID.fullmatch(text) or _REFERENCE.fullmatch(text)):
        raise EnvironmentSpecError(
            f"image:{text} is no image reference.",
            "Write image:REPO/NAME@sha256:DIGEST, image:REPO/NAME:TAG, or image:sha256:ID with all "
            "64 digits (`docker images --no-trunc`).",
        )
    return text


def is_pinned(text: str) -> bool:
    """Whether a reference can only ever mean one image."""
    return _ID.search(text) is not None


def find_image(engine: Engine, text: str, progress: Progress) -> Image:
    """The image of a reference: one that is here, else pulled.

    Raises:
        ProvisionError: it is not here and cannot be pulled, or is made for another machine.
        EngineError: the engine went away.
    """
    found = _here(engine, text)
    if found is None:
        if _ID.fullmatch(text):
            raise ProvisionError(
                f"The image {text[:19]}… is not on this machine, and an image id cannot be pulled.",
                "Load it (`docker load`), or name it as REPO/NAME@sha256:DIGEST.",
            )
        with progress.task(f"Pulling {text}") as task:
            pull(engine, text, task, _BRING)
        found = _here(engine, text)
    if found is None:
        raise ProvisionError(f"The image {text} was pulled and is not there.", "Try again.")
    attributes = found.attrs
    system, machine = attributes.get("Os", "linux"), attributes.get("Architecture", "")
    here = engine.info.architecture
    if system != "linux" or (here and machine and _MACHINES.get(machine, machine) != here):
        raise ProvisionError(
            f"The image {text} is made for {system}/{machine}, and this machine is linux/{here}.",
            "Name an image for this machine.",
        )
    digests = [str(one) for one in attributes.get("RepoDigests") or ()]
    named = next((one for one in digests if one == text), digests[0] if digests else None)
    set_inside = (attributes.get("Config") or {}).get("Env") or ()
    return Image(
        id=str(found.id),
        digest=named,
        size_bytes=int(attributes.get("Size") or 0),
        variables=tuple(sorted(one for one in set_inside if not one.startswith("PATH="))),
    )


def probe_found(
    engine: Engine, name: str, image: Image, progress: Progress
) -> tuple[str, dict[str, Any]]:
    """The interpreter inside an image, and its probe of everything that the runner knows.

    Kept by the image's id and the runner: neither can change what is in the other.

    Raises:
        ProvisionError: no usable Python is in it, or the probe fails.
        EngineError: the engine went away, or refuses the container.
    """
    runner = runner_tree()[1]
    name_kept = f"{image.id.removeprefix('sha256:')[:24]}-{runner[:16]}.json"
    path = cache_dir() / "adopted" / name_kept
    kept = _read(path)
    if kept.get("image") == image.id and kept.get("runner_sha256") == runner:
        return str(kept["python"]), kept["probe"]
    with progress.task(f"Probing {name}"):
        answer = best(name, _ask_inside(engine, name, image.id))
        event = probe_image(engine, name, image.id, answer.path, None)
    document = {
        "schema_version": 1,
        "image": image.id,
        "runner_sha256": runner,
        "python": answer.path,
        "probe": event,
    }
    write_json(path, document)
    return answer.path, event


def _ask_inside(engine: Engine, name: str, image: str) -> list[Answer]:
    """What every Python that is found inside says, each path once."""
    command = ("/bin/sh", "-c", _LOOK, QUESTION, *CANDIDATES)
    failure: EngineError | None = None
    output = ""
    try:
        output = run_inside(engine, name, image, command).stdout.decode("utf-8", "replace")
    except EngineError as error:
        failure = error
    answers = read_answers(output)
    if not answers:
        # An image without a shell: each place is tried by itself.
        for candidate in CANDIDATES:
            try:
                done = run_inside(engine, name, image, (candidate, "-c", QUESTION, candidate))
            except EngineError as error:
                failure = error
                continue
            answers += read_answers(done.stdout.decode("utf-8", "replace"))
        if not answers and failure is not None:
            _check_alive(engine, failure)
    return list({answer.path: answer for answer in answers}.values())


def _check_alive(engine: Engine, failure: EngineError) -> None:
    """Tell an image without a Python from an engine that starts nothing."""
    try:
        engine.client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        raise failure from None


def _here(engine: Engine, text: str) -> Any:
    with engine_errors(f"Looking for the image {text}"):
        try:
            return engine.client.images.get(text)
        except docker.errors.ImageNotFound:
            return None


def _read(path: Any) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
