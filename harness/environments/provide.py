"""Makes a resolved environment ready to run cells: the one door for every kind of environment."""

from __future__ import annotations

from typing import Any

from harness.containers.engine import Engine, connect
from harness.environments import adopted, image_build, provision
from harness.environments.environment import Environment
from harness.environments.probe import probe, probe_image
from harness.environments.provision import Provisioned
from harness.environments.wheels import Secrets
from harness.errors import ProvisionError
from harness.progress import Progress


def provide(
    env: Environment,
    progress: Progress,
    engine: Engine | None = None,
    *,
    secrets: Secrets | None = None,
) -> Provisioned:
    """Install, build or find an environment, and give it; instant where it is ready.

    Args:
        env: what `registry.resolve` gave.
        progress: where long steps are reported to.
        engine: for images; connected to where it is needed and not given.
        secrets: certificates and pip's configuration for downloads; by default the machine's own.

    Raises:
        ProvisionError: it cannot be made, or does not work, or is no longer what was resolved.
        EngineError: no container engine answers, where one is needed.
        StoreError: the cache is full or may not be written.
    """
    if env.kind != "folder":
        found = adopted.resolve_adopted(env.reference, progress, engine)
        if found.env.identity != env.identity:
            raise ProvisionError(
                f"{env.reference} was changed while it was used: what it holds is not what was "
                "found before.",
                "Start the same command again; name an image by its digest to keep it the same.",
            )
        return found
    if env.executor == "docker":
        return image_build.provision_image(env, engine or connect(), progress, secrets=secrets)
    return provision.provision(env, progress)


def told_in_full(found: Provisioned, engine: Engine | None = None) -> dict[str, Any]:
    """What an environment says it holds, with the converters that it declares and their passes.

    One that ships is asked for its backends alone when it is made, so it is asked again here.

    Args:
        found: the environment, ready.
        engine: for images; connected to where it is needed and not given.

    Raises:
        ProvisionError: it does not answer.
        EngineError: no container engine answers, where one is needed.
    """
    declared = found.env.converters
    if not declared or found.probe.get("converters"):
        return dict(found.probe)
    if found.image is None:
        told = probe(found.env.name, found.python, None)
    else:
        told = probe_image(
            engine or connect(), found.env.name, found.image, str(found.python), None
        )
    there = told["converters"]
    return dict(found.probe, converters={name: there[name] for name in declared if name in there})
