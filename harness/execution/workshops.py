"""Environments that convert models for stacks which cannot: TensorFlow writes TFLite for LiteRT."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.version import Version

from harness.environments.folders import EnvironmentFolder
from harness.environments.registry import folders, resolve
from harness.errors import EngineError, ProvisionError
from harness.execution.stacks import Stacks
from harness.plan.build import Stack, Workshop
from harness.plan.routes import find_route, produces
from harness.progress import Progress


def find_workshops(formats: Iterable[str], found: Stacks, progress: Progress) -> list[Workshop]:
    """The environments that convert what the stacks of a sweep cannot read.

    Each is chosen from the environment folders, whatever else takes part in the sweep, so that a
    conversion is the same in every sweep. They are added to `found.environments`; nothing is built.

    Args:
        formats: of the models.
        found: the sweep's stacks.
        progress: where long steps and what cannot be had are reported to.
    """
    missing = sorted(
        {
            (stack.executor, file_format, accepted)
            for stack in found.stacks
            for file_format in formats
            for accepted in lacking(stack, file_format)
        }
    )
    workshops: dict[tuple[str, str], Workshop] = {}
    for executor, file_format, accepted in missing:
        folder = choose(folders(), file_format, accepted)
        if folder is None or (folder.name, executor) in workshops:
            continue
        try:
            env = resolve(
                folder.name,
                progress=progress,
                executor="docker" if executor == "docker" else "venv",
                engine=found.engine,
            )
        except (ProvisionError, EngineError) as error:
            progress.note(f"{folder.name}, which converts {file_format}, cannot be had: {error}")
            continue
        found.environments[env.identity] = env
        workshops[folder.name, executor] = Workshop(
            env.name, env.identity, executor, tuple(env.converters)
        )
    return list(workshops.values())


def lacking(stack: Stack, file_format: str) -> set[str]:
    """What the backends of a stack would read, had it a way to that from a file's format.

    Empty where all backends have a way.
    """
    return {
        accepted
        for formats in stack.formats.values()
        if find_route(file_format, formats, stack.converters) is None
        for accepted in formats
    }


def choose(
    known: Sequence[EnvironmentFolder], file_format: str, target: str
) -> EnvironmentFolder | None:
    """The environment for a conversion: on the CPU, of the highest version; None: there is none."""
    able = [
        folder
        for folder in known
        if folder.file.accelerator == "cpu"
        and folder.locked_pythons
        and any(produces(one) == (file_format, target) for one in folder.file.converters)
    ]
    return max(able, key=lambda one: (Version(one.file.version), one.name), default=None)
