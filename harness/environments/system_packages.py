"""Debian packages beside the base: installed in a build of their own, and held to what is named.

A mirror gives other versions on another day. An environment names every package with its version,
those that come along too, so that its identity says all that is in the image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence

from harness.containers.engine import Engine, engine_errors
from harness.containers.rules import ContainerSpec
from harness.containers.running import run_to_end
from harness.containers.strays import owner_labels
from harness.environments import dockerfile
from harness.environments.builder import Builder, run_builder
from harness.environments.environment import Base, Environment, from_folder
from harness.environments.image_records import repository_of
from harness.environments.wheels import Secrets
from harness.errors import ProvisionError
from harness.progress import Task

_ASK_SECONDS = 60
_LIST = ("dpkg-query", "--show", "--showformat", "${Package}=${Version}\\n")


def with_system_packages(
    env: Environment, base: Base, engine: Engine, builder: Builder, task: Task, secrets: Secrets
) -> str:
    """Build the base with an environment's Debian packages, with a network; its tag.

    The caller removes the tag.

    Raises:
        ProvisionError: the build fails, or installs what the environment does not name.
        EngineError: the engine does not answer.
    """
    tag = f"{repository_of(env.name)}:system-{env.identity[:12]}"
    packages = sorted(from_folder(env).folder.file.system_packages)
    secret = ["--secret", f"id=ca_bundle,src={secrets.ca_bundle}"] if secrets.ca_bundle else []
    task.describe(f"Installing Debian packages for {env.name}")
    with tempfile.TemporaryDirectory(prefix="harness-context-") as empty:
        arguments = [
            "--target", "system", "--tag", tag, "--file", str(dockerfile.path()),
            "--build-arg", f"BASE={base.tag}",
            "--build-arg", f"SYSTEM_PACKAGES={' '.join(packages)}", *secret, empty,
        ]  # fmt: skip
        run_builder(builder, arguments, env.name, task)
    try:
        before = _installed(engine, base.tag, env.name)
        check_named(env.name, packages, before, _installed(engine, tag, env.name))
    except BaseException:
        drop(engine, tag)
        raise
    return tag


def drop(engine: Engine, tag: str) -> None:
    """Remove the tag of such an image; its layers live on in what was built on it."""
    with engine_errors(f"Removing the tag {tag}"):
        engine.client.api.remove_image(tag)


def check_named(
    name: str, named: Sequence[str], before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """Refuse a build that installed or upgraded a package which the environment does not name.

    Args:
        name: of the environment, for messages.
        named: its `system_packages`, `name=version`.
        before: version by package in the base.
        after: the same in the image.

    Raises:
        ProvisionError: with the list to write into `env.toml`.
    """
    new = {f"{package}={version}" for package, version in after.items()} - {
        f"{package}={version}" for package, version in before.items()
    }
    there = {f"{package}={version}" for package, version in after.items()}
    unnamed, missing = sorted(new - set(named)), sorted(set(named) - there)
    if not unnamed and not missing:
        return
    listed = ", ".join(f'"{one}"' for one in sorted(new | (set(named) & there)))
    said = [
        *([f"it also installed {', '.join(unnamed)}"] if unnamed else []),
        *([f"it lacks {', '.join(missing)}"] if missing else []),
    ]
    raise ProvisionError(
        f"The Debian packages of {name} are not what its env.toml names: {'; '.join(said)}.",
        f"Name all of them, since they are part of its identity: system_packages = [{listed}]",
    )


def _installed(engine: Engine, image: str, name: str) -> dict[str, str]:
    """Version by package of an image's Debian packages."""
    spec = ContainerSpec(image=image, command=_LIST, name=name, labels=owner_labels())
    done = run_to_end(engine, spec, _ASK_SECONDS)
    if done.status != 0:
        raise ProvisionError(
            f"The Debian packages of {name} cannot be listed in {image}: "
            f"{done.log.strip() or f'exit status {done.status}'}.",
            "Use a base that is a Debian: `harness env base`.",
        )
    lines = done.stdout.decode("utf-8", errors="replace").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {package: version for package, equals, version in pairs if equals and version}
