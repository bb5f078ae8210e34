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

Source = tuple[str, frozenset[str]]
"""A model's format, and the converters that are no use for it."""


def find_workshops(
    spec: SweepSpec, models: Iterable[Source], found: Stacks, progress: Progress
) -> list[Workshop]:
    """The environments that convert for all, the preferred first, those in use with an identity.

    They are the environment folders that somebody wrote, whatever else takes part in the sweep, so
    that a conversion is the same in every sweep. Those that take part in this one are added to
    `found.environments`; nothing is built. What cannot be had is left out, and said.

    Args:
        spec: which backends and routes are wanted.
        models: what they are to be made of.
        found: the sweep's stacks.
        progress: where long steps and what cannot be had are reported to.
    """
    sources = sorted(set(models), key=repr)
    workshops: list[Workshop] = []
    for executor in dict.fromkeys(stack.executor for stack in found.stacks):
        stacks = [stack for stack in found.stacks if stack.executor == executor]
        could = able(folders(), executor)
        while True:
            needed = {
                name
                for stack in stacks
                for source in sources
                for name in taking_part(spec, stack, source, could)
            }
            missing = next((w for w in could if w.name in needed and not w.identity), None)
            if missing is None:
                break
            resolved = _resolved(missing, found, progress)
            place = could.index(missing)
            could[place : place + 1] = [resolved] if resolved else []
        workshops += could
    return workshops


def _resolved(workshop: Workshop, found: Stacks, progress: Progress) -> Workshop | None:
    """The workshop as it will be on this machine; None where it cannot be had."""
    try:
        env = resolve(
            workshop.name,
            progress=progress,
            executor="docker" if workshop.executor == "docker" else "venv",
            engine=found.engine,
        )
    except HarnessError as error:
        progress.note(f"{workshop.name}, which converts or checks, cannot be had: {error}")
        return None
    found.environments[env.identity] = env
    return Workshop(env.name, env.identity, workshop.executor, env.converters, env.formats)


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
    spec: SweepSpec, stack: Stack, source: Source, could: Sequence[Workshop]
) -> Iterator[str]:
    """Names of those that convert or check on the ways of a model to a stack."""
    file_format, barred = source
    makers = makers_for(stack, could, barred)
    ways, _ = find_ways(spec, stack, file_format, makers)
    for way in ways:
        for place, step in enumerate(way.route.steps):
            before, after = produces(step.converter)
            maker = makers.named(step.maker)
            taking = {step.maker, *_checking(makers, after, maker)}
            if place == 0:
                taking |= set(_checking(makers, before, maker))
            yield from taking


def _checking(makers: Makers, file_format: str, maker: Workshop) -> Iterator[str]:
    found = makers.checker(file_format, maker)
    if found is not None:
        yield found[0].name


def _preference(folder: EnvironmentFolder) -> tuple[int, Version, str]:
    stack = folder.file.stack
    rank = -_ORDER.index(stack) if stack in _ORDER else -len(_ORDER)
    return rank, Version(folder.file.version), folder.name
