"""ncnn in its shipped environment: the conversion of small models, and what runs them."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support.installed import cannot_install

from harness.environments.provision import Provisioned, provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENT = "ncnn-20261020"

Convert = Callable[..., Any]


def model(
    nodes: list[Any],
    outputs: dict[str, list[Any]],
    weights: dict[str, np.ndarray],
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """An ONNX model from `x`, float32 [N, 3, 5, 7]."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 5, 7])],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def two_outputs() -> onnx.ModelProto:
    """Odd sizes, and an output that another one is made of."""
    generator = np.random.Generator(np.random.PCG64(3))
    weights = {
        "w": generator.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "m": generator.standard_normal((4, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["scores"]),
    ]
    return model(nodes, {"scores": ["N", 5], "maps": ["N", 4, 5, 7]}, weights)


@pytest.fixture(scope="module")
def environment() -> Provisioned:
    """The environment, installed if it is not yet."""
    try:
        return provision(resolve(ENVIRONMENT), SilentProgress())
    except HarnessError as error:
        cannot_install(ENVIRONMENT, error)


@pytest.fixture
def convert(environment: Provisioned, tmp_path: Path) -> Convert:
    """Convert a model to `m.ncnn`: `convert(model, **options)` gives the event, or error.json."""

    def run(source: onnx.ModelProto, **options: Any) -> Any:
        onnx.save(source, tmp_path / "m.onnx")
        job = {
            "schema_version": 1,
            "kind": "convert",
            "work": str(tmp_path),
            "converter": "onnx>ncnn",
            "source": {"path": str(tmp_path / "m.onnx"), "format": "onnx"},
            "target": str(tmp_path / "m.ncnn"),
            "options": options,
        }
        (tmp_path / "job.json").write_text(json.dumps(job))
        done = subprocess.run(
            [str(environment.python), "-m", "runner", str(tmp_path / "job.json")],
            env=dict(os.environ, PYTHONPATH=str(REPOSITORY), PYTHONWARNINGS="error"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            assert not (tmp_path / "m.ncnn").exists(), "a failed conversion leaves no artifact"
            return json.loads((tmp_path / "error.json").read_text())
        return json.loads(done.stdout)

    return run


@pytest.fixture
def load(start: Any, environment: Provisioned, tmp_path: Path) -> Callable[..., Any]:
    """Start a worker on `m.ncnn` with three rows: `load(**job)`."""

    def begin(**changes: Any) -> Any:
        np.save(tmp_path / "x.npy", ROWS)
        return start(
            python=str(environment.python),
            backend="ncnn",
            model={"path": str(tmp_path / "m.ncnn"), "format": "ncnn"},
            inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": 3},
            **changes,
        )

    return begin


ROWS = np.random.Generator(np.random.PCG64(5)).standard_normal((3, 3, 5, 7)).astype(np.float32)


@pytest.mark.parametrize(
    "settings", [{}, {"winograd": False}, {"sgemm": False}, {"packing_layout": False}]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_f32_gives_the_reference_answers_by_every_setting(
    convert: Convert, load: Callable[..., Any], settings: dict[str, bool], threads: int
) -> None:
    assert convert(two_outputs(), batch=1)["probe_max_abs_diff"] < 1e-5
    worker = load(settings=settings, threads=threads)
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    assert event["input"]["shape"] == [1, 3, 5, 7]
    assert [one["name"] for one in event["outputs"]] == ["scores", "maps"]
    ran = event["ran"]
    assert (ran["precision"], ran["computes_in"]) == ("f32", ["float32"])
    assert (ran["reduced_precision"], ran["vulkan"]) == ([], False)
    assert ran["settings"] == {"winograd": True, "sgemm": True, "packing_layout": True, **settings}
    assert ran["operators"]["Convolution"] == 1
    assert ran["threads_started"] == threads - 1
    reply = worker.command("answers")
    assert [one["shape"] for one in reply["outputs"]] == [[3, 5], [3, 4, 5, 7]]
    for index, expected in enumerate(ReferenceEvaluator(two_outputs()).run(None, {"x": ROWS})):
        np.testing.assert_allclose(worker.output(index), expected, atol=1e-5)


def test_the_fingerprint_is_the_same_in_every_process_and_another_by_other_options(
    convert: Convert, load: Callable[..., Any]
) -> None:
    convert(two_outputs(), batch=1)

    def compiled(**changes: Any) -> Any:
        worker = load(fingerprint=True, **changes)
        event = worker.event()
        assert event is not None, (worker.wait(), worker.error(), worker.log())
        return event["compiled"]

    usual = compiled()
    assert usual == compiled()
    assert usual["form"] == "ncnn"
    assert usual["operators"]["Convolution"] == 1
    assert compiled(settings={"winograd": False})["sha256"] != usual["sha256"]


def test_the_default_precision_says_that_16_bits_are_allowed(
    convert: Convert, load: Callable[..., Any]
) -> None:
    convert(two_outputs())
    ran = load(precision="default").event()["ran"]
    assert "fp16_storage" in ran["reduced_precision"]
    assert ran["precision"] == "default"
    assert "computes_in" not in ran


def test_a_first_layer_that_works_in_place_leaves_the_input_as_it_was(
    convert: Convert, load: Callable[..., Any]
) -> None:
    first = model([helper.make_node("Relu", ["x"], ["y"])], {"y": ["N", 3, 5, 7]}, {})
    assert convert(first)["probe_max_abs_diff"] == 0
    worker = load()
    assert worker.event() is not None, worker.log()
    for _ in range(2):
        assert worker.command("answers")["ok"]
        assert (worker.output(0) == np.maximum(ROWS, 0)).all()


def test_the_same_model_is_the_same_file(convert: Convert, tmp_path: Path) -> None:
    first = convert(two_outputs())
    assert convert(two_outputs())["files"] == first["files"]
    with zipfile.ZipFile(tmp_path / "m.ncnn") as file:
        assert file.namelist() == ["model.param", "model.bin", "tensors.json"]


def test_a_batch_is_refused_by_converter_and_backend(
    convert: Convert, load: Callable[..., Any]
) -> None:
    refused = convert(two_outputs(), batch=2)
    assert refused["kind"] == "unsupported"
    assert "batch 2 (it supports: 1)" in refused["message"]
    convert(two_outputs())
    worker = load(batch=2)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"


def test_an_operator_without_a_layer_is_refused_by_name(convert: Convert) -> None:
    nodes = [helper.make_node("IsNaN", ["x"], ["n"]), helper.make_node("Cast", ["n"], ["y"], to=1)]
    refused = convert(model(nodes, {"y": ["N", 3, 5, 7]}, {}))
    assert refused["kind"] == "unsupported"
    assert "m.onnx: ncnn 1.0.20261020 has no layer for IsNaN" in refused["message"]


def test_an_integer_output_is_refused_because_ncnn_would_make_floats_of_it(
    convert: Convert,
) -> None:
    nodes = [helper.make_node("ArgMax", ["x"], ["y"], axis=1)]
    refused = convert(model(nodes, {"y": ["N", 1, 5, 7]}, {}, TensorProto.INT64))
    assert refused["kind"] == "unsupported"
    assert "dtype of y 'INT64'" in refused["message"]


def test_a_damaged_artifact_is_told(
    convert: Convert, load: Callable[..., Any], tmp_path: Path
) -> None:
    convert(two_outputs())
    whole = (tmp_path / "m.ncnn").read_bytes()
    (tmp_path / "m.ncnn").write_bytes(whole[: len(whole) // 2])
    worker = load()
    assert worker.wait() == 1
    assert worker.error()["kind"] == "model"
    assert "is truncated" in worker.error()["message"]


def test_the_environment_offers_backend_and_converter(environment: Provisioned) -> None:
    found = environment.probe["backends"]["ncnn"]
    assert (found["ok"], found["stack"], found["started"]) == (True, "ncnn", ["cpu"])
    assert environment.probe["builds"]["ncnn"]["package"] == "ncnn 1.0.20261020"
