"""Environments that convert models for stacks which cannot: TensorFlow writes TFLite for LiteRT."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.version import Version

from harness.environments.adhoc import is_kept
from harness.environments.folders import EnvironmentFolder
from harness.environments.registry import folders, resolve
from harness.errors import HarnessError
from harness.execution.stacks import Stacks
from harness.plan.parts import Stack, Workshop
from harness.plan.routes import find_route, produces
from harness.progress import Progress
from harness.spec.models import ALL, SweepSpec

PORTABLE = frozenset({"onnx", "tflite"})
"""Formats that any version of any stack reads. Others (`keras`, `pt2`, `jax`) are read by the stack
that wrote them, so each environment makes them for itself."""

_MAKERS = ("tensorflow", "torch")
"""Stacks in the order in which they are asked to convert."""


def find_workshops(
    spec: SweepSpec, formats: Iterable[str], found: Stacks, progress: Progress
) -> list[Workshop]:
    """The environments that convert what the stacks of a sweep cannot read.

    Each is chosen from the environment folders that somebody wrote, whatever else takes part in the
    sweep, so that a conversion is the same in every sweep. They are added to `found.environments`;
    nothing is built.

    Args:
        spec: which backends are wanted.
        formats: of the models.
        found: the sweep's stacks.
        progress: where long steps and what cannot be had are reported to.
    """
    missing = sorted(
        {
            (stack.executor, file_format, accepted)
            for stack in found.stacks
            for file_format in formats
            for accepted in lacking(stack, file_format, stack.entry.backends or spec.backends)
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
        except HarnessError as error:
            progress.note(f"{folder.name}, which converts {file_format}, cannot be had: {error}")
            continue
        found.environments[env.identity] = env
        workshops[folder.name, executor] = Workshop(
            env.name, env.identity, executor, tuple(env.converters)
        )
    return list(workshops.values())


def lacking(stack: Stack, file_format: str, wanted: Sequence[str] | None) -> set[str]:
    """The portable formats that backends of a stack read and that it has no way to by itself.

    Args:
        stack: an environment of the sweep.
        file_format: a model's.
        wanted: backends by name, or `all`; None: the first that has a way.
    """
    named = [b for b in stack.formats if wanted in (None, (ALL,)) or b in (wanted or ())]
    without = [
        backend
        for backend in named
        if find_route(file_format, stack.formats[backend], stack.converters) is None
    ]
    if wanted is None and len(without) < len(named):
        return set()
    return {accepted for backend in without for accepted in stack.formats[backend]} & PORTABLE


def choose(
    known: Sequence[EnvironmentFolder], file_format: str, target: str
) -> EnvironmentFolder | None:
    """The environment for a conversion, on the CPU; None: there is none.

    One that was made from `package==version` is never taken: it is there on one machine only.
    """
    able = [
        folder
        for folder in known
        if folder.file.accelerator == "cpu"
        and not is_kept(folder)
        and folder.locked_pythons
        and any(produces(one) == (file_format, target) for one in folder.file.converters)
    ]
    return max(able, key=_preference, default=None)


def _preference(folder: EnvironmentFolder) -> tuple[int, Version, str]:
    stack = folder.file.stack
    rank = -_MAKERS.index(stack) if stack in _MAKERS else -len(_MAKERS)
    return rank, Version(folder.file.version), folder.name
