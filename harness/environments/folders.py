"""Environment folders: `env.toml`, `requirements.in` and a hash lock for each Python."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from harness.canonical import sha256_file
from harness.environments.instruction_sets import InstructionSet
from harness.errors import EnvironmentSpecError

ENV_FILE = "env.toml"
REQUIREMENTS_FILE = "requirements.in"
_PYTHON = r"^3\.\d+$"
_CONVERTER = r"^[a-z0-9_]+>[a-z0-9_]+(:[a-z0-9_]+)?$"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)")


def _is_specifier(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"{text!r} is not a version specifier such as '<1.19'") from error
    return text


def _is_version(text: str) -> str:
    try:
        Version(text)
    except InvalidVersion as error:
        raise ValueError(f"{text!r} is not a version such as '1.31.1'") from error
    return text


PythonVersion = Annotated[str, StringConstraints(pattern=_PYTHON)]
_SYSTEM_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+=[A-Za-z0-9][A-Za-z0-9.+:~-]*")


def _is_system_package(text: str) -> str:
    if not _SYSTEM_PACKAGE.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a Debian package with its version, such as "
            "'libgomp1=12.2.0-14+deb12u1' (`apt-cache policy NAME` gives versions)"
        )
    return text


SystemPackage = Annotated[str, AfterValidator(_is_system_package)]


def _without_options(value: object) -> object:
    """A list of names is short for converters without options."""
    return dict.fromkeys(value, ()) if isinstance(value, list | tuple) else value


Converters = Annotated[
    dict[Annotated[str, StringConstraints(pattern=_CONVERTER)], tuple[str, ...]],
    BeforeValidator(_without_options),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Constraint(_Strict):
    """Requirements that versions of the package within `when` need but do not declare."""

    when: Annotated[str, AfterValidator(_is_specifier)]
    requires: tuple[str, ...]


class EnvironmentFile(_Strict):
    """What `env.toml` says of an environment. An unknown key is refused."""

    stack: str = Field(min_length=1)
    """The framework by its common name: `onnxruntime`, `openvino`, `litert`, `torch`."""
    version: Annotated[str, AfterValidator(_is_version)]
    """The version of `package` that the locks pin."""
    package: str = Field(min_length=1)
    """The distribution that `name==version` pins."""
    together: tuple[str, ...] = ()
    """Distributions of `requirements.in` that are released with `package` and must have its
    version: a compiler and its runtime."""
    exclude: tuple[str, ...] = ()
    """Distributions that others declare and that nothing here uses: left out of the locks."""
    description: str = ""
    python: tuple[PythonVersion, ...] = Field(min_length=1)
    """Pythons (`X.Y`) that have a lock, the preferred first."""
    accelerator: Literal["cpu", "cuda", "rocm", "opencl"] = "cpu"
    backends: dict[str, tuple[str, ...]]
    """Backends by name, each with the model formats it reads; empty for one that runs no model:
    it prepares images or converts."""
    instruction_sets: dict[str, tuple[InstructionSet, ...] | str] = Field(default_factory=dict)
    """By backend, the ceilings on the processor's that it keeps to; a text says why none."""
    converters: Converters = Field(default_factory=dict)
    """Conversions offered, such as `onnx>torch`, each with the options that a person may choose."""
    preprocessors: tuple[str, ...] = ()
    """Libraries that decode and resize images here, the stack's own means first."""
    corruptions: tuple[str, ...] = ()
    """Libraries that corrupt pixels here: `imagecorruptions`."""
    local_version: str = Field(default="", pattern=r"^[a-z0-9.]*$")
    """Local label given to `name==version` without one: `cpu` makes 2.13.0 into 2.13.0+cpu."""
    extra_index: tuple[str, ...] = ()
    """Public upstream package indexes, asked only for what the configured ones lack."""
    find_links: tuple[str, ...] = ()
    """Public upstream pages of links, likewise."""
    system_packages: tuple[SystemPackage, ...] = ()
    """Debian packages, `name=version`, that an image needs beside the base, with all that they
    bring along; a virtual environment brings none."""
    constraints: tuple[Constraint, ...] = ()

    @model_validator(mode="after")
    def _is_of_use(self) -> EnvironmentFile:
        if not (self.backends or self.converters or self.preprocessors or self.corruptions):
            raise ValueError(
                "an environment has a backend, or else converters, preprocessors or corruptions: "
                "it is to do something"
            )
        return self

    @model_validator(mode="after")
    def _instruction_sets_of_backends(self) -> EnvironmentFile:
        if others := sorted(set(self.instruction_sets) - set(self.backends)):
            raise ValueError(f"instruction_sets names {', '.join(others)}, which is no backend")
        return self

    @model_validator(mode="after")
    def _no_credentials(self) -> EnvironmentFile:
        for url in (*self.extra_index, *self.find_links):
            if "@" in url.partition("//")[2].partition("/")[0]:
                raise ValueError("an index URL in env.toml may not hold a user or password")
        return self


@dataclass(frozen=True)
class EnvironmentFolder:
    """One environment folder, read and checked."""

    name: str
    path: Path
    file: EnvironmentFile

    def lock_path(self, python: str) -> Path:
        """The lock for Python `X.Y`: `requirements-X.Y.lock`, or a plain `requirements.lock`.

        Raises:
            EnvironmentSpecError: the folder has no lock for that Python.
        """
        named = self.path / f"requirements-{python}.lock"
        plain = self.path / "requirements.lock"
        if named.is_file():
            return named
        if plain.is_file() and self.file.python == (python,):
            return plain
        raise EnvironmentSpecError(
            f"Environment {self.name} has no lock for Python {python} (looked for {named.name}).",
            f"Write it with `harness env lock {self.path} --python {python}`.",
        )

    @property
    def locked_pythons(self) -> tuple[str, ...]:
        """The supported Pythons (`X.Y`) that really have a lock file, the preferred first."""
        return tuple(
            python
            for python in self.file.python
            if (self.path / f"requirements-{python}.lock").is_file()
            or ((self.path / "requirements.lock").is_file() and len(self.file.python) == 1)
        )


def read_folder(path: Path) -> EnvironmentFolder:
    """Read and check an environment folder; its name is the folder's.

    Raises:
        EnvironmentSpecError: no `env.toml`, not TOML, an unknown key or a bad value (each named).
    """
    source = path / ENV_FILE
    try:
        document = tomllib.loads(source.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise EnvironmentSpecError(
            f"{path} is not an environment folder: it has no {ENV_FILE}.",
            "See any folder below images/ for an example.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EnvironmentSpecError(f"{source} is not valid TOML: {error}.") from error
    except OSError as error:
        raise EnvironmentSpecError(f"{source} cannot be read: {error.strerror}.") from error
    try:
        file = EnvironmentFile.model_validate(document)
    except ValidationError as error:
        raise EnvironmentSpecError(
            f"{source} is not valid: {_problems(error)}.",
            f"Allowed keys: {', '.join(EnvironmentFile.model_fields)}.",
        ) from error
    return EnvironmentFolder(name=path.resolve().name, path=path.resolve(), file=file)


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {_wording(item)}"
        for item in error.errors()
    )


def _wording(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown key"
    return str(item["msg"]).removeprefix("Value error, ")


def pinned_packages(lock_text: str) -> dict[str, str]:
    """The packages that a lock pins, name to version, in the order of the file."""
    pins: dict[str, str] = {}
    for line in lock_text.splitlines():
        if match := _PIN.match(line):
            pins[match["name"]] = match["version"]
    return pins


def lock_hash(path: Path) -> str:
    """SHA-256 (hex) of a lock file.

    Raises:
        EnvironmentSpecError: the lock holds a package without hashes, or no package.
    """
    text = path.read_text(encoding="utf-8")
    pins = pinned_packages(text)
    if not pins:
        raise EnvironmentSpecError(f"{path} pins no package.", "Write it with `harness env lock`.")
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if (match := _PIN.match(line)) and "--hash=" not in line:
            raise EnvironmentSpecError(
                f"{path} pins {match['name']} without a hash.",
                "Write the lock again with `harness env lock`.",
            )
    return sha256_file(path)
