"""`harness model routes` shows the graph, and the ways that begin at a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.small_onnx import conv
from typer.testing import CliRunner

from harness.cli.model import app
from harness.errors import UsageError


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("HARNESS_IMAGES", raising=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(conv(channels=3).model().SerializeToString())
    return path


def run(*arguments: object) -> str:
    texts = ["routes", *map(str, arguments)]
    result = CliRunner().invoke(app, texts, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def read(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_the_graph_is_every_converter_with_its_places_and_options() -> None:
    [dynamo] = [c for c in read()["converters"] if c["converter"] == "torch>onnx:dynamo"]
    assert dynamo["environments"]["torch-2.13"] == ["opset", "folding"]
    assert (dynamo["source"], dynamo["target"]) == ("pt2", "onnx")
    assert "keras>onnx:tf2onnx" in run()


def test_the_graph_can_be_of_one_format_or_environment() -> None:
    found = read("--to", "torch")["converters"]
    assert {c["target"] for c in found} == {"pt2"}
    offered = read("--env", "tf2onnx-1.17")["converters"]
    assert {tuple(c["environments"]) for c in offered} == {("tf2onnx-1.17",)}
    assert "torch>onnx:dynamo" not in run("--env", "tf2onnx-1.17")


def test_a_model_has_one_way_to_each_format_and_each_backend(model: Path) -> None:
    document = read(model)
    assert document["format"] == "onnx"
    routes = {one["format"]: one for one in document["formats"]}
    assert routes["pt2"]["route"] == "onnx>torch"
    assert routes["pt2"]["steps"] == [{"converter": "onnx>torch", "environment": "torch-2.13"}]
    lite = [one for one in document["environments"] if one["environment"] == "litert-2.3"]
    assert [(one["backend"], one["route"]) for one in lite] == [("tflite", "onnx>tflite")]
    shown = run(model)
    assert "torch.eager, torch.jit, torch.compile, torch.export" in shown
    assert "onnx>tflite" in shown


def test_all_ways_of_a_name_without_its_file() -> None:
    found = read("mobilenet_v2@seeded", "--to", "tflite", "--all")["formats"]
    routes = [one["route"] for one in found]
    assert routes[0] == "weights>tflite"
    assert "weights>torch>onnx:torchscript>tflite" in routes
    assert run("mobilenet_v2@seeded", "--to", "tflite", "--all").count("weights>tflite") == 1


def test_a_way_may_be_to_one_environment(model: Path) -> None:
    document = read(model, "--env", "torch-2.13")
    assert {one["environment"] for one in document["environments"]} == {"torch-2.13"}
    assert {one["format"] for one in document["formats"]} == {"pt2", "keras"}
    assert "Nothing here converts onnx to tflite" in run(
        model, "--env", "torch-2.13", "--to", "tflite"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "tflit"), "No environment reads or writes the format 'tflit'"),
        (("--env", "torch-2.1"), "There is no environment 'torch-2.1'"),
        (("--all",), "--all and --architecture belong to a model"),
        (("nowhere.onnx",), r"There is no model file .*nowhere\.onnx"),
        (("mobilenet_v2@seeded", "--env", "imaging-13.0"), "imaging-13.0 runs no model"),
    ],
)
def test_what_there_is_not_is_told(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(*arguments)
