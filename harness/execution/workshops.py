"""Environments that convert models for stacks which cannot, and run what was made to check it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from packaging.version import Version

from harness.environments.adhoc import is_kept
from harness.environments.folders import EnvironmentFolder
from harness.environments.registry import folders, resolve
from harness.errors import HarnessError
from harness.execution.stacks import Stacks
from harness.plan.parts import Stack, Workshop
from harness.plan.routes import produces
from harness.plan.ways import Makers, find_ways, makers_for
from harness.progress import Progress
from harness.spec.models import SweepSpec

_ORDER = ("tensorflow", "torch", "onnxruntime", "litert", "tvm", "openvino")
"""Stacks in the order in which they are asked to convert, and to run what was converted."""


def find_workshops(
    spec: SweepSpec, formats: Iterable[str], found: Stacks, progress: Progress
) -> list[Workshop]:
    """The environments that take part in the conversions of a sweep, the preferred first.

    Each is chosen from the environment folders that somebody wrote, whatever else takes part in the
    sweep, so that a conversion is the same in every sweep. They are added to `found.environments`;
    nothing is built.

    Args:
        spec: which backends and routes are wanted.
        formats: of the models.
        found: the sweep's stacks.
        progress: where long steps and what cannot be had are reported to.
    """
    known = sorted(formats)
    workshops: list[Workshop] = []
    for executor in dict.fromkeys(stack.executor for stack in found.stacks):
        stacks = [stack for stack in found.stacks if stack.executor == executor]
        could = able(folders(), executor)
        needed = {
            name for s in stacks for one in known for name in taking_part(spec, s, one, could)
        }
        for candidate in could:
            if candidate.name not in needed:
                continue
            try:
                env = resolve(
                    candidate.name,
                    progress=progress,
                    executor="docker" if executor == "docker" else "venv",
                    engine=found.engine,
                )
            except HarnessError as error:
                progress.note(f"{candidate.name}, which converts or checks, cannot be had: {error}")
                continue
            found.environments[env.identity] = env
            workshops.append(
                Workshop(env.name, env.identity, executor, env.converters, env.formats)
            )
    return workshops


def able(known: Sequence[EnvironmentFolder], executor: str) -> list[Workshop]:
    """The environments for the CPU that convert for all, without an identity, the preferred first.

    One that was made from `package==version` is never taken: it is there on one machine only.
    """
    chosen = [
        folder
        for folder in known
        if folder.file.accelerator == "cpu" and not is_kept(folder) and folder.locked_pythons
    ]
    return [
        Workshop(folder.name, "", executor, folder.file.converters, folder.file.backends)
        for folder in sorted(chosen, key=_preference, reverse=True)
    ]


def taking_part(
    spec: SweepSpec, stack: Stack, file_format: str, could: Sequence[Workshop]
) -> Iterator[str]:
    """Names of those that convert or check on the ways of a model to a stack."""
    makers = makers_for(stack, could)
    ways, _ = find_ways(spec, stack, file_format, makers)
    for way in ways:
        for place, step in enumerate(way.route.steps):
            yield step.maker
            source, target = produces(step.converter)
            yield from _checking(makers, target, makers.named(step.maker))
            if place == 0:
                yield from _checking(makers, source, makers.named(step.maker))


def _checking(makers: Makers, file_format: str, maker: Workshop) -> Iterator[str]:
    found = makers.checker(file_format, maker)
    if found is not None:
        yield found[0].name


def _preference(folder: EnvironmentFolder) -> tuple[int, Version, str]:
    stack = folder.file.stack
    rank = -_ORDER.index(stack) if stack in _ORDER else -len(_ORDER)
    return rank, Version(folder.file.version), folder.name
