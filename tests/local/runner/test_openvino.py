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


def convolution(seed: int = 3) -> onnx.ModelProto:
    """[N, 3, 5, 7] through Conv, Relu and a mean: [N, 4]."""
    generator = np.random.Generator(np.random.PCG64(seed))
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
    """Start a worker on a model and rows: `load(model, **job)`."""

    def begin(model: onnx.ModelProto | None = None, **changes: Any) -> Any:
        try:
            python = provision(resolve("openvino-2026.4"), SilentProgress()).python
        except HarnessError as error:
            cannot_install("openvino-2026.4", error)
        onnx.save(model or convolution(), tmp_path / "m.onnx")
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


def sigmoids() -> onnx.ModelProto:
    """[N, 3, 5, 7] through elementwise operators that snippets put into one kernel: the same."""
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("Mul", ["t", "x"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sigmoids",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 5, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 5, 7])],
        [numpy_helper.from_array(np.full((1, 3, 1, 1), 0.5, np.float32), "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def compiled(worker: Any) -> dict[str, Any]:
    """The fingerprint of a worker that was asked for one."""
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    found: dict[str, Any] = event["compiled"]
    assert "absent" not in found, found
    return found


@pytest.fixture(scope="module")
def looked() -> dict[str, Any]:
    """Holds the form without settings, once a test has asked for it."""
    return {}


@pytest.fixture
def usual(load: Load, looked: dict[str, Any]) -> dict[str, Any]:
    """What the model is compiled to without settings."""
    if not looked:
        looked.update(compiled(load(fingerprint=True)))
    return looked


def test_the_fingerprint_is_the_same_in_every_process_and_tells_the_passes(
    load: Load, usual: dict[str, Any]
) -> None:
    first = compiled(load(fingerprint=True))
    assert first == usual
    assert first["form"] == "openvino"
    assert sum(n for name, n in first["operators"].items() if "Convolution" in name) == 1
    assert len(first["passes"]) > 3
    assert first["code_bytes"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"model": convolution(seed=4)},
        {"settings": {"denormals_optimization": True}},
        {"settings": {"cpu_pinning": False}},
        {"settings": {"properties": {"LP_TRANSFORMS_MODE": False}}},
    ],
)
def test_other_weights_and_what_the_graph_does_not_show_change_the_fingerprint(
    load: Load, usual: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert compiled(load(**changes, fingerprint=True))["sha256"] != usual["sha256"]


def test_without_snippets_elementwise_layers_are_layers_of_their_own(
    load: Load, rows: np.ndarray
) -> None:
    (expected,) = ReferenceEvaluator(sigmoids()).run(None, {"x": rows})
    forms = {}
    for snippets in (True, False):
        worker = load(sigmoids(), settings={"snippets": snippets}, fingerprint=True)
        forms[snippets] = compiled(worker)
        assert worker.command("answers")["ok"]
        np.testing.assert_allclose(worker.output(), expected, atol=1e-5)
    assert any("Subgraph" in kind for kind in forms[True]["operators"])
    assert not any("Subgraph" in kind for kind in forms[False]["operators"])
    assert forms[True]["sha256"] != forms[False]["sha256"]


def test_a_setting_that_has_nothing_to_change_leaves_the_fingerprint_as_it_is(
    load: Load, usual: dict[str, Any]
) -> None:
    without = compiled(load(settings={"snippets": False}, fingerprint=True))
    # Fewer passes were tried; what they made is the same.
    assert {**without, "passes": None} == {**usual, "passes": None}


def test_a_compiled_model_is_kept_in_the_cells_cache_and_found_again(
    load: Load, tmp_path: Path
) -> None:
    outputs, events = [], []
    for _ in range(2):
        worker = load(cache=str(tmp_path / "cache"), fingerprint=True)
        events.append(worker.event())
        assert events[-1] is not None, (worker.wait(), worker.error(), worker.log())
        assert worker.command("answers")["ok"]
        outputs.append(worker.output().copy())
    assert [event["compile_cache"] for event in events] == ["cold", "warm"]
    assert [event["ran"]["loaded_from_cache"] for event in events] == [False, True]
    assert events[0]["compiled"] == events[1]["compiled"]
    np.testing.assert_array_equal(outputs[0], outputs[1])


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"NO_SUCH_PROPERTY": 1}, "refuses what was asked for"),
        ({"LP_TRANSFORMS_MODE": "perhaps"}, "refuses what was asked for"),
        ({"SNIPPETS_MODE": "DISABLE"}, "a sweep says it by snippets"),
    ],
)
def test_a_property_that_is_unknown_or_said_elsewhere_is_refused(
    load: Load, properties: dict[str, Any], said: str
) -> None:
    worker = load(settings={"properties": properties})
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert said in worker.error()["message"]


def test_a_value_that_is_not_offered_is_refused(load: Load) -> None:
    worker = load(settings={"execution_mode": "fast"})
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "(it supports: performance, accuracy)" in worker.error()["message"]
