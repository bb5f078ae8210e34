"""The identity of an environment is the hash of what is in it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.environments.environment import (
    Base,
    environment_of,
    from_folder,
    image_environment_of,
)
from harness.environments.folders import read_folder
from harness.environments.interpreters import Interpreter
from harness.errors import EnvironmentSpecError

BASE = Base("python:3.11-slim-bookworm", f"sha256:{'1' * 64}", "3.11", "registry", "2.36")
DOCKERFILE = "2" * 64
PYTHON = Interpreter(Path("/usr/bin/python3.11"), "3.11.7")


def test_an_environment_says_what_it_will_be(make_folder):
    env = environment_of(make_folder(), PYTHON)
    assert (env.name, env.stack, env.version) == ("onnxruntime-9.9", "onnxruntime", "9.9.0")
    assert env.backends == ("onnxruntime",)
    assert env.formats == {"onnxruntime": ("onnx",)}
    assert env.python == "3.11.7"
    assert env.lock_path.name == "requirements-3.11.lock"
    assert len(env.identity) == 64


def test_name_place_and_description_have_no_part_in_the_identity(make_folder, tmp_path: Path):
    folder = make_folder()
    other = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(folder.path, other)
    text = (other / "env.toml").read_text(encoding="utf-8")
    (other / "env.toml").write_text(f'description = "another"\n{text}', encoding="utf-8")
    assert (
        environment_of(read_folder(other), PYTHON).identity
        == environment_of(folder, PYTHON).identity
    )


def test_the_lock_and_the_python_have_a_part_in_the_identity(make_folder):
    folder = make_folder()
    before = environment_of(folder, PYTHON).identity
    assert environment_of(folder, replace(PYTHON, version="3.11.8")).identity != before
    lock = folder.lock_path("3.11")
    lock.write_text(lock.read_text(encoding="utf-8").replace("2.4.6", "2.4.7"), encoding="utf-8")
    assert environment_of(folder, PYTHON).identity != before


def test_identities_of_virtual_environments_never_change(make_folder, monkeypatch):
    """Stores resume by them: the value was computed before there were container images."""
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    env = environment_of(make_folder(), PYTHON)
    assert env.lock_sha256 == "6248bf60dd6e2eb9e7e025618411850fc0d8e79ddd10c6fc71062499cfccf6bb"
    assert env.identity == "c3fbd4f172221619ab8e2373eed08dc30640953999618bda897ffd6ebbeffc48"


def test_an_image_environment_takes_its_python_from_its_base(make_folder):
    env = image_environment_of(make_folder(), BASE, DOCKERFILE, "onnxruntime==9.9.0")
    assert (env.executor, env.kind, env.python) == ("docker", "folder", "3.11")
    assert env.reference == "onnxruntime==9.9.0"
    assert env.interpreter is None
    assert env.base == BASE
    assert from_folder(env).lock_path.name == "requirements-3.11.lock"


def test_the_identity_of_an_image_is_what_it_is_made_of(make_folder):
    folder = make_folder()

    def identity(base: Base = BASE, dockerfile: str = DOCKERFILE) -> str:
        return image_environment_of(folder, base, dockerfile).identity

    before = identity()
    assert identity(replace(BASE, reference="mirror/python:3.11", source="local")) == before
    others = {
        identity(replace(BASE, digest=f"sha256:{'3' * 64}")),
        identity(replace(BASE, machine="aarch64")),
        identity(replace(BASE, python="3.12")),
        identity(dockerfile="4" * 64),
        environment_of(folder, PYTHON).identity,
    }
    assert before not in others
    assert len(others) == 5


def test_system_packages_have_a_part_in_the_identity_with_their_versions(make_folder):
    def identity(name: str, packages: str) -> str:
        folder = make_folder(name, extra=f"system_packages = {packages}")
        return image_environment_of(folder, BASE, DOCKERFILE).identity

    plain = image_environment_of(make_folder(), BASE, DOCKERFILE).identity
    old = identity("b-9.9", '["libgomp1=12.2.0-14", "g++=4:12.2.0-3"]')
    assert old != plain
    assert identity("c-9.9", '["libgomp1=12.2.0-14+deb12u1", "g++=4:12.2.0-3"]') != old


@pytest.mark.parametrize("package", ["libgomp1", "libgomp1=", "libgomp1=1; reboot", "a=1 b=2"])
def test_a_system_package_without_a_version_and_a_name_for_a_shell_are_refused(
    make_folder, package: str
):
    with pytest.raises(EnvironmentSpecError, match=r"system_packages.*libgomp1=12\.2\.0"):
        make_folder("c-9.9", extra=f'system_packages = ["{package}"]')


def test_an_adopted_environment_has_no_folder(make_folder):
    adopted = replace(environment_of(make_folder(), PYTHON), folder=None, kind="python")
    with pytest.raises(ValueError, match="not made from a folder"):
        from_folder(adopted)
