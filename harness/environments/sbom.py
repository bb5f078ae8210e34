"""The bill of materials of an environment, as CycloneDX: its packages, with the wheels' hashes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from harness.environments.base_made import EPOCH
from harness.environments.environment import Environment
from harness.environments.wheels import Wheel

_NAMESPACE = uuid.UUID("6f1c7c0e-93f2-4a52-9a3e-5a1d6d6f6f0b")
_DEBIAN_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def sbom_document(
    env: Environment, probe: Mapping[str, Any], wheels: Sequence[Wheel] = ()
) -> dict[str, Any]:
    """A CycloneDX 1.6 document of what a probe found in an environment.

    Two of the same environment are equal: the serial number comes from its identity, and there is
    no date of writing.

    Args:
        env: the environment.
        probe: the runner's probe event.
        wheels: the wheels that it was installed from, where they are known.
    """
    subject = Component(
        name=env.name,
        version=env.version,
        type=ComponentType.CONTAINER if env.executor == "docker" else ComponentType.APPLICATION,
        bom_ref="environment",
        properties=[Property(name=f"harness:{key}", value=text) for key, text in _about(env)],
    )
    parts = [*_python(probe, wheels), *_debian(env, probe)]
    bom = Bom(
        components=parts,
        serial_number=uuid.uuid5(_NAMESPACE, env.identity),
        dependencies=[
            Dependency(subject.bom_ref, [Dependency(part.bom_ref) for part in parts]),
            *(Dependency(part.bom_ref) for part in parts),
        ],
    )
    bom.metadata.component = subject
    bom.metadata.timestamp = datetime.fromtimestamp(EPOCH, UTC)
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    return document


def _about(env: Environment) -> Iterator[tuple[str, str]]:
    yield "identity", env.identity
    yield "executor", env.executor
    if env.lock_sha256 is not None:
        yield "lock-sha256", env.lock_sha256
    if env.base is not None:
        yield "base", env.base.reference
        yield "base-digest", env.base.digest


def _python(probe: Mapping[str, Any], wheels: Sequence[Wheel]) -> Iterator[Component]:
    hashes = {canonicalize_name(wheel.name): wheel for wheel in wheels}
    version = str(probe.get("python") or "")
    if version:
        yield Component(
            name="python",
            version=version,
            type=ComponentType.PLATFORM,
            bom_ref="python",
            purl=PackageURL("generic", None, "python", version),
        )
    for name, found in sorted(probe.get("packages", {}).items()):
        normal = canonicalize_name(name)
        wheel = hashes.get(normal)
        known = wheel is not None and wheel.version == found
        purl = PackageURL("pypi", None, normal, str(found))
        yield Component(
            name=name,
            version=str(found),
            bom_ref=purl.to_string(),
            purl=purl,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)]
            if wheel is not None and known
            else [],
            properties=[Property(name="harness:wheel", value=wheel.filename)]
            if wheel is not None and known
            else [],
        )


def _debian(env: Environment, probe: Mapping[str, Any]) -> Iterator[Component]:
    distribution = probe.get("distribution") or {}
    system = str(distribution.get("id") or "debian")
    release = str(distribution.get("version") or "")
    machine = env.base.machine if env.base is not None else ""
    qualifiers = {
        "arch": _DEBIAN_MACHINES.get(machine, machine),
        "distro": f"{system}-{release}" if release else "",
    }
    for name, version in sorted((probe.get("system_packages") or {}).items()):
        purl = PackageURL(
            "deb", system, name, str(version), {k: v for k, v in qualifiers.items() if v}
        )
        yield Component(name=name, version=str(version), bom_ref=purl.to_string(), purl=purl)
