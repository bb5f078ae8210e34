"""The identity of an environment is the hash of what is in it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from harness.environments.environment import environment_of
from harness.environments.folders import read_folder
from harness.environments.interpreters import Interpreter

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
