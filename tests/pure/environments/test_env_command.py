"""`harness env` prints what programs and people read."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from harness.cli.env import app
from harness.environments import provision, registry
from harness.errors import EnvironmentSpecError, ProvisionError, UsageError


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_the_list_has_the_shape_of_the_design():
    document = json.loads(run("list", "--json").stdout)
    assert list(document) == ["environments"]
    rows = {row["name"]: row for row in document["environments"]}
    assert rows["onnxruntime-1.31"] == {
        "name": "onnxruntime-1.31",
        "stack": "onnxruntime",
        "version": "1.31.1",
        "accelerator": "cpu",
        "backends": ["onnxruntime"],
        "state": "absent",
    }


def test_the_table_names_every_environment():
    output = run("list").stdout
    for folder in registry.folders():
        assert folder.name in output


def test_show_gives_packages_identity_and_place():
    document = json.loads(run("show", "onnxruntime-1.31", "--json").stdout)
    env = registry.resolve("onnxruntime-1.31")
    assert document["packages"]["onnxruntime"] == "1.31.1"
    assert document["identity"] == env.identity
    assert document["path"] == str(provision.venv_path(env))
    assert document["state"] == "absent"
    assert "onnxruntime 1.31.1" in run("show", "onnxruntime-1.31").stdout


def test_an_unknown_name_is_refused():
    with pytest.raises(EnvironmentSpecError, match="no environment 'nonesuch'"):
        run("show", "nonesuch")


def test_build_wants_a_name():
    with pytest.raises(UsageError, match="No environment is named"):
        run("build")


def test_a_build_that_fails_does_not_stop_the_others(monkeypatch):
    def refuse(env, progress):
        raise ProvisionError(f"{env.name} is refused.")

    monkeypatch.setattr(provision, "provision", refuse)
    with pytest.raises(ProvisionError) as error:
        run("build", "onnxruntime-1.31", "openvino-2026.4")
    assert "2 of 2" in str(error.value)
    assert "openvino-2026.4 is refused" in str(error.value)


def test_removing_what_is_not_installed_says_so():
    assert "was not installed" in run("remove", "onnxruntime-1.31").stdout
