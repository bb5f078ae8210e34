"""Environments that nobody wrote a folder for: `package==version`, resolved, locked and kept."""

from __future__ import annotations

import difflib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from harness.canonical import atomic_folder, storage_errors
from harness.environments import interpreters
from harness.environments.folders import (
    ENV_FILE,
    REQUIREMENTS_FILE,
    Constraint,
    EnvironmentFile,
    EnvironmentFolder,
    pinned_packages,
    read_folder,
)
from harness.environments.interpreters import Interpreter, either
from harness.environments.locking import (
    compile_lock,
    extra_requirements,
    nearest_versions,
    read_requirements,
    repin,
)
from harness.environments.uv import UvError, UvFailure, as_harness_error
from harness.errors import EnvironmentSpecError, HarnessError, ProvisionError
from harness.paths import cache_dir, data_dir
from harness.progress import Progress

_REFERENCE = re.compile(
    r"^\s*(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*(?P<version>[^=\s]\S*)\s*$"
)


@dataclass(frozen=True)
class Pin:
    """A package of a known stack, pinned to one version."""

    package: str
    version: str
    template: EnvironmentFolder
    """The folder of the same stack whose version is nearest."""
    constraints: tuple[Constraint, ...]
    """What the folders of that package and device say of undeclared needs of versions."""
    after: bool = False
    """Whether the template itself was named, and not a package."""

    @property
    def folder_name(self) -> str:
        """`onnxruntime-1.25.1`: three numbers at least, so never the name of a shipped folder.

        `torch-2.13-cuda-at-2.9.0` where the template was named: two templates make two folders.
        """
        version = Version(self.version)
        padded = ".".join(
            str(part) for part in (*version.release, 0, 0)[: max(3, len(version.release))]
        )
        suffix = str(version).removeprefix(".".join(str(part) for part in version.release))
        stem = f"{self.template.name}-at" if self.after else self.package
        return f"{stem}-{padded}{suffix}"


def home() -> Path:
    """Where environments made from `package==version` are kept."""
    return data_dir() / "environments"


def is_pin(reference: str) -> bool:
    """Whether a reference is meant as a package and version, rather than a folder's name."""
    return any(sign in reference for sign in "=<>~!")


def parse_pin(reference: str, folders: Sequence[EnvironmentFolder]) -> Pin:
    """Read `package==version`; `stack==version` is understood too.

    Raises:
        EnvironmentSpecError: not of that form, a version that is none, or an unknown package.
    """
    match = _REFERENCE.match(reference)
    if match is None:
        raise EnvironmentSpecError(
            f"{reference!r} does not pin a version exactly.",
            "Write package==version, for example onnxruntime==1.25.1.",
        )
    name = canonicalize_name(match["package"])
    try:
        version = Version(match["version"])
    except InvalidVersion as error:
        raise EnvironmentSpecError(
            f"{match['version']!r} in {reference!r} is not a version.",
            "Write one full version, for example onnxruntime==1.25.1.",
        ) from error
    after = [f for f in folders if f.name == match["package"] and not is_kept(f)]
    found = after or _folders_of(name, folders)
    if not found:
        known = sorted({folder.file.package for folder in folders})
        close = difflib.get_close_matches(name, known, n=1)
        raise EnvironmentSpecError(
            f"{match['package']!r} is not a package that environments can be made for.",
            (f"Did you mean {close[0]}=={version}? " if close else "")
            + f"Known packages: {', '.join(known)}.",
        )
    template = nearest_folder(after or _of_build(found, version), version)
    local = template.file.local_version
    if local and version.local is None:
        version = Version(f"{version}+{local}")
    alike = [
        f
        for f in folders
        if not is_kept(f)
        and (f.file.package, f.file.accelerator)
        == (template.file.package, template.file.accelerator)
    ]
    return Pin(
        package=template.file.package,
        version=str(version),
        template=template,
        constraints=tuple(dict.fromkeys(item for f in alike for item in f.file.constraints)),
        after=bool(after),
    )


def is_kept(folder: EnvironmentFolder) -> bool:
    """Whether a folder was itself made from a pin: it is no template for others."""
    return folder.path.is_relative_to(home().resolve())


def _folders_of(name: str, folders: Sequence[EnvironmentFolder]) -> list[EnvironmentFolder]:
    """The folders of a package; of a stack, those of its newest package for the CPU.

    A name may be both: `tensorflow` is the package for CUDA, and a stack whose package for the CPU
    is `tensorflow-cpu`, which is meant.
    """
    written = [folder for folder in folders if not is_kept(folder)]
    by_package = [f for f in written if canonicalize_name(f.file.package) == name]
    by_stack = [f for f in written if f.file.stack == name and f.file.accelerator == "cpu"]
    if not by_stack or any(f.file.accelerator == "cpu" for f in by_package):
        return by_package
    newest = max(by_stack, key=lambda folder: Version(folder.file.version))
    return [f for f in by_stack if f.file.package == newest.file.package]


def _of_build(
    folders: Sequence[EnvironmentFolder], version: Version
) -> Sequence[EnvironmentFolder]:
    """The folders that make the build asked for: by the version's label, else those of the CPU.

    `torch` is one package for the CPU and for CUDA, and only its label (`+cpu`, `+cu128`) differs.
    """
    label = version.local
    if label is not None:
        labelled = [folder for folder in folders if folder.file.local_version == label]
        kind = {"cu": "cuda", "ro": "rocm"}.get(label[:2], "cpu")
        of_kind = [folder for folder in folders if folder.file.accelerator == kind]
        if not labelled and not of_kind:
            raise EnvironmentSpecError(
                f"No environment is a template for the build +{label} of {folders[0].file.package}.",
                "Write a folder for it: docs/adding-an-environment.md.",
            )
        return labelled or of_kind
    return [folder for folder in folders if folder.file.accelerator == "cpu"] or folders


def nearest_folder(folders: Sequence[EnvironmentFolder], version: Version) -> EnvironmentFolder:
    """The folder with the highest version not above `version`, else the lowest above it."""
    ordered = sorted(folders, key=lambda folder: Version(folder.file.version))
    below = [folder for folder in ordered if Version(folder.file.version) <= version]
    return below[-1] if below else ordered[0]


def make(pin: Pin, wanted: str | Path | None, progress: Progress) -> EnvironmentFolder:
    """The kept folder for a pin, made (resolved and locked by uv) where it is not there yet.

    Two processes asking for the same pin at once make it once.

    Raises:
        ProvisionError: the version does not exist, has no wheels for a Python that is here, or
            the index cannot be reached.
        StoreError: the data folder or cache cannot be written.
    """
    target = home() / pin.folder_name
    lock = cache_dir() / "locks" / f"{pin.folder_name}.lock"
    with storage_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        guard = FileLock(lock)
        guard.acquire()
    try:
        if (target / ENV_FILE).is_file():
            folder = read_folder(target)
            if serves(folder, wanted):
                return folder
        else:
            folder = None
        with progress.task(f"Resolving {pin.package}=={pin.version}") as task:
            interpreter, text = _resolve(pin, wanted, progress)
            task.describe(f"Locked {pin.package}=={pin.version} for Python {interpreter.minor}")
        _write(pin, target, folder, interpreter.minor, text)
    finally:
        guard.release()
    progress.note(
        f"Locked {pin.package}=={pin.version} for Python {interpreter.minor} as {target.name}"
    )
    return read_folder(target)


def serves(folder: EnvironmentFolder, wanted: str | Path | None) -> bool:
    """Whether a folder has a lock for the Python wanted (None: for one that is here)."""
    locked = folder.locked_pythons
    if wanted is not None:
        return interpreters.named(wanted).minor in locked
    return any(interpreters.find_installed(python) is not None for python in locked)


def forget(folder: EnvironmentFolder) -> bool:
    """Remove the kept folder of an environment made from a pin; False for any other."""
    if not is_kept(folder):
        return False
    with storage_errors(folder.path):
        shutil.rmtree(folder.path)
    return True


def _resolve(pin: Pin, wanted: str | Path | None, progress: Progress) -> tuple[Interpreter, str]:
    requirements = _requirements(pin, pin.version)
    file = pin.template.file
    unsuited: list[str] = []
    failure: UvFailure | None = None
    for interpreter in _candidates(pin, wanted):
        try:
            text = compile_lock(
                requirements,
                python=interpreter.minor,
                interpreter=interpreter.path,
                command=f"harness env build {pin.package}=={pin.version}",
                extra_index=file.extra_index,
                find_links=file.find_links,
                exclude=file.exclude,
            )
        except UvError as error:
            failure = error.failure
            if failure.kind != "no-wheel":
                raise _refusal(pin, failure, interpreter.minor) from error
            unsuited.append(interpreter.minor)
            continue
        if unsuited:
            progress.note(
                f"{pin.package} {pin.version} has no wheels for Python {either(unsuited)}: "
                f"it is installed with Python {interpreter.version}"
            )
        return interpreter, text
    tags = f" ({failure.reason})" if failure is not None else ""
    raise ProvisionError(
        f"{pin.package}=={pin.version} cannot be installed with Python {either(unsuited)}{tags}.",
        "Choose another version, or install a Python that it has wheels for.",
    )


def _requirements(pin: Pin, version: str) -> tuple[str, ...]:
    """The template's requirements at another version, with what that version does not declare."""
    template = pin.template
    requirements = repin(
        read_requirements(template.path / REQUIREMENTS_FILE),
        pin.package,
        version,
        template.file.together,
    )
    return requirements + extra_requirements(pin.constraints, pin.package, requirements)


def _candidates(pin: Pin, wanted: str | Path | None) -> Iterator[Interpreter]:
    """The Pythons to try, the running one first; others are looked for only when reached."""
    if wanted is not None:
        yield interpreters.named(wanted)
        return
    yield interpreters.running()
    for python in pin.template.file.python:
        found = interpreters.find_installed(python)
        if found is not None and found != interpreters.running():
            yield found


def _refusal(pin: Pin, failure: UvFailure, python: str) -> HarnessError:
    doing = f"{pin.package}=={pin.version} cannot be resolved for Python {python}"
    if failure.kind not in {"version", "package", "other"}:
        return as_harness_error(failure, doing)
    if pin.package in failure.reason and failure.kind == "version":
        near = nearest_versions(pin.package, pin.version, python)
        if near:
            return EnvironmentSpecError(
                f"{doing}: {failure.reason}.",
                f"Nearest versions with wheels for Python {python}: {', '.join(near)}.",
            )
    return as_harness_error(failure, doing)


def _write(
    pin: Pin, target: Path, before: EnvironmentFolder | None, python: str, lock_text: str
) -> None:
    version = pinned_packages(lock_text).get(pin.package, pin.version)
    template = pin.template.file
    pythons = (*(before.file.python if before else ()), python)
    file = template.model_copy(
        update={
            "version": version,
            "python": tuple(dict.fromkeys(pythons)),
            "description": f"{pin.package} {version}, made from {pin.template.name}",
            "constraints": (),
        }
    )
    requirements = _requirements(pin, version)
    with storage_errors(target):
        if before is not None:
            (target / f"requirements-{python}.lock").write_text(lock_text, encoding="utf-8")
            staged = target / f".{ENV_FILE}.staged"
            staged.write_text(as_toml(file), encoding="utf-8")
            staged.replace(target / ENV_FILE)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(target) as folder:
            (folder / ENV_FILE).write_text(as_toml(file), encoding="utf-8")
            (folder / REQUIREMENTS_FILE).write_text(
                "\n".join(requirements) + "\n", encoding="utf-8"
            )
            (folder / f"requirements-{python}.lock").write_text(lock_text, encoding="utf-8")


def as_toml(file: EnvironmentFile) -> str:
    """The text of an `env.toml` (JSON's strings and arrays of strings are TOML too)."""
    document = file.model_dump(mode="json", exclude_defaults=True)
    tables = {
        name: document.pop(name, {}) for name in ("backends", "instruction_sets", "converters")
    }
    document.pop("constraints", None)
    lines = [f"{key} = {json.dumps(value)}" for key, value in document.items()]
    for table, entries in tables.items():
        lines += ["", f"[{table}]"]
        lines += [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in entries.items()]
    return "\n".join(lines) + "\n"
