"""Locks: every package of an environment with its hashes, resolved by uv."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from harness.canonical import storage_errors
from harness.environments.folders import (
    REQUIREMENTS_FILE,
    Constraint,
    EnvironmentFolder,
    pinned_packages,
)
from harness.environments.uv import UvError, as_harness_error, run_uv
from harness.errors import EnvironmentSpecError
from harness.progress import Progress, Task

LINUX = "x86_64-manylinux_2_28"
"""The platform that shipped locks are resolved for."""
_ELSEWHERE = frozenset({"version", "package", "no-wheel", "other"})


def extra_requirements(
    constraints: Sequence[Constraint], package: str, requirements: Sequence[str]
) -> tuple[str, ...]:
    """What `constraints` add for the version of `package` that `requirements` pin."""
    pinned = pinned_version(requirements, package)
    if pinned is None:
        return ()
    version = Version(pinned)
    return tuple(
        requirement
        for constraint in constraints
        if SpecifierSet(constraint.when).contains(version, prereleases=True)
        for requirement in constraint.requires
    )


def read_requirements(path: Path) -> tuple[str, ...]:
    """The requirements of a `requirements.in`, without comments and blank lines.

    Raises:
        EnvironmentSpecError: the file is missing, or a line is not a requirement.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EnvironmentSpecError(f"{path} cannot be read: {error.strerror}.") from error
    kept = tuple(text for line in lines if (text := re.sub(r"(^|\s)#.*$", "", line).strip()))
    for line in kept:
        try:
            Requirement(line)
        except InvalidRequirement as error:
            raise EnvironmentSpecError(
                f"{path}: {line!r} is not a requirement.",
                "One package a line, for example onnxruntime==1.31.1; options are not allowed.",
            ) from error
    return kept


def repin(
    requirements: Sequence[str], package: str, version: str, together: Sequence[str] = ()
) -> tuple[str, ...]:
    """The requirements with `package`, and what is released with it, pinned to another version.

    Extras are kept; a package that the requirements do not name is added.
    """
    read = [(line, Requirement(line)) for line in requirements]
    pinned = []
    for name in (package, *together):
        same = canonicalize_name(name)
        extras = sorted(
            {e for _, found in read if canonicalize_name(found.name) == same for e in found.extras}
        )
        pinned.append(f"{name}[{','.join(extras)}]=={version}" if extras else f"{name}=={version}")
    moved = {canonicalize_name(name) for name in (package, *together)}
    others = (line for line, found in read if canonicalize_name(found.name) not in moved)
    return (*pinned, *others)


def pinned_version(requirements: Sequence[str], package: str) -> str | None:
    """The version that requirements pin a package to, with extras or without; None: not pinned."""
    wanted = canonicalize_name(package)
    for line in requirements:
        found = Requirement(line)
        exact = [each.version for each in found.specifier if each.operator == "=="]
        if canonicalize_name(found.name) == wanted and exact:
            return exact[0]
    return None


def lock_folder(
    folder: EnvironmentFolder,
    pythons: Sequence[str],
    progress: Progress,
    platform: str | None = LINUX,
    *,
    upgrade: bool = False,
) -> list[Path]:
    """Write (again) the locks of a folder for each Python `X.Y`, and give their paths.

    Versions in a lock that is there are kept where they still fit, unless `upgrade`.

    Raises:
        ProvisionError: the requirements cannot be resolved.
        EnvironmentSpecError: `requirements.in` is missing or pins another version than `env.toml`.
    """
    file = folder.file
    requirements = read_requirements(folder.path / REQUIREMENTS_FILE)
    for package in (file.package, *file.together):
        pinned = pinned_version(requirements, package)
        if pinned is None or Version(pinned) != Version(file.version):
            raise EnvironmentSpecError(
                f"{folder.path / REQUIREMENTS_FILE} pins {package} to {pinned or 'nothing'}, "
                f"env.toml says {file.version}.",
                f"Write {package}=={file.version} in it.",
            )
    requirements += extra_requirements(file.constraints, file.package, requirements)
    written = []
    for python in pythons:
        target = folder.path / f"requirements-{python}.lock"
        command = f"harness env lock {folder.name} --python {python}"
        with progress.task(f"Locking {folder.name} for Python {python}") as task:
            try:
                text = compile_lock(
                    requirements,
                    python=python,
                    platform=platform,
                    command=command,
                    extra_index=file.extra_index,
                    find_links=file.find_links,
                    exclude=file.exclude,
                    previous=None if upgrade else target,
                    task=task,
                )
            except UvError as error:
                raise as_harness_error(
                    error.failure, f"{folder.name} cannot be locked for Python {python}"
                ) from error
        locked = pinned_packages(text).get(file.package)
        if locked is None or Version(locked) != Version(file.version):
            raise EnvironmentSpecError(
                f"{file.package} of {folder.name} was resolved to {locked}, and env.toml says "
                f"{file.version}: a configured index or folder of wheels offers another build.",
                "Lock it with that left out: PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= harness env "
                f"lock {folder.name}",
            )
        with storage_errors(target):
            target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def compile_lock(
    requirements: Sequence[str],
    *,
    python: str,
    command: str,
    platform: str | None = None,
    interpreter: Path | None = None,
    extra_index: Sequence[str] = (),
    find_links: Sequence[str] = (),
    exclude: Sequence[str] = (),
    previous: Path | None = None,
    task: Task | None = None,
) -> str:
    """The text of a lock for Python `X.Y`: pins with hashes, no index addresses.

    The configured indexes are asked first; those of the folder only where these lack something,
    so that a machine with its own mirror needs no other.

    Raises:
        UvError: the requirements cannot be resolved.
    """
    with (
        storage_errors(Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(prefix="harness-lock-") as folder,
    ):
        source, target = Path(folder) / REQUIREMENTS_FILE, Path(folder) / "requirements.lock"
        source.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        if previous is not None and previous.is_file():
            target.write_bytes(previous.read_bytes())
        arguments = [
            "pip", "compile", str(source), "--output-file", str(target),
            "--generate-hashes", "--no-emit-index-url", "--no-annotate", "--only-binary", ":all:",
            "--no-python-downloads", "--python-version", python,
            "--custom-compile-command", command,
        ]  # fmt: skip
        if exclude:
            # An override with a marker that never holds: whoever asks for it gets nothing.
            never = Path(folder) / "overrides.txt"
            lines = (f"{name} ; python_version < '0'\n" for name in exclude)
            never.write_text("".join(lines), encoding="utf-8")
            arguments += ["--override", str(never)]
        if platform is not None:
            arguments += ["--python-platform", platform]
        if interpreter is not None:
            arguments += ["--python", str(interpreter)]
        run_with_upstream(arguments, extra_index, find_links, task=task, label="Resolving")
        return target.read_text(encoding="utf-8")


def run_with_upstream(
    arguments: Sequence[str],
    extra_index: Sequence[str],
    find_links: Sequence[str],
    *,
    task: Task | None = None,
    label: str = "",
) -> str:
    """Run uv with the configured indexes; if they lack something, again with the folder's too.

    Raises:
        UvError: both failed.
    """
    try:
        return run_uv(arguments, task=task, label=label)
    except UvError as first:
        if first.failure.kind not in _ELSEWHERE or not (extra_index or find_links):
            raise
        try:
            return run_uv(
                arguments, task=task, label=label, extra_index=extra_index, find_links=find_links
            )
        except UvError as second:
            if second.failure.kind != "network":
                raise
            reason = f"{first.failure.reason}, and {' '.join([*extra_index, *find_links])} cannot be reached"
            raise UvError(replace(second.failure, reason=reason)) from first


def nearest_versions(package: str, version: str, python: str, count: int = 3) -> tuple[str, ...]:
    """Versions of a package close to one that does not exist: up to `count` below, one above.

    Only versions with wheels for Python `X.Y`. Empty where the index cannot say.
    """
    found: list[str] = []
    version = Version(version).public
    bound = version
    for _ in range(count):
        below = _one_version(f"{package}<{bound}", python, "highest")
        if below is None:
            break
        found.insert(0, below)
        bound = below
    above = _one_version(f"{package}>{version}", python, "lowest")
    return (*found, above) if above is not None else tuple(found)


def _one_version(requirement: str, python: str, resolution: str) -> str | None:
    with tempfile.TemporaryDirectory(prefix="harness-lock-") as folder:
        source = Path(folder) / REQUIREMENTS_FILE
        source.write_text(requirement + "\n", encoding="utf-8")
        try:
            text = run_uv(
                [
                    "pip", "compile", str(source), "--no-deps", "--no-header", "--no-annotate",
                    "--only-binary", ":all:", "--no-python-downloads", "--python-version", python,
                    "--resolution", resolution,
                ]
            )  # fmt: skip
        except UvError:
            return None
    return next(iter(pinned_packages(text).values()), None)
