"""Names and pins lead to the right folder, or to a helpful refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environments import adhoc, interpreters, registry
from harness.environments.interpreters import running
from harness.errors import EnvironmentSpecError


def test_a_shipped_environment_is_found_and_resolved():
    env = registry.resolve("onnxruntime-1.31")
    assert (env.stack, env.version) == ("onnxruntime", "1.31.1")
    assert env.python == running().version


def test_a_typing_error_is_answered_with_close_names_and_all_names():
    with pytest.raises(EnvironmentSpecError) as error:
        registry.find("onnxrutime-1.31")
    assert "Did you mean onnxruntime-1.31" in str(error.value)
    assert "openvino-2026.4" in str(error.value)


def test_a_pin_of_a_shipped_version_is_the_shipped_environment():
    assert registry.name_of("onnxruntime==1.31.1") == "onnxruntime-1.31"
    assert registry.name_of("torch==2.13.0") == "torch-2.13"
    pinned, named = registry.resolve("openvino==2026.4.1"), registry.resolve("openvino-2026.4")
    assert pinned.identity == named.identity


def test_a_pin_of_another_version_has_a_name_before_it_is_made():
    assert registry.name_of("onnxruntime==1.25.1") == "onnxruntime-1.25.1"


def test_a_kept_pin_is_found_by_its_name_and_by_the_pin(make_folder):
    make_folder("onnxruntime-1.25.1", place=adhoc.home(), version="1.25.1")
    assert registry.resolve("onnxruntime-1.25.1").version == "1.25.1"
    assert registry.resolve("onnxruntime==1.25.1").name == "onnxruntime-1.25.1"
    assert "onnxruntime-1.25.1" in {folder.name for folder in registry.folders()}


def test_further_folders_come_from_the_option_and_the_variable(
    make_folder, tmp_path: Path, monkeypatch
):
    make_folder("mine-1.0", place=tmp_path / "a")
    make_folder("mine-2.0", place=tmp_path / "b")
    monkeypatch.setenv("HARNESS_IMAGES", str(tmp_path / "b"))
    names = {folder.name for folder in registry.folders([tmp_path / "a"])}
    assert {"mine-1.0", "mine-2.0", "onnxruntime-1.31"} <= names


def test_a_folder_is_understood_by_its_path(make_folder, tmp_path: Path):
    folder = make_folder("mine-1.0", place=tmp_path / "a")
    assert registry.find(f"{folder.path}") == folder


def test_a_missing_place_is_named(tmp_path: Path):
    with pytest.raises(EnvironmentSpecError, match="nowhere"):
        registry.folders([tmp_path / "nowhere"])


def test_a_broken_folder_does_not_hide_the_others(tmp_path: Path):
    broken = tmp_path / "images" / "broken-1.0"
    broken.mkdir(parents=True)
    (broken / "env.toml").write_text("colour = 1", encoding="utf-8")
    assert registry.find("onnxruntime-1.31", [tmp_path / "images"]).name == "onnxruntime-1.31"
    with pytest.raises(EnvironmentSpecError, match="colour"):
        registry.find("broken-1.0", [tmp_path / "images"])


def test_where_no_supported_python_is_here_nothing_is_described(make_folder, monkeypatch):
    monkeypatch.setattr(interpreters, "find_installed", lambda _: None)
    assert registry.describe(make_folder(pythons=("3.2",))) is None
