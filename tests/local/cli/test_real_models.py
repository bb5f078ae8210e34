"""The main job on really trained weights and real images, and what a crash leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.command import Harness

STACKS = ("--env", "onnxruntime-1.31", "--env", "onnxruntime-1.17", "--env", "openvino-2026.4")


def mobilenet(data: Path) -> list[object]:
    return [
        *("--model", data / "models/mobilenet_v2_1.0_224_tf.onnx", "--recipe", "tf"),
        *("--class-offset", 1, "--data", data / "data/imagenet-sample/val"),
        *("--synsets", data / "data/imagenet-sample/synsets.tsv"),
    ]


def right(cell: dict[str, Any], measure: str) -> int:
    """Right answers of 500: counted in images, so that ±0.004 is two of them exactly."""
    return round(cell[measure] * 500)


def test_resnet_is_as_right_as_an_independent_loop_found(harness: Harness, real_data: Path) -> None:
    done = harness(
        *("sweep", "--model", real_data / "models/resnet50_v1_224_pruned.onnx"),
        *("--recipe", "torch", "--data", real_data / "data/imagenet-sample/val"),
        *("--env", "onnxruntime-1.31", "--no-timing", "--json"),
    )
    assert done.status == 0, done.err
    [cell] = done.json["cells"]
    assert right(cell, "top1") == pytest.approx(437, abs=2)
    assert right(cell, "top5") == pytest.approx(490, abs=2)


def test_mobilenet_is_as_right_as_an_independent_loop_found(
    harness: Harness, real_data: Path
) -> None:
    done = harness("sweep", *mobilenet(real_data), *STACKS, "--no-timing", "--json")
    assert done.status == 0, done.err
    for cell in done.json["cells"]:
        assert cell["images"] == 500
        assert right(cell, "top1") == pytest.approx(451, abs=2)
        assert right(cell, "top5") == pytest.approx(491, abs=2)
    for pair in done.json["pairs"]:
        assert pair["flips"] <= 1


def test_int8_and_float32_are_compared_as_models_of_their_own(
    harness: Harness, real_data: Path
) -> None:
    done = harness(
        *("sweep", *mobilenet(real_data)),
        *("--model", real_data / "models/mobilenet_v2_1.0_224_tf_int8_ptq.tflite"),
        *("--env", "onnxruntime-1.31", "--env", "litert-2.3", "--no-timing", "--json"),
    )
    assert done.status == 0, done.err
    cells = {(cell["route"], cell["environment"]): cell for cell in done.json["cells"]}
    float32, int8 = cells["onnx", "onnxruntime-1.31"], cells["tflite", "litert-2.3"]
    assert right(int8, "top1") == pytest.approx(444, abs=2)
    assert right(int8, "top5") == pytest.approx(490, abs=2)
    pairs = {(pair["a"], pair["b"]): pair for pair in done.json["pairs"]}
    pair = pairs[float32["key"], int8["key"]]
    assert "model" in pair["axes"]
    assert 16 <= pair["flips"] <= 28
    # The float model runs in LiteRT too, converted by TensorFlow: nothing of it changes a label.
    converted = cells["onnx>tflite", "litert-2.3"]
    assert pairs[float32["key"], converted["key"]]["flips"] <= 1
    # The int8 model runs in ONNX Runtime too, by integer kernels of its own.
    onward = cells["tflite>onnx", "onnxruntime-1.31"]
    assert right(onward, "top1") == pytest.approx(444, abs=6)
    assert done.json["skipped"] == []


def test_torch_runs_an_onnx_file_through_a_conversion_made_once(
    harness: Harness, real_data: Path, tmp_path: Path
) -> None:
    arguments = [
        *("sweep", *mobilenet(real_data), "--limit", 40),
        *("--env", "onnxruntime-1.31", "--env", "torch-2.13", "--rounds", 2, "--json"),
    ]
    done = harness(*arguments)
    assert done.status == 0, done.err
    [pair] = done.json["pairs"]
    assert pair["flips"] == 0
    assert 0 < pair["max_abs_diff"] < 1e-3
    assert pair["time_low"] <= pair["time_ratio"] <= pair["time_high"]
    [artifact] = (tmp_path / "results" / "artifacts").glob("*/*/artifact.json")
    assert json.loads(artifact.read_text())["converter"] == "onnx>torch"
    again = harness(*arguments)
    assert {c["status"] for c in again.json["cells"]} == {"resumed"}
    assert "Converting" not in again.err


def test_kill_in_the_middle_of_a_cell_keeps_the_others_and_leaves_no_process(
    harness: Harness, real_data: Path, tmp_path: Path, surroundings: dict[str, str]
) -> None:
    arguments = ["sweep", *mobilenet(real_data), *STACKS, "--no-timing", "--json"]
    assert harness("env", "build", "onnxruntime-1.31", "onnxruntime-1.17").status == 0
    with subprocess.Popen(
        [sys.executable, "-m", "harness.cli.main", *map(str, arguments)],
        cwd=tmp_path,
        env=surroundings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        answers = tmp_path / "results" / "answers"
        deadline = time.monotonic() + 300
        while not list(answers.glob("*/*/manifest.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.7)  # into the next cell
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
    finished = {path.parent.name for path in answers.glob("*/*/manifest.json")}
    assert 1 <= len(finished) < 3
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    done = harness(*arguments)
    assert done.status == 0, done.err
    resumed = {c["key"] for c in done.json["cells"] if c["status"] == "resumed"}
    assert resumed == finished
    assert {c["status"] for c in done.json["cells"]} == {"done", "resumed"}
    assert not (tmp_path / "results" / ".work").exists()


def test_query_gives_accuracy_a_cell_and_flips_a_pair(harness: Harness, real_data: Path) -> None:
    stacks = ("--env", "onnxruntime-1.31", "--env", "openvino-2026.4")
    sweep = harness(
        *("sweep", *mobilenet(real_data), *stacks, "--limit", 50, "--no-timing", "--json")
    )
    assert sweep.status == 0, sweep.err
    accuracy = harness("query", "SELECT environment, images, top1 FROM accuracy", "--json")
    assert accuracy.status == 0, accuracy.err
    columns = accuracy.json["columns"]
    rows = {row[0]: dict(zip(columns, row, strict=True)) for row in accuracy.json["rows"]}
    for cell in sweep.json["cells"]:
        assert rows[cell["environment"]]["top1"] == pytest.approx(cell["top1"])
        assert rows[cell["environment"]]["images"] == 50
    flips = harness("query", "SELECT flips, images FROM pairs WHERE NOT control", "--json")
    assert flips.json["rows"] == [[sweep.json["pairs"][0]["flips"], 50]]
