"""Pulls images, the one way for bases and adopted ones; a silent registry is given up in seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import docker
import docker.errors
import requests
from docker.utils import parse_repository_tag

from harness.containers.engine import Engine, engine_errors
from harness.environments.uv import redact
from harness.errors import ProvisionError
from harness.progress import Task

REGISTRY_SECONDS = 8
"""How long a registry may take to say a first word."""
SILENCE_SECONDS = 60
"""A pull that says nothing for so long has lost its registry."""

_NO_WAY = re.compile(r"no such host|connection refused|timeout|unreachable|dial tcp", re.IGNORECASE)
_FULL = re.compile(r"no space left|disk quota", re.IGNORECASE)
_unreachable: dict[tuple[str, str], str] = {}
"""What was said of registries that did not answer this process, by engine and name."""


def pull(engine: Engine, reference: str, task: Task, remedy: str) -> None:
    """Pull an image by tag or digest.

    The registry is asked for its digest first, which is quick; one that does not answer is
    remembered for the life of this process.

    Args:
        engine: where the image goes.
        reference: `REPO/NAME[:TAG]` or `REPO/NAME@sha256:…`.
        task: where progress is shown.
        remedy: what to do where no registry gives it.

    Raises:
        ProvisionError: no registry gives it, or no space is left.
        EngineError: the engine does not answer.
    """
    registry = registry_of(reference)
    if known := _unreachable.get((engine.info.address, registry)):
        raise ProvisionError(_refused(reference, known), remedy)
    _ask(engine, reference, registry, remedy)
    repository, tag = parse_repository_tag(reference)
    client = _client(engine, reference, SILENCE_SECONDS)
    try:
        # The time-out is between two words of the engine's, not for the whole.
        events = client.api.pull(repository, tag=tag or "latest", stream=True, decode=True)
        for event in events:
            if said := event.get("error"):
                raise _failure(engine, reference, registry, _words(said), remedy)
            task.describe(f"Pulling {reference}: {_step(event)}".rstrip(": "))
    except docker.errors.APIError as error:
        said = _words(error.explanation or error)
        raise _failure(engine, reference, registry, said, remedy) from error
    except requests.exceptions.RequestException as error:
        if _silent(error):
            reason = f"the registry {registry} said nothing for {SILENCE_SECONDS} s"
            raise ProvisionError(_refused(reference, reason), remedy) from error
        with engine_errors(f"Pulling {reference}"):
            raise
    finally:
        client.close()


def registry_of(reference: str) -> str:
    """The registry that a reference names: its first part, where that looks like a host."""
    first, slash, _ = reference.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named else "docker.io"


def _ask(engine: Engine, reference: str, registry: str, remedy: str) -> None:
    """Ask the registry for an image's digest.

    Raises:
        ProvisionError: it does not answer, or does not give that image.
    """
    client = _client(engine, reference, REGISTRY_SECONDS)
    try:
        client.images.get_registry_data(reference)
    except docker.errors.NotFound:
        # Podman cannot be asked this; its pull will say.
        if engine.info.kind != "podman":
            reason = f"the registry {registry} has no such image"
            raise ProvisionError(_refused(reference, reason), remedy) from None
    except docker.errors.APIError as error:
        reason = _words(error.explanation or error)
        if error.status_code not in {401, 403}:
            raise _lost(engine, reference, registry, reason, remedy) from error
        raise ProvisionError(
            _refused(reference, reason), f"Log in with `docker login {registry}`. {remedy}"
        ) from error
    except requests.exceptions.RequestException as error:
        if _silent(error):
            reason = f"no answer within {REGISTRY_SECONDS} s"
            raise _lost(engine, reference, registry, reason, remedy) from error
        with engine_errors(f"Asking for the image {reference}"):
            raise
    finally:
        client.close()


def _client(engine: Engine, reference: str, seconds: int) -> docker.DockerClient:
    """A connection of its own: its time-out is not that of other questions."""
    with engine_errors(f"Pulling {reference}"):
        return docker.DockerClient(base_url=engine.info.address, timeout=seconds, version="auto")


def _silent(error: requests.exceptions.RequestException) -> bool:
    return isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error).lower()


def _failure(
    engine: Engine, reference: str, registry: str, reason: str, remedy: str
) -> ProvisionError:
    if _FULL.search(reason):
        remedy = "Free some space on the engine's disk: `docker system df` says what could go."
    elif _NO_WAY.search(reason):
        return _lost(engine, reference, registry, reason, remedy)
    return ProvisionError(_refused(reference, reason), remedy)


def _lost(
    engine: Engine, reference: str, registry: str, reason: str, remedy: str
) -> ProvisionError:
    """The error for a registry that does not answer, which is then not asked again."""
    known = f"the image registry {registry} cannot be reached ({reason})"
    _unreachable[engine.info.address, registry] = known
    return ProvisionError(_refused(reference, known), remedy)


def _refused(reference: str, reason: str) -> str:
    return f"The image {reference} is not here and cannot be pulled: {reason.rstrip('.')}."


def _step(event: Mapping[str, Any]) -> str:
    return " ".join(str(event.get(key, "")) for key in ("id", "status", "progress")).strip()


def _words(said: object) -> str:
    text = said.decode("utf-8", errors="replace") if isinstance(said, bytes) else str(said)
    return redact(" ".join(text.split())).rstrip(".")
