"""Environments that were there already: somebody else's image, or an interpreter of this machine.

They are asked what they hold and used as they are. Their identity is the hash of what was found
that can change an answer or a time: never a path, a tag, an image's id or the machine's state.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.canonical import key_of
from harness.containers.engine import Engine, connect
from harness.environments.adopted_image import (
    check_reference,
    find_image,
    is_pinned,
    probe_found,
)
from harness.environments.adopted_python import ask_here
from harness.environments.environment import Environment
from harness.environments.instruction_sets import OWN
from harness.environments.probe import probe
from harness.environments.provision import Provisioned
from harness.environments.uv import redact
from harness.errors import EnvironmentSpecError, ProvisionError
from harness.progress import Progress

IMAGE = "image:"
PYTHON = "python:"
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")

_FIRST = (
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorflow.graph",
    "torch.eager",
    "jax",
    "tvm",
    "iree",
    "tflite",
    "ncnn",
)
"""The order of backends in an environment that nobody described: it is called after the first, which
is also what runs where none is named. Others come next, and last Keras, which runs on another."""


class _Offer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    instruction_sets: tuple[str, ...] = ()


class _Backend(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    ok: bool
    stack: str = ""
    version: str = ""
    detail: str = ""
    formats: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    offer: _Offer | None = None


class _Converter(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    ok: bool
    options: tuple[str, ...] = ()


class _Probe(BaseModel):
    """The parts of a probe event that are acted on; an image may say anything."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    python: str
    machine: str
    libc: str
    packages: dict[str, str]
    contents: dict[str, str]
    builds: dict[str, dict[str, str]]
    backends: dict[str, _Backend]
    converters: dict[str, _Converter]
    distribution: dict[str, str]
    system_packages: dict[str, str]


def is_adopted(reference: str) -> bool:
    """Whether a reference names something that was there already: `image:…` or `python:…`."""
    return reference.startswith((IMAGE, PYTHON))


def is_image(reference: str) -> bool:
    """Whether a reference names somebody else's image, which needs a container engine."""
    return reference.startswith(IMAGE)


def name_of(reference: str) -> str:
    """The name in results: the reference, with digests shortened to 12 digits.

    Raises:
        EnvironmentSpecError: it cannot be a reference.
    """
    if is_image(reference):
        return IMAGE + _DIGEST.sub(r"\1", check_reference(reference.removeprefix(IMAGE)))
    _path(reference)
    return reference


def resolve_adopted(
    reference: str, progress: Progress, engine: Engine | None = None
) -> Provisioned:
    """Find an image or an interpreter, ask what it holds, and give it ready to run.

    Args:
        reference: `image:REPO/NAME@sha256:…` (a tag or an id is pinned to what it means now), or
            `python:PATH`.
        progress: where long steps are reported to.
        engine: for an image; connected to where it is not given.

    Raises:
        EnvironmentSpecError: a reference that cannot be one, or a path without a Python.
        ProvisionError: it cannot be had, or cannot run a model; why not is said.
        EngineError: an image is named and no container engine answers.
    """
    started = time.monotonic()
    name = name_of(reference)
    if is_image(reference):
        return _image(reference, name, progress, engine or connect(), started)
    answer = ask_here(reference, _path(reference))
    with progress.task(f"Probing {name}"):
        event = probe(name, answer.path, None)
    return Provisioned(
        env=environment_from(event, name, reference, "python"),
        python=Path(answer.path),
        probe=event,
        packages=event["packages"],
        size_bytes=0,
        seconds=time.monotonic() - started,
    )


def environment_from(
    event: Mapping[str, Any],
    name: str,
    reference: str,
    kind: Literal["image", "python"],
    variables: Sequence[str] = (),
) -> Environment:
    """The environment that a probe of everything describes.

    Args:
        event: the probe event.
        name: what it is called in results.
        reference: what a person named.
        kind: whether it is an image or an interpreter of this machine.
        variables: `NAME=value`, what an image sets for what runs in it.

    Raises:
        ProvisionError: the probe is no probe, or nothing in it can run a model.
    """
    try:
        found = _Probe.model_validate(event)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProvisionError(
            f"{name} answered a probe with something else: {where}: {first['msg']}."
        ) from error
    working = {
        backend: found.backends[backend]
        for backend in sorted(found.backends, key=_rank)
        if found.backends[backend].stack
        and found.backends[backend].ok
        and found.backends[backend].formats
    }
    if not working:
        raise ProvisionError(
            f"Nothing in {name} runs a model ({_reasons(found)}).",
            "Install one of these frameworks there, or name another environment.",
        )
    main = next(iter(working))
    on_cuda = any(_is_cuda(provider) for one in working.values() for provider in one.providers)
    return Environment(
        name=name,
        stack=working[main].stack,
        version=working[main].version,
        accelerator="cuda" if on_cuda else "cpu",
        backends=tuple(working),
        converters={name: one.options for name, one in found.converters.items() if one.ok},
        formats={backend: one.formats for backend, one in working.items()},
        python=found.python,
        identity=_identity(found, working, kind, variables),
        executor="docker" if kind == "image" else "venv",
        kind=kind,
        reference=reference,
        parts={backend: (one.stack, one.version) for backend, one in working.items()},
        instruction_sets={backend: _ceilings(one) for backend, one in working.items()},
    )


def _ceilings(found: _Backend) -> tuple[str, ...] | str:
    """The ceilings on instruction sets that a backend said that it keeps to; a text: to none."""
    said = found.offer.instruction_sets if found.offer else ()
    return tuple(one for one in said if one != OWN) or "it names none that it keeps to"


def _reasons(found: _Probe) -> str:
    """Why no backend works: what is not installed in a row, what fails in its own words."""
    absent, failing = [], []
    for backend in sorted(found.backends, key=_rank):
        one = found.backends[backend]
        if not one.stack:
            continue
        said = redact(" ".join(one.detail.split()))[:160]
        if "No module named" in said or not said:
            absent.append(backend)
        else:
            failing.append(f"{backend}: {said}")
    return "; ".join([*failing, *([f"not installed: {', '.join(absent)}"] if absent else [])])


def _rank(backend: str) -> int:
    if backend.startswith("keras."):
        return len(_FIRST) + 1
    return _FIRST.index(backend) if backend in _FIRST else len(_FIRST)


def _identity(
    found: _Probe, working: Mapping[str, _Backend], kind: str, variables: Sequence[str]
) -> str:
    """The hash of what can change an answer or a time.

    An interpreter of this machine uses its system's C library, whose version counts; the rest of
    the system's packages is no part of it. An image's are, and the variables that it sets, which
    can choose a library's code.
    """
    system = (
        {"distribution": found.distribution, "packages": found.system_packages}
        if kind == "image"
        else None
    )
    return key_of(
        {
            "schema_version": 1,
            "adopted": kind,
            "python": found.python,
            "machine": found.machine,
            "libc": found.libc,
            "packages": found.packages,
            "contents": found.contents,
            "builds": found.builds,
            "backends": {name: one.version for name, one in working.items()},
            "system": system,
            "variables": list(variables),
        }
    )


def _image(
    reference: str, name: str, progress: Progress, engine: Engine, started: float
) -> Provisioned:
    text = check_reference(reference.removeprefix(IMAGE))
    image = find_image(engine, text, progress)
    if not is_pinned(text):
        lasting = image.digest or image.id
        progress.note(f"{reference} is now {image.id[:19]}; to keep to it: {IMAGE}{lasting}")
    python, event = probe_found(engine, name, image, progress)
    return Provisioned(
        env=environment_from(event, name, reference, "image", image.variables),
        python=python,
        probe=event,
        packages=event["packages"],
        size_bytes=image.size_bytes,
        seconds=time.monotonic() - started,
        image=image.id,
    )


def _path(reference: str) -> Path:
    """The interpreter's path, absolute; links are kept, as a virtual environment needs them.

    Raises:
        EnvironmentSpecError: none is named.
    """
    text = reference.removeprefix(PYTHON)
    if not text.strip() or "\0" in text:
        raise EnvironmentSpecError(
            f"{reference!r} names no interpreter.",
            "Write python:PATH, such as python:/opt/conda/bin/python.",
        )
    return Path(text).expanduser().absolute()


def _is_cuda(provider: str) -> bool:
    return provider.lower() in {"cuda", "cudaexecutionprovider"}
