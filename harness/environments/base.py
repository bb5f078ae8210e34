"""The base that environment images are built on: recorded, pulled, or made on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from docker.utils import parse_repository_tag

from harness.containers.engine import Engine
from harness.containers.rules import ContainerSpec
from harness.containers.running import run_to_end
from harness.containers.strays import owner_labels
from harness.environments.base_made import SUITES, keep, make_base, why_not
from harness.environments.base_records import (
    BaseRecord,
    base_lock,
    candidates,
    content_digest,
    inspect_image,
    machine_of,
    present,
    record,
    recorded,
)
from harness.environments.environment import Base
from harness.environments.interpreters import either
from harness.environments.pulling import pull
from harness.errors import EngineError, EnvironmentSpecError, ProvisionError
from harness.progress import Progress

__all__ = ["Base", "ensure_base", "make_base", "name_base", "present", "recorded", "why_not"]

_ASK_SECONDS = 60
_ASK = (
    "import json, platform, sys; print(json.dumps({'python': platform.python_version(), "
    "'kind': platform.python_implementation(), 'libc': platform.libc_ver(), "
    "'machine': platform.machine()}))"
)
_INSTEAD = (
    "Name an image that the engine has (`docker images`), or make a base here: "
    "`harness env base --suite bookworm`."
)


def public_tag(python: str) -> str:
    """The public image that a base for Python `X.Y` is taken from."""
    return f"python:{python}-slim-bookworm"


def ensure_base(
    engine: Engine,
    pythons: Sequence[str],
    progress: Progress,
    *,
    wanted: str | None = None,
    name: str = "",
) -> Base:
    """The base for one of `pythons` (`X.Y`, the most wanted first), got where it is not there.

    In order: one that was recorded and whose image is there; the public image, resolved to its
    digest and recorded; one made on this machine from Debian's packages.

    Args:
        engine: where the base is needed.
        pythons: Pythons that serve.
        progress: where long steps are reported to.
        wanted: an image to take instead, recorded for the next time.
        name: the environment it is for; for messages.

    Raises:
        ProvisionError: none can be had, with what was tried.
        EnvironmentSpecError: the image wanted has no Python, or another one.
        EngineError: the engine does not answer.
        StoreError: no space is left, or the record is damaged.
    """
    if wanted is not None:
        return name_base(engine, wanted, progress, pythons=pythons)
    if found := _present(engine, pythons):
        return found
    with base_lock():
        if found := _present(engine, pythons):
            return found
        tried: list[str] = []
        for attempt in _attempts(engine, pythons, progress):
            try:
                return attempt()
            except ProvisionError as error:
                if (said := error.message.rstrip(".\n")) not in tried:
                    tried.append(said)
    subject = f" for {name}" if name else ""
    raise ProvisionError(
        f"No base image with Python {either(pythons)} can be had{subject}: {'; '.join(tried)}.",
        "Make one with `harness env base` (root, with mmdebstrap installed), name an image that "
        "is here with `harness env base --use IMAGE`, or do without containers: --executor venv.",
    )


def name_base(
    engine: Engine, reference: str, progress: Progress, *, pythons: Sequence[str] = ()
) -> Base:
    """Take an image that somebody names as the base from now on; pulled where it is not here.

    Raises:
        EnvironmentSpecError: it has no CPython, or none of `pythons` (`X.Y`).
        ProvisionError: it is not here and no registry gives it.
        EngineError: the engine does not answer.
    """
    with base_lock():
        if inspect_image(engine, reference) is None:
            with progress.task(f"Pulling {reference}") as task:
                pull(engine, reference, task, _INSTEAD)
        return _take(engine, reference, reference, pythons)


def _present(engine: Engine, pythons: Sequence[str]) -> Base | None:
    """A base that is there; one of somebody else's is recorded, so that it stays the same."""
    found = present(engine, pythons)
    if found is not None and all(entry.base.digest != found.digest for entry in recorded()):
        record(BaseRecord(found, found.digest))
    return found


def _attempts(
    engine: Engine, pythons: Sequence[str], progress: Progress
) -> Iterator[Callable[[], Base]]:
    """The ways to a base, in the order to be tried."""
    for python in pythons:
        for entry in candidates(engine, python):
            if entry.base.source == "registry":
                yield lambda entry=entry: _again(engine, entry, progress)  # type: ignore[misc]
                break
    for python in pythons:
        yield lambda python=python: _public(engine, python, progress)  # type: ignore[misc]
    yield lambda: _made(engine, pythons, progress)


def _again(engine: Engine, entry: BaseRecord, progress: Progress) -> Base:
    """Pull a recorded base by its digest: the same content as before."""
    name = entry.base.reference.partition("@")[0]
    repository, _ = parse_repository_tag(name)
    by_digest = f"{repository}@{entry.base.digest}"
    with progress.task(f"Pulling {name}") as task:
        pull(engine, by_digest, task, _INSTEAD)
    return _take(engine, by_digest, name, (entry.base.python,))


def _public(engine: Engine, python: str, progress: Progress) -> Base:
    tag = public_tag(python)
    with progress.task(f"Pulling {tag}") as task:
        pull(engine, tag, task, _INSTEAD)
    return _take(engine, tag, tag, (python,))


def _made(engine: Engine, pythons: Sequence[str], progress: Progress) -> Base:
    suites = [suite for wanted in pythons for suite, has in SUITES.items() if has[0] == wanted]
    if not suites:
        raise ProvisionError(f"none with Python {either(pythons)} can be made here")
    if reason := why_not():
        raise ProvisionError(f"none can be made here: {reason}")
    progress.note(f"No image registry gives a base image: one is made from Debian {suites[0]}")
    return make_base(engine, progress, suite=suites[0])


def _take(engine: Engine, image: str, reference: str, pythons: Sequence[str]) -> Base:
    """Ask an image for its Python, and record it as a base."""
    found = inspect_image(engine, image)
    if found is None:
        raise ProvisionError(f"{reference} is not in the engine after it was pulled.")
    said = _ask(engine, str(found["Id"]), reference)
    python = ".".join(str(said["python"]).split(".")[:2])
    if pythons and python not in pythons:
        raise EnvironmentSpecError(
            f"{reference} has Python {python}, where {either(pythons)} is needed.",
            "Name an image with that Python.",
        )
    digest = _registry_digest(found, reference)
    libc, glibc = said["libc"]
    base = Base(
        reference=reference,
        digest=digest or content_digest(found),
        python=python,
        source="registry" if digest else "local",
        glibc=glibc if libc == "glibc" else "",
        machine=machine_of(engine),
    )
    keep(engine, str(found["Id"]), base)
    record(BaseRecord(base, content_digest(found)))
    return base


def _ask(engine: Engine, image: str, reference: str) -> dict[str, Any]:
    spec = ContainerSpec(
        image=image,
        command=("python3", "-I", "-c", _ASK),
        name=reference,
        labels=owner_labels(),
    )
    refusal = EnvironmentSpecError(
        f"{reference} cannot be a base: it has no CPython called python3.",
        "Name an image that has one, such as python:3.11-slim-bookworm.",
    )
    try:
        done = run_to_end(engine, spec, _ASK_SECONDS)
        said: dict[str, Any] = json.loads(done.stdout)
    except (EngineError, ValueError) as error:
        if isinstance(error, EngineError) and "python3" not in error.message:
            raise
        raise refusal from error
    if done.status != 0 or said.get("kind") != "CPython":
        raise refusal
    return said


def _registry_digest(image: dict[str, Any], reference: str) -> str:
    """The digest that a registry knows an image by; empty for one that none does."""
    repository, _ = parse_repository_tag(reference.partition("@")[0])
    digests = [str(one).partition("@") for one in image.get("RepoDigests") or ()]
    same = [digest for name, _, digest in digests if name == repository]
    return (same or [digest for _, _, digest in digests] or [""])[0]
