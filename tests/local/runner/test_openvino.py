"""OpenVINO in its shipped environment, on a small model: settings, precision, layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support.installed import cannot_install

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

Load = Callable[..., Any]


def convolution() -> onnx.ModelProto:
    """[N, 3, 5, 7] through Conv, Relu and a mean: [N, 4]."""
    generator = np.random.Generator(np.random.PCG64(3))
    weights = generator.standard_normal((4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["g"]),
            helper.make_node("Flatten", ["g"], ["y"]),
        ],
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 5, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(5))
    drawn: np.ndarray = generator.standard_normal((3, 3, 5, 7)).astype(np.float32)
    return drawn


@pytest.fixture
def load(start: Any, tmp_path: Path, rows: np.ndarray) -> Load:
    """Start a worker on the model and rows: `load(**job)`."""

    def begin(**changes: Any) -> Any:
        try:
            python = provision(resolve("openvino-2026.4"), SilentProgress()).python
        except HarnessError as error:
            cannot_install("openvino-2026.4", error)
        onnx.save(convolution(), tmp_path / "m.onnx")
        np.save(tmp_path / "x.npy", rows)
        return start(
            python=str(python),
            backend="openvino",
            model={"path": str(tmp_path / "m.onnx"), "format": "onnx"},
            inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": len(rows)},
            **changes,
        )

    return begin


def ran(worker: Any) -> Any:
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    return event["ran"]


@pytest.mark.parametrize("threads", [1, 2])
def test_f32_gives_the_reference_answers_and_tells_layers_and_threads(
    load: Load, rows: np.ndarray, threads: int
) -> None:
    worker = load(threads=threads)
    said = ran(worker)
    assert (said["precision"], said["computes_in"]) == ("f32", ["float32"])
    assert (said["threads"], said["streams"]) == (threads, 1)
    layers = said["operators"]
    assert sum(n for name, n in layers.items() if name.startswith("Convolution (")) == 1
    assert not [name for name in layers if name.startswith(("Const", "Input", "Output"))]
    assert worker.command("answers")["ok"]
    (expected,) = ReferenceEvaluator(convolution()).run(None, {"x": rows})
    np.testing.assert_allclose(worker.output(), expected, atol=1e-5)


def test_accuracy_as_execution_mode_keeps_float32_under_the_default_precision(load: Load) -> None:
    said = ran(load(precision="default", settings={"execution_mode": "accuracy"}))
    assert (said["precision"], said["computes_in"]) == ("default", ["float32"])
    assert said["settings"]["execution_mode"] == "accuracy"


def test_pinning_is_switched_off_when_asked(load: Load) -> None:
    assert ran(load(settings={"cpu_pinning": False}))["settings"]["cpu_pinning"] is False


def test_a_value_that_is_not_offered_is_refused(load: Load) -> None:
    worker = load(settings={"execution_mode": "fast"})
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "(it supports: performance, accuracy)" in worker.error()["message"]
