"""What a backend accepts and how it refuses; and that none is imported before it is asked for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runner import backends
from runner.backends.base import LoadRequest, Offer, comparable, only_input, require_file
from runner.errors import RunnerError

OFFER = Offer("toy", ("onnx",), settings={"level": ("all", "none"), "fast": (True, False)})
REQUEST = LoadRequest("m.onnx", "onnx", {}, "f32", "cpu", threads=1, batch=1, item_shape=(3,))


def test_the_first_value_of_a_setting_is_its_default() -> None:
    assert OFFER.accept(REQUEST) == {"level": "all", "fast": True}
    asked = replace(REQUEST, settings={"fast": False})
    assert OFFER.accept(asked) == {"level": "all", "fast": False}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "tflite"}, r"format 'tflite' \(it supports: onnx\)"),
        ({"precision": "f16"}, r"precision 'f16' \(it supports: f32, default\)"),
        ({"device": "cuda"}, r"device 'cuda' \(it supports: cpu\)"),
        ({"settings": {"speed": 9}}, r"setting 'speed' \(it supports: level, fast\)"),
        ({"settings": {"level": "max"}}, r"level 'max' \(it supports: all, none\)"),
        ({"settings": {"fast": 1}}, r"fast 1 \(it supports: True, False\)"),
    ],
)
def test_what_is_not_offered_is_refused_with_what_is(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        OFFER.accept(replace(REQUEST, **changes))
    assert caught.value.kind == "unsupported"


def test_an_unknown_backend_names_those_there_are() -> None:
    with pytest.raises(RunnerError, match=r"backend 'theano' .*onnxruntime, openvino"):
        backends.create("theano", REQUEST)
    assert backends.probe("theano").ok is False


def test_a_model_must_take_one_input() -> None:
    only_input("toy", ["x"])
    with pytest.raises(RunnerError, match=r"2 inputs \(x, y\)"):
        only_input("toy", ["x", "y"])


def test_a_file_that_is_absent_is_told_and_so_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    require_file(str(tmp_path / "m.onnx"))
    for path in (tmp_path / "n.onnx", tmp_path):
        with pytest.raises(RunnerError, match=f"no such model file: {path}") as caught:
            require_file(str(path))
        assert caught.value.kind == "model"


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "complex64", "string", "int4"])
def test_what_answers_can_not_be_made_of_is_refused(dtype: str) -> None:
    assert comparable("toy", "y", "uint16") == "uint16"
    with pytest.raises(RunnerError, match=rf"toy .* dtype of y '{dtype}' \(it supports: float32"):
        comparable("toy", "y", dtype)


def test_what_is_asked_is_told_and_no_run_is_claimed_for_compile() -> None:
    ran = OFFER.ran(replace(REQUEST, precision="default"), {"level": "all"}, "absent-package")
    assert (ran["precision"], ran["runs_in_compile"]) == ("default", 0)
    assert "computes_in" not in ran


def test_no_framework_and_not_even_numpy_is_imported_by_the_entry_point() -> None:
    program = (
        "import sys, runner.__main__; print('numpy' in sys.modules, 'runner.worker' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(backends.__file__).parents[2],
    )
    assert done.stdout.split() == ["False", "False"]
