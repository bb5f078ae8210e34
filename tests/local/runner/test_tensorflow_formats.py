"""Keras, SavedModel, frozen graph and TensorFlow Lite become each other, quantised where asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.environment_python import interpreter, run_inside

HERE = Path(__file__).parent
STACKS = ("tensorflow-2.21", "tensorflow-2.15")
CALIBRATED = 5
STATIC = {"quantisation": "static"}
JOBS = [
    ("saved", "keras>savedmodel", "two.keras", "two.savedmodel", {}),
    ("many", "keras>savedmodel", "many.keras", "many.savedmodel", {}),
    ("graph", "savedmodel>graphdef", "two.savedmodel", "two.pb", {}),
    ("many_graph", "savedmodel>graphdef", "many.savedmodel", "many.pb", {}),
    ("again", "graphdef>savedmodel", "many.pb", "again.savedmodel", {}),
    ("lite", "keras>tflite", "two.keras", "lite.tflite", {}),
    ("saved_lite", "savedmodel>tflite", "two.savedmodel", "saved_lite.tflite", {"batch": 2}),
    ("graph_lite", "graphdef>tflite", "two.pb", "graph_lite.tflite", {}),
    ("dynamic", "savedmodel>tflite", "two.savedmodel", "dynamic.tflite", {"quantisation": "dynamic"}),
    ("float16", "graphdef>tflite", "two.pb", "float16.tflite", {"quantisation": "float16"}),
    ("static", "keras>tflite", "two.keras", "static.tflite", STATIC),
    ("static_two", "savedmodel>tflite", "two.savedmodel", "b2.tflite", {**STATIC, "batch": 2}),
    ("static_onnx", "onnx>tflite", "conv.onnx", "conv.tflite", STATIC),
    ("erf", "savedmodel>tflite", "erf.savedmodel", "no", {}),
    ("sine", "savedmodel>tflite", "sine.savedmodel", "no", STATIC),
    ("nothing", "savedmodel>tflite", "nothing.savedmodel", "no", {"quantisation": "dynamic"}),
    ("nothing16", "savedmodel>tflite", "nothing.savedmodel", "no", {"quantisation": "float16"}),
    ("int4", "graphdef>tflite", "two.pb", "no", {"quantisation": "int4"}),
    ("uncalibrated", "keras>tflite", "two.keras", "no", {**STATIC, "uncalibrated": True}),
    ("unknown", "keras>savedmodel", "two.keras", "no", {"quantisation": "dynamic"}),
    ("misfit", "savedmodel>tflite", "two.savedmodel", "no", {"item_shape": [8, 8, 3]}),
    ("damaged", "savedmodel>graphdef", "damaged.savedmodel", "no", {}),
    ("absent", "savedmodel>tflite", "absent.savedmodel", "no", {}),
]  # fmt: skip
IN_KERAS_2 = ("saved", "graph", "lite", "saved_lite", "dynamic", "float16", "static", "erf", "sine")
"""The jobs that the older stack is asked for."""
QUANTISED = {"dynamic": 0.02, "float16": 0.001, "static": 0.05}
"""How far answers are off at most, of the largest one; each is off at all."""


def conv_onnx(path: Path) -> None:
    """A convolution that takes [N, 3, 8, 6]."""
    generator = np.random.Generator(np.random.PCG64(4))
    kernel = generator.normal(0, 0.2, (40, 3, 3, 3)).astype("f4")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 40, 6, 4])],
        [numpy_helper.from_array(kernel, "w")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    """The folder of all that an environment made, and what was converted, or the error."""

    @cache
    def make(environment: str) -> tuple[Path, dict[str, Any]]:
        folder = tmp_path_factory.mktemp(environment)
        rows = np.random.Generator(np.random.PCG64(7)).normal(size=(6, 8, 6, 3))
        np.save(folder / "rows.npy", rows.astype("f4"))
        conv_onnx(folder / "conv.onnx")
        jobs = [job for job in JOBS if environment == STACKS[0] or job[0] in IN_KERAS_2]
        (folder / "jobs.json").write_text(json.dumps(jobs))
        run_inside(environment, HERE / "tensorflow_formats.py", folder)
        return folder, json.loads((folder / "done.json").read_text())

    return make


@pytest.fixture
def answers(start: Any, made: Any) -> Callable[..., tuple[dict[str, Any], list[np.ndarray]]]:
    """What a backend says and answers: `answers(maker, environment, backend, file, **job)`."""

    def ask(
        maker: str, environment: str, backend: str, name: str, **changes: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        folder, _ = made(maker)
        form = {".tflite": "tflite", ".pb": "graphdef"}.get(Path(name).suffix, "savedmodel")
        worker = start(
            python=interpreter(environment),
            backend=backend,
            model={"path": str(folder / name), "format": form},
            inputs={"kind": "array", "path": str(folder / "rows.npy"), "count": 6},
            **changes,
        )
        event = worker.event()
        assert event is not None, (worker.wait(), worker.error(), worker.log())
        assert worker.command("answers")["ok"]
        assert worker.command("finish") == {"ok": True}
        assert worker.wait() == 0
        return event, [worker.output(place) for place in range(2)]

    return ask


def expected(folder: Path) -> list[np.ndarray]:
    """What the Keras model answers."""
    return [np.load(folder / f"expected_{place}.npy") for place in range(2)]


@pytest.mark.parametrize("stack", STACKS)
def test_each_file_answers_as_its_source_and_nothing_is_quantised(made: Any, stack: str) -> None:
    folder, done = made(stack)
    plain = ("saved", "many", "graph", "many_graph", "again", "lite", "saved_lite", "graph_lite")
    for name in done.keys() & plain:
        assert done[name].get("kind") is None, done[name]
        assert 0 <= done[name]["probe_max_abs_diff"] < 1e-5, name
    sizes = {(folder / f"{name}.tflite").stat().st_size for name in ("lite", "saved_lite")}
    assert min(sizes) > 4 * (3 * 9 * 32 + 32 * 9 * 48 + 48 * 110)
    assert "two.savedmodel/saved_model.pb" in done["saved"]["files"]
    assert "two.savedmodel/variables/variables.index" in done["saved"]["files"]


@pytest.mark.parametrize(
    ("stack", "file"),
    [(STACKS[0], "two.savedmodel"), (STACKS[0], "two.pb"), (STACKS[1], "two.savedmodel")],
)
def test_tensorflow_reads_them_with_outputs_in_the_models_order(
    answers: Any, made: Any, stack: str, file: str
) -> None:
    event, got = answers(stack, stack, "tensorflow.graph", file, batch=2)
    assert [output["shape"] for output in event["outputs"]] == [[None, 70], [None, 40]]
    for one, other in zip(got, expected(made(stack)[0]), strict=True):
        assert np.abs(one - other).max() < 1e-5


def test_twelve_outputs_stay_in_order_through_three_files(
    start: Any, made: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.ones((1, 4), "f4"))
    worker = start(
        python=interpreter(STACKS[0]),
        backend="tensorflow.graph",
        model={"path": str(made(STACKS[0])[0] / "again.savedmodel"), "format": "savedmodel"},
        inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": 1},
    )
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    assert [output["shape"][1] for output in event["outputs"]] == list(range(1, 13))


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin"])
@pytest.mark.parametrize("kind", QUANTISED)
def test_a_quantised_file_takes_float32_and_answers_nearly_as_the_model(
    answers: Any, made: Any, kind: str, kernels: str
) -> None:
    event, got = answers(
        STACKS[0], "litert-2.3", "tflite", f"{kind}.tflite", settings={"kernels": kernels}
    )
    assert [event["input"][key] for key in ("dtype", "scale")] == ["float32", None]
    assert {output["dtype"] for output in event["outputs"]} == {"float32"}
    assert ("int8" in event["ran"]["computes_in"]) == (kind == "static")
    for one, other in zip(got, expected(made(STACKS[0])[0]), strict=True):
        # The last row was no calibration input, and may go beyond the ranges that these have.
        off = np.abs(one - other)[:CALIBRATED].max() / np.abs(other).max()
        assert 0 < off < QUANTISED[kind]


@pytest.mark.parametrize("stack", STACKS)
def test_quantised_files_are_smaller(made: Any, stack: str) -> None:
    folder, done = made(stack)
    plain = (folder / "lite.tflite").stat().st_size
    for kind, share in {"dynamic": 0.5, "float16": 0.7, "static": 0.5}.items():
        assert done[kind].get("kind") is None, done[kind]
        assert (folder / f"{kind}.tflite").stat().st_size < share * plain


def test_calibration_inputs_are_laid_out_and_batched_as_the_file_takes_them(made: Any) -> None:
    _, done = made(STACKS[0])
    for name in ("static_onnx", "static_two"):
        assert done[name].get("kind") is None, done[name]
        # The seeded input goes beyond the ranges of the calibration inputs.
        assert 0 < done[name]["probe_max_abs_diff"] < 0.6
    assert done["static_onnx"]["input_axes"] == [0, 2, 3, 1]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("erf", "unsupported", "TensorFlow Lite has no operator for TensorFlow's Erf; make"),
        ("sine", "unsupported", "no integer kernel for SIN and left 1 of 2 operators in float"),
        ("nothing", "unsupported", "found nothing to quantise for quantisation=dynamic"),
        ("nothing16", "unsupported", "found nothing to quantise for quantisation=float16"),
        ("int4", "unsupported", "quantisation int4 (it supports: dynamic, static, float16)"),
        ("uncalibrated", "unsupported", "static quantisation chooses the ranges of integers"),
        ("unknown", "unsupported", "keras>savedmodel does not support the option quantisation"),
        ("misfit", "unsupported", "takes [None, 8, 6, 3] and [1, 8, 8, 3] was asked for"),
        ("damaged", "model", "gives NaN or infinity on a seeded input before it is converted"),
        ("absent", "model", "is no SavedModel"),
    ],
)
def test_what_can_not_be_is_refused(made: Any, name: str, kind: str, words: str) -> None:
    folder, done = made(STACKS[0])
    _, older = made(STACKS[1])
    assert older.get(name, done[name]) == done[name]
    assert words.replace("'", "") in done[name]["message"].replace("'", "")
    assert done[name]["kind"] == kind
    assert not (folder / "no").exists()
