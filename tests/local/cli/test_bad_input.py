"""Bad input: one clear message that names the thing, the right exit code, nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from support.command import Harness
from support.small_model import write_inputs, write_model

ENV = ("--env", "onnxruntime-1.31")
Case = Callable[[Path], list[object]]


def _missing_model(folder: Path) -> list[object]:
    return ["--model", folder / "nothing.onnx", "--inputs", write_inputs(folder / "x.npy"), *ENV]


def _truncated_model(folder: Path) -> list[object]:
    whole = write_model(folder / "whole.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    return ["--model", folder / "cut.onnx", "--inputs", write_inputs(folder / "x.npy"), *ENV]


def _misfit(folder: Path) -> list[object]:
    _image(folder / "images" / "a.png")
    model = write_model(folder / "m.onnx")
    return ["--model", model, "--recipe", "torch", "--data", folder / "images", *ENV]


def _no_recipe(folder: Path) -> list[object]:
    _image(folder / "images" / "a.png")
    return ["--model", write_model(folder / "m.onnx"), "--data", folder / "images", *ENV]


def _empty_folder(folder: Path) -> list[object]:
    (folder / "images").mkdir()
    data = ["--data", folder / "images", "--synsets", folder / "classes.tsv"]
    (folder / "classes.tsv").write_text("0\tn00000001\ta\n")
    return [
        *("--model", _image_model(folder / "m.onnx"), "--recipe", "raw", *data, *ENV),
    ]


def _label_outside(folder: Path) -> list[object]:
    _image(folder / "images" / "a.png")
    (folder / "val.txt").write_text("a.png 1000\n")
    data = ["--data", folder / "images", "--labels", folder / "val.txt"]
    return ["--model", _image_model(folder / "m.onnx"), "--recipe", "raw", *data, *ENV]


def _unknown_environment(folder: Path) -> list[object]:
    model = write_model(folder / "m.onnx")
    inputs = write_inputs(folder / "x.npy")
    return ["--model", model, "--inputs", inputs, "--env", "onnxrutime-1.31"]


def _unresolvable(folder: Path) -> list[object]:
    model = write_model(folder / "m.onnx")
    inputs = write_inputs(folder / "x.npy")
    return ["--model", model, "--inputs", inputs, "--env", "onnxruntime==1.99"]


def _wrong_shape(folder: Path) -> list[object]:
    np.save(folder / "x.npy", np.zeros((4, 25), np.float32))
    return ["--model", write_model(folder / "m.onnx"), "--inputs", folder / "x.npy", *ENV]


def _nan_inputs(folder: Path) -> list[object]:
    rows = np.zeros((5, 24), np.float32)
    rows[3, 7] = np.nan
    np.save(folder / "x.npy", rows)
    return ["--model", write_model(folder / "m.onnx"), "--inputs", folder / "x.npy", *ENV]


def _nothing_to_run_on(folder: Path) -> list[object]:
    return ["--model", write_model(folder / "m.onnx"), *ENV]


def _no_environment(folder: Path) -> list[object]:
    return ["--model", write_model(folder / "m.onnx"), "--inputs", write_inputs(folder / "x.npy")]


def _unknown_key(folder: Path) -> list[object]:
    (folder / "s.yaml").write_text("modles: []\n")
    return [folder / "s.yaml"]


CASES: list[tuple[Case, int, list[str]]] = [
    (_missing_model, 2, ["nothing.onnx"]),
    (_truncated_model, 2, ["cut.onnx", "truncated"]),
    (_misfit, 2, ["m.onnx", "--inputs"]),
    (_no_recipe, 2, ["--recipe"]),
    (_empty_folder, 2, ["images"]),
    (_label_outside, 2, ["go up to 1000", "3 scores"]),
    (_unknown_environment, 2, ["onnxruntime-1.31", "Did you mean"]),
    (_unresolvable, 2, ["1.99", "Nearest versions"]),
    (_nan_inputs, 2, ["Row 3", "NaN"]),
    (_wrong_shape, 2, ["25"]),
    (_nothing_to_run_on, 2, ["--data", "--inputs"]),
    (_no_environment, 2, ["--env"]),
    (_unknown_key, 2, ["modles", "models"]),
]


def _image(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (16, 16)).save(path)


def _image_model(path: Path) -> Path:
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0),
        ],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


@pytest.mark.parametrize(("case", "status", "said"), CASES, ids=[c[0].__name__[1:] for c in CASES])
def test_bad_input_is_named_with_its_remedy(
    harness: Harness, tmp_path: Path, case: Case, status: int, said: list[str]
) -> None:
    done = harness("sweep", *case(tmp_path))
    assert done.status == status, done.err
    assert done.err.count("Error:") == 1
    for words in said:
        assert words in done.err
    assert list((tmp_path / "results").glob("*/*")) == []


def test_a_corrupt_image_is_named_and_left_out_of_every_cell(
    harness: Harness, tmp_path: Path
) -> None:
    for number in range(3):
        _image(tmp_path / "images" / f"{number}.png")
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    done = harness(
        *("sweep", "--model", _image_model(tmp_path / "m.onnx"), "--recipe", "raw"),
        *("--data", tmp_path / "images", "--env", "onnxruntime-1.31", "--env", "openvino-2026.4"),
        *("--no-timing", "--json"),
    )
    assert done.status == 0, done.err
    assert "broken.png" in done.err
    assert [c["images"] for c in done.json["cells"]] == [3, 3]
    assert [e["name"] for e in done.json["excluded"]] == ["broken.png"]


def test_a_store_that_cannot_be_written_is_refused_before_anything_runs(
    harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = harness(
        *("sweep", "--model", write_model(tmp_path / "m.onnx"), *ENV),
        *("--inputs", write_inputs(tmp_path / "x.npy"), "--store", tmp_path / "file"),
    )
    assert done.status == 2
    assert "--store DIR" in done.err


def test_a_full_store_loses_nothing_that_was_measured(harness: Harness, tmp_path: Path) -> None:
    """A file system of 24 megabytes."""
    model, inputs = write_model(tmp_path / "m.onnx"), write_inputs(tmp_path / "x.npy")
    store = tmp_path / "store"
    store.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    code = os.system(f"mount -t tmpfs -o size=24m tmpfs {store}")  # noqa: S605
    assert code == 0
    try:
        arguments = ("sweep", "--model", model, "--inputs", inputs, *ENV, "--rounds", 2)
        first = harness(*arguments, "--store", store, "--no-timing", "--json")
        assert first.status == 0, first.err
        (store / "filler").write_bytes(b"0" * (os.statvfs(store).f_bavail * 4096 - 8192))
        second = harness(
            *arguments, "--env", "openvino-2026.4", "--store", store, "--no-timing", "--json"
        )
        assert second.status == 2, second.err
        assert "No space is left" in second.err
        (store / "filler").unlink()
        third = harness(*arguments, "--store", store, "--no-timing", "--json")
        assert third.status == 0, third.err
        assert [c["status"] for c in third.json["cells"]] == ["resumed"]
        assert not list(store.glob("answers/*/.*"))
        assert not (store / ".work").exists()
    finally:
        os.system(f"umount {store}")  # noqa: S605


def test_a_reader_that_leaves_early_gets_no_status_of_ours(
    tmp_path: Path, surroundings: dict[str, str]
) -> None:
    """`harness env list | head -0`: ended by the signal, as other programs are."""
    with subprocess.Popen(
        [sys.executable, "-m", "harness.cli.main", "env", "list"],
        cwd=tmp_path,
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == -signal.SIGPIPE


def test_a_single_cell_is_timed_against_itself_and_reported(
    harness: Harness, tmp_path: Path
) -> None:
    model, inputs = write_model(tmp_path / "m.onnx"), write_inputs(tmp_path / "x.npy")
    done = harness("sweep", "--model", model, "--inputs", inputs, *ENV, "--rounds", 2, "--json")
    assert done.status == 0, done.err
    assert len(list((tmp_path / "results" / "reports").glob("*.html"))) == 1


def test_labels_given_later_judge_answers_that_are_there(harness: Harness, tmp_path: Path) -> None:
    model, inputs = write_model(tmp_path / "m.onnx"), write_inputs(tmp_path / "x.npy")
    arguments = ("sweep", "--model", model, "--inputs", inputs, *ENV, "--no-timing", "--json")
    first = harness(*arguments)
    assert first.json["cells"][0]["top1"] is None
    scores = np.load(next((tmp_path / "results").glob("answers/*/*/logits.npy")))
    np.save(tmp_path / "labels.npy", scores.argmax(axis=1))
    second = harness(*arguments, "--labels", tmp_path / "labels.npy")
    assert second.status == 0, second.err
    [cell] = second.json["cells"]
    assert (cell["status"], cell["top1"]) == ("resumed", 1.0)
    accuracy = harness("query", "SELECT top1 FROM accuracy", "--json")
    assert accuracy.json["rows"] == [[1.0]]
