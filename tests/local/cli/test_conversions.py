"""Conversions on the command line: one model converted for real, kept, and the same in a sweep."""

from __future__ import annotations

from pathlib import Path

import onnx
from support.command import Harness
from support.small_model import write_inputs, write_model


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def test_a_model_is_converted_checked_and_kept(harness: Harness, tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", seed=3)
    command = ("model", "convert", model, "--to", "onnx", "--quantisation", "dynamic")
    made = harness(*command, "-o", "small.onnx", "--json")
    assert made.status == 0, made.err
    assert "Checked with inputs made on the spot (4 of seeded noise, 24)" in made.err.replace(
        "\n", " "
    )
    [step] = made.json["steps"]
    assert (made.json["status"], step["status"]) == ("made", "made")
    assert step["converter"] == "onnx>onnx:quantise"
    check = step["check"]
    assert check["images"] == 4
    assert 0 < check["share"] < 0.1
    assert check["tolerance"] == 0.5
    assert "DynamicQuantizeLinear" in operators(tmp_path / "small.onnx")
    before = (tmp_path / "small.onnx").read_bytes()

    taken = harness(*command, "-o", "small.onnx")
    assert taken.status == 2
    assert "exists already, and is left as it is" in taken.err
    again = harness(*command, "-o", "again.onnx")
    assert again.status == 0, again.err
    assert "Nothing was converted: all of it was made before." in again.out
    assert (tmp_path / "again.onnx").read_bytes() == before

    strict = harness(*command, "-o", "strict.onnx", "--tolerance", "1e-6", "--json")
    assert strict.status == 3
    assert strict.json["failure"]["kind"] == "disagreement"
    assert strict.json["failure"]["message"].startswith(
        f"onnx>onnx:quantise in {step['environment']}"
    )
    assert not (tmp_path / "strict.onnx").exists()


def test_a_step_that_fails_says_why_in_the_converters_words(
    harness: Harness, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "m.onnx", seed=3)
    (tmp_path / "out.onnx").write_bytes(b"mine")
    arguments = ("--to", "onnx", "--opset", "99", "-o", "out.onnx", "--force", "--json")
    done = harness("model", "convert", model, *arguments)
    assert done.status == 3, done.err
    failure = done.json["failure"]
    assert failure["kind"] == "unsupported"
    assert "onnx>onnx:opset" in failure["message"]
    assert Path(failure["log"]).is_file()
    assert (tmp_path / "out.onnx").read_bytes() == b"mine"


def test_a_sweep_takes_what_is_wanted_of_conversions_as_an_axis(
    harness: Harness, tmp_path: Path
) -> None:
    model, inputs = write_model(tmp_path / "m.onnx"), write_inputs(tmp_path / "x.npy", 20)
    arguments = (
        *("sweep", "--model", model, "--inputs", inputs, "--env", "onnxruntime-1.31"),
        *("--quantisation", "none", "--quantisation", "static", "--calibration", "10"),
        *("--no-timing", "--json"),
    )
    planned = harness(*arguments, "--dry-run")
    assert planned.status == 0, planned.err
    [step] = planned.json["conversions"]
    assert (step["converter"], step["status"]) == ("onnx>onnx:quantise", "to make")
    assert step["options"]["calibration"]["images"] == 10
    done = harness(*arguments)
    assert done.status == 0, done.err
    assert {cell["status"] for cell in done.json["cells"]} == {"done"}
    assert {c["key"] for c in done.json["cells"]} == {c["key"] for c in planned.json["cells"]}
    [after] = harness(*arguments, "--dry-run").json["conversions"]
    assert after["status"] == "made"
