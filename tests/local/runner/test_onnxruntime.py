"""ONNX Runtime in its shipped environments, on a small model: settings, nodes, threads, profile."""

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

CPU = "CPUExecutionProvider"
OLDEST, NEWEST = "onnxruntime-1.17", "onnxruntime-1.31"

Load = Callable[..., Any]


def branches() -> onnx.ModelProto:
    """[N, 3, 9, 9] through two convolutions side by side: [N, 8]."""
    generator = np.random.Generator(np.random.PCG64(3))
    weights = {
        name: generator.standard_normal((4, 3, 3, 3)).astype(np.float32)
        for name in ("left", "right")
    }
    nodes = []
    for name in weights:
        nodes += [
            helper.make_node("Conv", ["x", name], [f"{name}.c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"{name}.c"], [f"{name}.r"]),
        ]
    nodes += [
        helper.make_node("Concat", ["left.r", "right.r"], ["both"], axis=1),
        helper.make_node("GlobalAveragePool", ["both"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(5))
    drawn: np.ndarray = generator.standard_normal((3, 3, 9, 9)).astype(np.float32)
    return drawn


@pytest.fixture
def load(start: Any, tmp_path: Path, rows: np.ndarray) -> Load:
    """Start a worker on the model and rows: `load(environment, **job)`."""

    def begin(environment: str = NEWEST, **changes: Any) -> Any:
        try:
            python = provision(resolve(environment), SilentProgress()).python
        except HarnessError as error:
            cannot_install(environment, error)
        onnx.save(branches(), tmp_path / "m.onnx")
        np.save(tmp_path / "x.npy", rows)
        return start(
            python=str(python),
            backend="onnxruntime",
            model={"path": str(tmp_path / "m.onnx"), "format": "onnx"},
            inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": len(rows)},
            **changes,
        )

    return begin


def loaded(worker: Any) -> Any:
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    return event


@pytest.mark.parametrize("environment", [OLDEST, NEWEST])
@pytest.mark.parametrize(
    ("settings", "threads", "pools"),
    [
        ({}, 1, (1, 1)),
        ({}, 2, (2, 1)),
        ({"execution_mode": "parallel"}, 2, (1, 2)),
        ({"allow_spinning": False, "arena": False, "mem_pattern": False}, 2, (2, 1)),
    ],
)
def test_every_setting_gives_the_reference_answers_and_the_nodes_are_told(
    load: Load,
    rows: np.ndarray,
    environment: str,
    settings: dict[str, Any],
    threads: int,
    pools: tuple[int, int],
) -> None:
    worker = load(environment, settings=settings, threads=threads)
    ran = loaded(worker)["ran"]
    assert worker.command("answers")["nonfinite"] == 0
    (expected,) = ReferenceEvaluator(branches()).run(None, {"x": rows})
    np.testing.assert_allclose(worker.output(), expected, atol=1e-5)
    assert ran["providers"] == [CPU]
    assert list(ran["nodes"]) == [CPU]
    assert sum(ran["operators"].values()) == ran["nodes"][CPU]
    assert all(name.endswith(f" ({CPU})") for name in ran["operators"])
    assert (ran["computes_in"], ran["runs_in_compile"]) == (["float32"], 0)
    assert (ran["intra_op_threads"], ran["inter_op_threads"]) == pools


def test_unfused_and_fused_graphs_differ_in_what_ran(load: Load) -> None:
    unfused = loaded(load(settings={"graph_optimization_level": "disabled"}))["ran"]["operators"]
    fused = loaded(load())["ran"]["operators"]
    assert unfused[f"Relu ({CPU})"] == 2
    assert f"Relu ({CPU})" not in fused


@pytest.mark.parametrize("threads", [1, 2])
def test_it_has_the_threads_that_were_asked_for_and_no_others(
    load: Load, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.delenv("CI", raising=False)
    worker = load(threads=threads)
    loaded(worker)
    watch, pool_of_numpy = 1, threads - 1
    tasks = list(Path(f"/proc/{worker.process.pid}/task").iterdir())
    assert len(tasks) == threads + watch + pool_of_numpy


def test_a_thread_that_may_not_spin_is_idle_between_runs(load: Load) -> None:
    used = {}
    for spins in (True, False):
        worker = load(settings={"allow_spinning": spins}, threads=2)
        loaded(worker)
        worker.command("round", iterations=50)
        worker.command("round", iterations=50)
        used[spins] = worker.command("round", iterations=1)["cpu_ns_since_last"]
    assert used[False] < max(used[True], 5_000_000)


def test_no_profile_and_no_trace_of_telemetry_is_left_on_disk(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 1.29 on it reports to its maker, unless a variable is set, or `CI` is."""
    monkeypatch.delenv("CI", raising=False)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    worker = load()
    loaded(worker)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": {"provider": "cuda"}}, "this cell runs on the device cpu"),
        ({"settings": {"provider": "dnnl"}}, "value of provider 'dnnl'"),
        ({"device": "cuda", "settings": {"provider": "tensorrt"}}, "built without it"),
        ({"settings": {"execution_mode": "parallel", "mem_pattern": True}}, "plans no memory"),
    ],
)
def test_what_does_not_run_here_is_refused(load: Load, changes: dict[str, Any], words: str) -> None:
    worker = load(**changes)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert words in worker.error()["message"]
