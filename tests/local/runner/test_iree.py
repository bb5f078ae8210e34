"""IREE in its shipped environment, on a small model: threads, settings, old opsets, refusals."""

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


def network(opset: int = 17) -> onnx.ModelProto:
    """[N, 3, 6, 6] through a convolution and a mean: [N, 4] and its softmax."""
    generator = np.random.Generator(np.random.PCG64(3))
    weights = generator.standard_normal((4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["g"]),
            helper.make_node("Flatten", ["g"], ["y"]),
            helper.make_node("Softmax", ["y"], ["p"], axis=1),
        ],
        "a graph with a name",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4]),
            helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", 4]),
        ],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(5))
    drawn: np.ndarray = generator.standard_normal((5, 3, 6, 6)).astype(np.float32)
    return drawn


@pytest.fixture(scope="module")
def expected(rows: np.ndarray) -> list[np.ndarray]:
    """By ONNX's reference evaluator: float32 [5, 4], twice."""
    outputs: list[np.ndarray] = ReferenceEvaluator(network()).run(None, {"x": rows})
    return outputs


@pytest.fixture
def load(start: Any, tmp_path: Path, rows: np.ndarray) -> Load:
    """Start a worker on (the first bytes of) a model and rows: `load(model, cut, **job)`."""

    def begin(
        model: onnx.ModelProto | None = None,
        cut: int | None = None,
        **changes: Any,
    ) -> Any:
        try:
            python = provision(resolve("iree-3.13"), SilentProgress()).python
        except HarnessError as error:
            cannot_install("iree-3.13", error)
        (tmp_path / "m.onnx").write_bytes((model or network()).SerializeToString()[:cut])
        np.save(tmp_path / "x.npy", rows)
        return start(
            python=str(python),
            backend="iree",
            model={"path": str(tmp_path / "m.onnx"), "format": "onnx"},
            inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": len(rows)},
            **changes,
        )

    return begin


def answers(worker: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The event `loaded` and both outputs."""
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    reply = worker.command("answers")
    assert reply["ok"], reply
    outputs = [worker.output(0), worker.output(1)]
    timed = worker.command("round", iterations=3, warmup=1)
    assert len(timed["durations_ns"]) == 3
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    return event, outputs


def test_one_thread_in_batches_and_what_ran_is_told(load: Load, expected: list[np.ndarray]) -> None:
    event, outputs = answers(load(batch=2))
    for got, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert event["input"]["shape"] == [2, 3, 6, 6]
    assert [output["name"] for output in event["outputs"]] == ["y", "p"]
    ran = event["ran"]
    assert (ran["driver"], ran["threads"]) == ("local-sync", 1)
    assert ran["opset"] == {"model": 17, "compiled": 17}
    assert "--iree-llvmcpu-target-cpu=host" in ran["flags"]
    assert any(kind.startswith("conv") for kind in ran["operators"])


def test_two_threads_are_two_workers_and_change_no_bit(load: Load) -> None:
    _, alone = answers(load())
    event, outputs = answers(load(threads=2))
    assert (event["ran"]["driver"], event["ran"]["threads"]) == ("local-task", 2)
    for one, two in zip(alone, outputs, strict=True):
        np.testing.assert_array_equal(one, two)


def test_code_for_any_processor_computes_the_same(load: Load, expected: list[np.ndarray]) -> None:
    settings = {"target_cpu": "generic", "opt_level": "O3", "driver": "local-task"}
    event, (scores, _) = answers(load(settings=settings))
    np.testing.assert_allclose(scores, expected[0], atol=1e-5)
    assert "--iree-llvmcpu-target-cpu=generic" in event["ran"]["flags"]
    assert "--iree-opt-level=O3" in event["ran"]["flags"]


@pytest.fixture(scope="module")
def looked() -> dict[str, Any]:
    """Holds the form without settings, once a test has asked for it."""
    return {}


@pytest.fixture
def usual(load: Load, looked: dict[str, Any]) -> dict[str, Any]:
    """What the model is compiled to without settings."""
    if not looked:
        looked.update(answers(load(fingerprint=True))[0]["compiled"])
    return looked


def test_the_fingerprint_is_the_same_in_every_process_though_the_modules_bytes_are_not(
    load: Load, usual: dict[str, Any]
) -> None:
    again, _ = answers(load(fingerprint=True))
    assert again["compiled"] == usual
    assert usual["form"] == "vmfb"
    assert usual["code_bytes"] > 1000
    assert any(kind.startswith("conv") for kind in usual["operators"])


@pytest.mark.parametrize(
    "settings",
    [
        {"target_cpu": "generic"},
        {"driver": "local-task"},
        {"compiler_flags": {"iree-llvmcpu-disable-distribution": True}},
    ],
)
def test_what_a_setting_changes_changes_the_fingerprint_and_no_answer(
    load: Load, expected: list[np.ndarray], usual: dict[str, Any], settings: dict[str, Any]
) -> None:
    event, (scores, _) = answers(load(settings=settings, fingerprint=True))
    np.testing.assert_allclose(scores, expected[0], atol=1e-5)
    assert event["compiled"]["sha256"] != usual["sha256"]


def test_a_flag_without_work_to_do_leaves_the_fingerprint_as_it_is(
    load: Load, usual: dict[str, Any]
) -> None:
    settings = {"compiler_flags": {"iree-opt-const-eval": False}}
    without, _ = answers(load(settings=settings, fingerprint=True))
    assert without["compiled"] == usual


def test_a_flag_that_iree_does_not_know_is_refused_in_its_words(load: Load) -> None:
    worker = load(settings={"compiler_flags": {"iree-opt-const-evil": False}})
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "iree-opt-const-evil" in worker.error()["message"]
    assert "iree-opt-const-eval" in worker.error()["message"]


def test_an_old_opset_is_raised_where_iree_needs_it_and_that_is_said(
    load: Load, expected: list[np.ndarray]
) -> None:
    event, outputs = answers(load(network(opset=9)))
    assert event["ran"]["opset"] == {"model": 9, "compiled": 17}
    for got, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_an_operator_that_iree_can_not_take_is_unsupported_in_its_words(load: Load) -> None:
    graph = helper.make_graph(
        [helper.make_node("LpPool", ["x"], ["y"], kernel_shape=[2, 2], p=3)],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 5, 5])],
    )
    opsets = [helper.make_opsetid("", 17)]
    worker = load(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "can't compile the operator LpPool" in worker.error()["message"]
    assert "failed to legalize" in worker.error()["message"]


def test_a_damaged_file_is_the_models_fault(load: Load) -> None:
    worker = load(cut=120)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "model"


def test_the_probe_compiles_and_runs_by_both_drivers() -> None:
    probed = provision(resolve("iree-3.13"), SilentProgress()).probe
    found = probed["backends"]["iree"]
    assert found["started"] == ["local-sync", "local-task"]
    assert found["version"] == "3.13.0"
    assert len(probed["builds"]["iree"]["git"]) == 40
