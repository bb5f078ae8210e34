"""`harness env` prints what programs and people read."""

from __future__ import annotations

import contextlib
import json

import pytest
from typer.testing import CliRunner

from harness.cli import env
from harness.cli.env import app
from harness.cli.env_options import Place
from harness.doctor.gpus import Gpu, GpuSurvey
from harness.environments import provision, registry
from harness.errors import EnvironmentSpecError, ProvisionError, UsageError
from harness.progress import RichProgress


def run(*arguments: str, executor: str | None = "venv"):
    """Run a command; without an engine, unless one is asked for."""
    options = [] if executor is None else ["--executor", executor]
    return CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False)


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


def test_one_without_backends_is_said_to_prepare_images():
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)["environments"]}
    assert list(rows["imaging-13.0"]) == list(rows["onnxruntime-1.31"])
    assert rows["imaging-13.0"]["backends"] == []
    line = next(line for line in run("list").stdout.splitlines() if "imaging-13.0" in line)
    assert "none: prepares" in line
    document = json.loads(run("show", "imaging-13.0", "--json").stdout)
    assert document["preprocessors"] == ["pillow", "opencv"]
    assert document["corruptions"] == ["imagecorruptions"]
    assert document["settings"] == {}
    shown = [" ".join(line.split()) for line in run("show", "imaging-13.0").stdout.splitlines()]
    assert "backends none" in shown
    assert "preprocessors pillow, opencv" in shown
    assert any(line.startswith("settings not asked yet") for line in shown)


def test_show_gives_the_settings_of_preprocessors_and_corruptions(monkeypatch):
    event = {
        "preprocessors": {
            "pillow": {"ok": True, "offer": {"settings": {"draft": [False, True]}}},
            "opencv": {"ok": False, "offer": None},
        },
        "corruptions": {
            "imagecorruptions": {"ok": True, "offer": {"names": ["fog"], "severities": [1, 2]}}
        },
    }
    monkeypatch.setattr(provision, "kept_probe", lambda _env: event)
    document = json.loads(run("show", "imaging-13.0", "--json").stdout)
    assert document["settings"] == {
        "pillow": {"draft": [False, True]},
        "imagecorruptions": {"corruption": ["fog"], "severity": [1, 2]},
    }
    assert "pillow: draft = false | true" in run("show", "imaging-13.0").stdout


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


def test_what_only_images_use_is_refused_for_virtual_environments(tmp_path):
    pip_conf = tmp_path / "pip.conf"
    pip_conf.write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="--base, --pip-conf is for images"):
        run("build", "onnxruntime-1.31", "--base", "debian:12", "--pip-conf", str(pip_conf))


def test_secrets_that_are_not_there_are_named():
    with pytest.raises(UsageError, match=r"/nowhere/ca\.crt, named by --ca-bundle, is not a file"):
        run("build", "onnxruntime-1.31", "--ca-bundle", "/nowhere/ca.crt")


def test_a_platform_without_all_is_refused():
    with pytest.raises(UsageError, match="--all"):
        run("build", "onnxruntime-1.31", "--platform", "cpu")


def test_all_of_a_platform_that_has_none_builds_none():
    document = json.loads(run("build", "--all", "--platform", "opencl", "--json").stdout)
    assert document == {"environments": []}


def test_the_bill_of_materials_of_what_is_not_built_is_refused_with_the_command_to_build_it():
    with pytest.raises(UsageError) as error:
        run("sbom", "onnxruntime-1.31")
    assert "is not built (its state is absent)" in str(error.value)
    assert "harness env build onnxruntime-1.31 --executor venv" in str(error.value)


def test_a_base_is_named_or_made_but_not_both():
    with pytest.raises(UsageError, match="--use names an image that exists"):
        run("base", "--use", "debian:12", "--suite", "trixie", executor=None)


def test_every_command_explains_itself():
    for command in ("list", "show", "build", "base", "remove", "sbom", "probe", "compose", "lock"):
        done = run(command, "--help", executor=None)
        assert done.exit_code == 0
        assert len(done.stdout.splitlines()) > 5


@pytest.mark.parametrize("said", ["venv", "venv docker", "venv venv"])
def test_of_several_executors_in_the_environment_the_first_is_taken(monkeypatch, said: str):
    monkeypatch.setenv("HARNESS_EXECUTOR", said)
    done = run("list", executor=None)
    assert done.exit_code == 0
    assert "The state is that of their virtual environments" in done.stdout


def test_an_executor_that_is_none_is_refused_alone_and_in_a_list(monkeypatch):
    for said in ("slurm", "venv slurm"):
        monkeypatch.setenv("HARNESS_EXECUTOR", said)
        done = run("list", executor=None)
        assert done.exit_code == 2
        assert "'slurm' is not" in done.stderr


@pytest.mark.parametrize(
    ("said", "asked"), [("venv", "venv"), ("docker venv", "auto"), ("docker docker", "docker")]
)
def test_several_executors_in_the_environment_are_all_removed_from(monkeypatch, said, asked):
    seen = []

    @contextlib.contextmanager
    def place_of(executor):
        seen.append(executor.value)
        yield Place("venv", None)

    monkeypatch.setattr(env, "place_of", place_of)
    monkeypatch.setenv("HARNESS_EXECUTOR", said)
    assert run("remove", "onnxruntime-1.31", executor=None).exit_code == 0
    assert seen == [asked]


@pytest.mark.parametrize(
    ("gpus", "options", "cpu", "cuda"),
    [
        ((), (), True, False),
        ((Gpu(0, "GPU-1", "H200", 1, "570", "12.8"),), (), True, True),
        ((), ("--platform", "cuda"), False, True),
    ],
)
def test_all_leaves_out_cuda_where_there_is_no_gpu_and_says_how_to_get_it(
    monkeypatch, gpus, options, cpu: bool, cuda: bool
):
    built = []

    def refuse(env, progress):
        built.append(env.name)
        raise ProvisionError("not here.")

    monkeypatch.setattr("harness.doctor.gpus.survey", lambda: GpuSurvey(gpus=gpus))
    monkeypatch.setattr(provision, "provision", refuse)
    said: list[str] = []
    monkeypatch.setattr(RichProgress, "note", lambda _, text: said.append(text))
    with pytest.raises(ProvisionError):
        run("build", "--all", *options)
    assert ("onnxruntime-1.31" in built) is cpu
    assert ("onnxruntime-1.31-cuda" in built) is cuda
    left_out = [text for text in said if text.startswith("Left out")]
    assert bool(left_out) is (not cuda)
    if left_out:
        assert "onnxruntime-1.31-cuda" in left_out[0]
        assert "--all --platform cuda" in left_out[0]
