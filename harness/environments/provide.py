"""Makes a resolved environment ready to run cells: the one door for every kind of environment."""

from __future__ import annotations

from harness.containers.engine import Engine, connect
from harness.environments import adopted, image_build, provision
from harness.environments.environment import Environment
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
