"""A failed build says why in the builder's own words; the programs on PATH are told apart."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.containers.engine import EngineInfo
from harness.environments import builder
from harness.environments.builder import build_failure, can_build, find_builder, programs
from harness.errors import ProvisionError

FAILED = """\
#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s
#7 [environment 1/1] RUN set -eu; uv pip install
#7 0.412 error: Hash mismatch for `numpy==2.4.6`
#7 0.413   from https://user:secret@index/simple
#7 ERROR: process "/bin/sh -c set -eu" did not complete successfully: exit code: 2
------
 > [environment 1/1] RUN set -eu:
------
Dockerfile:24
"""


def test_the_last_lines_of_a_builder_are_shown_without_passwords():
    error = build_failure("a-1.0", FAILED.splitlines(), 1)
    assert "image of a-1.0 cannot be built (exit status 1)" in error.message
    assert "error: Hash mismatch for `numpy==2.4.6`" in error.message
    assert "Dockerfile:24" not in error.message
    assert "secret" not in error.message


def test_a_full_disk_is_named_with_what_can_go():
    error = build_failure("a-1.0", ["#7 1.0 cp: write error: No space left on device"], 1)
    assert "no space is left on the engine's disk" in error.message
    assert "docker system df" in error.remedy


def test_an_engine_that_went_away_is_named():
    error = build_failure("a-1.0", ["ERROR: Cannot connect to the Docker daemon at unix:///x."], 1)
    assert "the container engine went away" in error.message


def fake_docker(folder: Path, version: str, buildx: str = "") -> None:
    folder.mkdir()
    script = folder / "docker"
    answer = f'echo "{buildx}"' if buildx else "exit 1"
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = version ]; then echo {version}; else {answer}; fi\n',
        encoding="utf-8",
    )
    script.chmod(0o755)


def engine(kind: str = "docker") -> SimpleNamespace:
    return SimpleNamespace(info=EngineInfo(kind, "1", "1.41", "unix:///x.sock"))


def path_of(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join(str(folder) for folder in folders))


def test_a_new_client_without_buildx_is_passed_over_for_an_old_one(tmp_path: Path, monkeypatch):
    fake_docker(tmp_path / "new", "28.2.2")
    fake_docker(tmp_path / "old", "20.10.24")
    path_of(monkeypatch, tmp_path / "new", tmp_path / "old")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    found = find_builder(engine())
    assert found.command[:2] == (str(tmp_path / "old" / "docker"), "build")
    assert found.environment["DOCKER_BUILDKIT"] == "1"
    assert found.environment["DOCKER_HOST"] == "unix:///x.sock"
    assert "DOCKER_CONTEXT" not in found.environment
    assert found.words == "docker 20.10.24 with BuildKit"


def test_a_new_client_with_buildx_builds_by_the_engines_own_builder(tmp_path: Path, monkeypatch):
    fake_docker(tmp_path / "new", "28.2.2", "github.com/docker/buildx 0.13.1 abc")
    path_of(monkeypatch, tmp_path / "new")
    found = find_builder(engine())
    assert found.command[1:6] == ("buildx", "build", "--builder", "default", "--load")
    assert found.words == "docker 28.2.2, github.com/docker/buildx 0.13.1"


def test_without_a_program_that_builds_the_remedy_names_one(tmp_path: Path, monkeypatch):
    fake_docker(tmp_path / "new", "28.2.2")
    path_of(monkeypatch, tmp_path / "new")
    with pytest.raises(ProvisionError) as error:
        find_builder(engine())
    assert f"{tmp_path / 'new' / 'docker'} is 28.2.2 and has no buildx" in str(error.value)
    assert "docker-buildx" in error.value.remedy
    path_of(monkeypatch, tmp_path)
    with pytest.raises(ProvisionError, match="no docker on PATH"):
        find_builder(engine())
    with pytest.raises(ProvisionError, match="podman"):
        find_builder(engine("podman"))


def test_one_program_reached_twice_is_listed_once(tmp_path: Path):
    fake_docker(tmp_path / "a", "1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "docker").symlink_to(tmp_path / "a" / "docker")
    path = f"{tmp_path / 'b'}:{tmp_path / 'a'}:{tmp_path / 'none'}"
    assert list(programs("docker", path)) == [tmp_path / "b" / "docker"]


def test_programs_are_asked_once_and_what_was_missing_is_looked_for_again(
    tmp_path: Path, monkeypatch
):
    fake_docker(tmp_path / "new", "28.2.2")
    path_of(monkeypatch, tmp_path / "new", tmp_path / "old")
    with pytest.raises(ProvisionError, match="has no buildx"):
        can_build(engine())
    fake_docker(tmp_path / "old", "20.10.24")
    assert can_build(engine()) == "docker 20.10.24 with BuildKit"

    def fail(*_args: object) -> str:
        raise AssertionError("a program was asked again")

    monkeypatch.setattr(builder, "_answer", fail)
    monkeypatch.setenv("MINE", "1")
    assert can_build(engine()) == "docker 20.10.24 with BuildKit"
    assert find_builder(engine()).environment["MINE"] == "1"
