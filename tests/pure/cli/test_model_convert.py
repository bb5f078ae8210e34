"""`harness model convert`: what it asks for, what it prints, what it leaves where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.planned_chain import cell, spec
from support.small_onnx import conv
from typer.testing import CliRunner

from harness.cli.model import app
from harness.errors import EXIT_CELLS_FAILED, UsageError
from harness.execution import convert_model
from harness.execution.attempts import Failure
from harness.execution.convert_model import Converted, Intent
from harness.execution.convert_steps import StepDone

CHECK = {
    "images": 4,
    "max_abs_diff": 0.0005,
    "share": 0.00002,
    "tolerance": 0.01,
    "source": "onnxruntime in a",
    "target": "tflite in b",
    "note": "",
}


class Planted:
    """Takes the place of converting: remembers what was asked, gives what is planted."""

    def __init__(self, artifact: Path) -> None:
        self.artifact = artifact
        self.failure: Failure | None = None
        self.kept = False
        self.intents: list[Intent] = []

    def __call__(self, intent: Intent, _progress: object) -> Converted:
        self.intents.append(intent)
        conversion = cell(spec()).conversion
        assert conversion is not None
        first, second = conversion.chain
        failed = self.failure is not None
        status: Any = "kept" if self.kept else "made"
        seconds = None if self.kept else 2.0
        last = (
            StepDone(second, "failed", 1.5) if failed else StepDone(second, status, seconds, CHECK)
        )
        return Converted(
            model="m",
            route="onnx>keras>tflite",
            format="tflite",
            steps=(StepDone(first, status, seconds), last),
            artifact=None if failed else self.artifact,
            axes={}
            if failed
            else {"input_axes": [0, 2, 3, 1], "output_axes": [None, [0, 3, 1, 2]]},
            failure=self.failure,
            log=Path("/kept/log.txt") if failed else None,
            inputs_made=intent.inputs_made,
        )


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    for name in ("HARNESS_EXECUTOR", "HARNESS_IMAGES"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("m.onnx").write_bytes(conv(channels=3).model().SerializeToString())
    (tmp_path / "artifact").write_bytes(b"converted")
    made = Planted(tmp_path / "artifact")
    monkeypatch.setattr(convert_model, "convert", made)
    return made


def run(*arguments: object, code: int = 0) -> str:
    texts = ["convert", *map(str, arguments)]
    result = CliRunner().invoke(app, texts, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_the_result_lies_in_the_current_folder_and_every_step_is_told(planted: Planted) -> None:
    shown = run("m.onnx", "--to", "tflite")
    assert Path("m.tflite").read_bytes() == b"converted"
    assert "1. onnx>keras in maker: made (2.0 s)" in shown
    assert "not compared with its source: nothing here can run it" in shown
    assert "largest difference 0.0005 over 4 inputs, 0.002 % of the range (1 % allowed)" in shown
    assert "onnxruntime in a against tflite in b" in shown
    assert "Its input is the model's, transposed: x.transpose(0, 2, 3, 1)." in shown
    assert "Its output 1, transposed by (0, 3, 1, 2), is the model's." in shown
    assert "m as onnx>keras>tflite: " in shown


def test_a_second_time_says_that_nothing_was_converted(planted: Planted) -> None:
    planted.kept = True
    shown = run("m.onnx", "--to", "tflite", "-o", "again.tflite")
    assert "1. onnx>keras in maker: kept\n" in shown
    assert "Nothing was converted: all of it was made before." in shown


def test_programs_read_the_same(planted: Planted) -> None:
    document = json.loads(run("m.onnx", "--to", "tflite", "--json"))
    assert document["path"] == str(Path.cwd() / "m.tflite")
    assert (document["status"], document["failure"]) == ("made", None)
    assert [step["status"] for step in document["steps"]] == ["made", "made"]
    assert document["steps"][1]["check"] == CHECK
    assert document["inputs_made"] == "4 of seeded noise, 3 x 9 x 8"
    assert document["input_axes"] == [0, 2, 3, 1]


def test_what_is_asked_reaches_the_plan(planted: Planted, tmp_path: Path) -> None:
    run(
        *("m.onnx", "--route", "onnx>tflite:onnx2tf", "--quantisation", "dynamic"),
        *("--input-layout", "nhwc", "--folding", "false", "--tolerance", "0.2"),
        *("--timeout", "60", "--data", tmp_path, "--recipe", "tf", "--executor", "venv"),
    )
    [intent] = planted.intents
    axes, checks = intent.spec.axes, intent.spec.conversions
    assert (axes.route, axes.quantisation, axes.layout) == (
        ("onnx>tflite:onnx2tf",),
        ("dynamic",),
        ("nhwc",),
    )
    assert axes.folding == (False,)
    assert (checks.tolerance, checks.quantised_tolerance, checks.float16_tolerance) == (0.2,) * 3
    assert checks.timeout_seconds == 60
    assert intent.spec.executor == ("venv",)
    assert intent.spec.data is not None
    assert (intent.spec.data.path, intent.inputs_made) == (tmp_path, "")


def test_a_failure_names_the_step_ends_with_three_and_writes_nothing(planted: Planted) -> None:
    planted.failure = Failure("k", "timeout", "step 2, keras>tflite in maker: too long")
    Path("m.tflite").write_bytes(b"mine")
    shown = run("m.onnx", "--to", "tflite", "--force", code=EXIT_CELLS_FAILED)
    assert "2. keras>tflite in maker: failed (1.5 s)" in shown
    assert "Failed (timeout): step 2, keras>tflite in maker: too long" in shown
    assert "--timeout SECONDS allows more" in shown
    assert "Its log: /kept/log.txt" in shown
    assert Path("m.tflite").read_bytes() == b"mine"
    document = json.loads(
        run("m.onnx", "--to", "tflite", "--force", "--json", code=EXIT_CELLS_FAILED)
    )
    assert (document["status"], document["path"]) == ("failed", None)
    assert document["failure"]["kind"] == "timeout"
    assert document["failure"]["log"] == "/kept/log.txt"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Give either the format"),
        (("--to", "tflite", "--route", "onnx>tflite"), "Give either the format"),
        (("--to", "tflite", "--data", "d", "--inputs", "x.npy"), "Give either images"),
        (("--to", "tflite", "-o", "nowhere/m.tflite"), r"There is no folder .*nowhere"),
        (("--to", "tflite", "-o", "taken"), r"taken exists already"),
        (("--to", "onnx", "--opset", "13"), r"m\.onnx is where the model itself lies"),
    ],
)
def test_bad_usage_converts_nothing(planted: Planted, options: tuple[str, ...], said: str) -> None:
    Path("taken").touch()
    with pytest.raises(UsageError, match=said):
        run("m.onnx", *options)
    assert planted.intents == []
