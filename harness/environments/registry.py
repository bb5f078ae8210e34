"""Finds environments by name, and resolves what a person named to one for this machine."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version

from harness.containers.engine import Engine, connect
from harness.environments import adhoc, adopted, base, dockerfile, interpreters
from harness.environments.environment import (
    Environment,
    Executor,
    environment_of,
    image_environment_of,
)
from harness.environments.folders import ENV_FILE, EnvironmentFolder, read_folder
from harness.errors import EnvironmentSpecError, ProvisionError
from harness.paths import shipped
from harness.progress import Progress, SilentProgress


def folders(images: Sequence[Path] = ()) -> tuple[EnvironmentFolder, ...]:
    """Every environment folder, sorted by name; where two share a name, the first place wins.

    Places in order: `images`, the folders of HARNESS_IMAGES, those that ship with the harness,
    those made from `package==version`.

    Raises:
        EnvironmentSpecError: a folder of `images` or HARNESS_IMAGES is missing, or an `env.toml`
            is not valid.
    """
    paths = _paths(images)
    return tuple(read_folder(paths[name]) for name in sorted(paths))


def find(name: str, images: Sequence[Path] = ()) -> EnvironmentFolder:
    """The environment folder of that name; the path of a folder is understood too.

    Raises:
        EnvironmentSpecError: there is none; close names are suggested and all are listed.
    """
    if os.sep in name:
        return read_folder(Path(name).expanduser())
    known = _paths(images)
    if name in known:
        return read_folder(known[name])
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    suggestion = f"Did you mean {interpreters.either(close)}? " if close else ""
    raise EnvironmentSpecError(
        f"There is no environment {name!r}.",
        f"{suggestion}Known: {', '.join(sorted(known)) or 'none'}; "
        "or name a package and version, for example onnxruntime==1.25.1.",
    )


def name_of(reference: str, images: Sequence[Path] = ()) -> str:
    """The name that the environment of a reference has in results; nothing is made.

    Raises:
        EnvironmentSpecError: as `find`, or a pin that is not understood.
    """
    if adopted.is_adopted(reference):
        return adopted.name_of(reference)
    if not adhoc.is_pin(reference):
        return find(reference, images).name
    known = folders(images)
    pin = adhoc.parse_pin(reference, known)
    existing = _pinned_folders(pin, known)
    return existing[0].name if existing else pin.folder_name


def resolve(
    reference: str,
    python: str | Path | None = None,
    progress: Progress | None = None,
    images: Sequence[Path] = (),
    *,
    executor: Executor = "venv",
    engine: Engine | None = None,
) -> Environment:
    """The environment that a reference means on this machine.

    A version that nobody wrote a folder for is resolved and locked, and kept for the next time.
    Nothing is installed yet, but uv may download a Python if none is supported, and an image may
    get its base. `image:` and `python:` are probed: their identity is what is found in them, and
    they bring their own executor.

    Args:
        reference: a folder's name or path, `package==version`, `image:REPO/NAME@sha256:…` or
            `python:PATH`.
        python: `X.Y` or the path of an interpreter; by default the running Python where it is
            supported, else another one.
        progress: where long steps are reported to.
        images: folders with further environment folders.
        executor: `venv`, or `docker` for an environment of containers.
        engine: for `docker`; connected to where it is not given.

    Raises:
        EnvironmentSpecError: an unknown name, package or Python.
        ProvisionError: it cannot be resolved, no supported Python is here, or no base image.
        EngineError: no container engine answers, where one is needed.
    """
    progress = progress or SilentProgress()
    if adopted.is_adopted(reference):
        return adopted.resolve_adopted(reference, progress, engine).env
    folder = _folder_of(reference, python, progress, images)
    if executor == "venv":
        interpreter = interpreters.choose(
            folder.name, folder.locked_pythons, python, progress=progress
        )
        return environment_of(folder, interpreter, reference)
    found = base.ensure_base(
        engine or connect(), _base_pythons(folder, python), progress, name=folder.name
    )
    return image_environment_of(folder, found, dockerfile.sha256(), reference)


def describe(
    folder: EnvironmentFolder,
    python: str | Path | None = None,
    *,
    executor: Executor = "venv",
    engine: Engine | None = None,
) -> Environment | None:
    """The environment of a folder, without downloads.

    None where no supported Python is here or, for `docker`, no base image.

    Raises:
        EnvironmentSpecError: `python` was named and does not serve.
    """
    if executor == "docker":
        found = base.present(engine or connect(), _base_pythons(folder, python))
        return None if found is None else image_environment_of(folder, found, dockerfile.sha256())
    try:
        interpreter = interpreters.choose(
            folder.name, folder.locked_pythons, python, download=False
        )
    except ProvisionError:
        return None
    return environment_of(folder, interpreter)


def _folder_of(
    reference: str, python: str | Path | None, progress: Progress, images: Sequence[Path]
) -> EnvironmentFolder:
    """The folder of a name, path or pin; a pin without one is resolved and locked."""
    if not adhoc.is_pin(reference):
        return _locked(find(reference, images))
    known = folders(images)
    pin = adhoc.parse_pin(reference, known)
    for folder in _pinned_folders(pin, known):
        if adhoc.serves(folder, python):
            return _locked(folder)
    return _locked(adhoc.make(pin, python, progress))


def _locked(folder: EnvironmentFolder) -> EnvironmentFolder:
    if not folder.locked_pythons:
        raise EnvironmentSpecError(
            f"Environment {folder.name} has no lock.",
            f"Write it with `harness env lock {folder.path}`.",
        )
    return folder


def _base_pythons(folder: EnvironmentFolder, python: str | Path | None) -> tuple[str, ...]:
    """The Pythons `X.Y` whose bases serve a folder, the most wanted first.

    The running one leads, so that an image and a virtual environment of a folder are made from
    the same lock.

    Raises:
        EnvironmentSpecError: `python` is a path, or a version without a lock.
    """
    locked = folder.locked_pythons
    if python is None:
        running = interpreters.running().minor
        return tuple(sorted(locked, key=lambda one: one != running))
    text = str(python)
    if os.sep in text:
        raise EnvironmentSpecError(
            f"{text} is an interpreter of this machine; an image brings its own.",
            "Name a version X.Y with --python, or build a virtual environment: --executor venv.",
        )
    minor = ".".join(text.split(".")[:2])
    if minor not in locked:
        raise EnvironmentSpecError(
            f"Environment {folder.name} has no lock for Python {minor}; it supports "
            f"{interpreters.either(locked)}.",
            "Choose one of these.",
        )
    return (minor,)


def _pinned_folders(pin: adhoc.Pin, known: Sequence[EnvironmentFolder]) -> list[EnvironmentFolder]:
    """The folders that pin the same package to an equal version, those that ship first."""
    wanted = Version(pin.version)
    template = pin.template.file
    found = [
        folder
        for folder in known
        if folder.name == pin.folder_name
        or (
            not adhoc.is_kept(folder)
            and Version(folder.file.version) == wanted
            and (folder.file.package, folder.file.accelerator)
            == (template.package, template.accelerator)
            and (not pin.after or folder.name == pin.template.name)
        )
    ]
    return sorted(found, key=adhoc.is_kept)


def _paths(images: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in _places(images):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if (path / ENV_FILE).is_file() and not path.name.startswith("."):
                found.setdefault(path.name, path)
    return found


def _places(images: Sequence[Path]) -> list[Path]:
    named = [Path(part) for part in os.environ.get("HARNESS_IMAGES", "").split(os.pathsep) if part]
    for place in (*images, *named):
        if not place.is_dir():
            raise EnvironmentSpecError(
                f"{place}, named as a folder of environments, is not a folder.",
                "Correct --images or HARNESS_IMAGES.",
            )
    return [*images, *named, shipped("images"), adhoc.home()]
