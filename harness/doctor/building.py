"""What environment images can be made with here: a builder, a base, and images that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import docker
import docker.errors
import requests

from harness.containers.engine import Engine, engine_errors
from harness.environments.base import present, public_tag, why_not
from harness.environments.builder import find_builder
from harness.environments.registry import folders
from harness.errors import HarnessError, ProvisionError

IDENTITY_LABEL = "io.harness.identity"
_REGISTRY_SECONDS = 5


@dataclass(frozen=True)
class Building:
    """What environment images can be made with."""

    builder: str = ""
    """The program that builds: `/usr/bin/docker (BuildKit 20.10)`; empty for none."""
    builder_reason: str = ""
    builder_remedy: str = ""
    base: str = ""
    """The base image that is here; empty for none."""
    base_reason: str = ""
    """Why none can be made here; empty where one can."""
    registry_reason: str = ""
    """Why no registry gives one; empty where one does, or where it was not asked."""
    images: int = 0
    """Environment images that are built already."""


def look_at_building(engine: Engine) -> Building:
    """What this machine and engine have to build images with; nothing is pulled or made."""
    builder, reason, remedy = _builder(engine)
    pythons = dict.fromkeys(python for folder in folders() for python in folder.locked_pythons)
    base = _base(engine, tuple(pythons))
    return Building(
        builder=builder,
        builder_reason=reason,
        builder_remedy=remedy,
        base=base,
        base_reason=why_not(),
        registry_reason="" if base else _registry_reason(engine, next(iter(pythons), "3.11")),
        images=_images(engine),
    )


def _builder(engine: Engine) -> tuple[str, str, str]:
    """The builder; or why there is none, and what to do."""
    try:
        return find_builder(engine).words, "", ""
    except ProvisionError as error:
        return "", error.message.rstrip("."), error.remedy


def _base(engine: Engine, pythons: Sequence[str]) -> str:
    """The base that a build would take: its name, Python and digest."""
    try:
        base = present(engine, pythons)
    except HarnessError:
        # A damaged record: the build itself says so, with what to do.
        return ""
    if base is None:
        return ""
    return f"{base.reference} (Python {base.python}, {base.digest[:19]}…)"


def _registry_reason(engine: Engine, python: str) -> str:
    """Why the public image is not to be had; asked for its digest only, nothing is pulled."""
    api = docker.APIClient(base_url=engine.info.address, timeout=_REGISTRY_SECONDS, version="auto")
    try:
        api.inspect_distribution(public_tag(python))  # type: ignore[no-untyped-call]
    except docker.errors.APIError as error:
        return " ".join(str(error.explanation or error).split()).rstrip(".")
    except requests.exceptions.RequestException:
        return f"none answers within {_REGISTRY_SECONDS} s"
    finally:
        api.close()
    return ""


def _images(engine: Engine) -> int:
    with engine_errors("Listing images"):
        return len(engine.client.api.images(filters={"label": IDENTITY_LABEL}))
