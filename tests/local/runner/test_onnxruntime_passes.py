"""ONNX Runtime's optimizers by name, and the proof of what a session was compiled to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.environment_python import interpreter

OLDEST, NEWEST = "onnxruntime-1.17", "onnxruntime-1.31"
ROWS = np.random.Generator(np.random.PCG64(5)).standard_normal((3, 3, 9, 9)).astype(np.float32)

Compiled = Callable[..., dict[str, Any]]


def network(scale: np.floating[Any] | float = 1) -> onnx.ModelProto:
    """[N, 3, 9, 9] through a normalised convolution with an activation: [N, 8].

    `scale` is a factor of one of its 288 weights.
    """
    generator = np.random.Generator(np.random.PCG64(3))

    def drawn(*shape: int) -> np.ndarray:
        values: np.ndarray = generator.standard_normal(shape).astype(np.float32)
        return values

    weights = {"w": drawn(8, 3, 3, 3), "g": drawn(8), "b": drawn(8), "m": drawn(8)}
    weights["v"] = np.abs(drawn(8)) + 1
    weights["w"][0, 0, 0, 0] *= scale
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
            helper.make_node("Relu", ["n"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["y"]),
        ],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def worker(start: Any, tmp_path: Path) -> Callable[..., Any]:
    """Start a worker on the network: `worker(settings, environment)`."""

    def begin(
        settings: dict[str, Any],
        environment: str = NEWEST,
        scale: np.floating[Any] | float = 1,
        **changes: Any,
    ) -> Any:
        onnx.save(network(scale), tmp_path / "m.onnx")
        np.save(tmp_path / "x.npy", ROWS)
        return start(
            python=interpreter(environment),
            backend="onnxruntime",
            model={"path": str(tmp_path / "m.onnx"), "format": "onnx"},
            inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": len(ROWS)},
            settings=settings,
            **changes,
        )

    return begin


@pytest.fixture
def compiled(worker: Callable[..., Any]) -> Compiled:
    """The fingerprint of a process of its own."""

    def look(settings: dict[str, Any], environment: str = NEWEST) -> dict[str, Any]:
        running = worker(settings, environment, fingerprint=True)
        event = running.event()
        assert event is not None, (running.wait(), running.error(), running.log())
        assert "sha256" in event["compiled"], event["compiled"]
        found: dict[str, Any] = event["compiled"]
        return found

    return look


@pytest.mark.parametrize("environment", [OLDEST, NEWEST])
def test_each_level_compiles_to_another_graph_and_two_processes_to_the_same(
    compiled: Compiled, environment: str
) -> None:
    levels = ("disabled", "basic", "extended", "all")
    found = [compiled({"graph_optimization_level": level}, environment) for level in levels]
    assert len({one["sha256"] for one in found}) == len(levels)
    assert found[0]["operators"]["BatchNormalization"] == 1
    assert found[0]["passes"] == []
    assert "BatchNormalization" not in found[1]["operators"]
    assert found[2]["operators"]["com.microsoft.FusedConv"] == 1
    assert found[3]["operators"]["com.microsoft.nchwc.Conv"] == 1
    assert found[3]["passes"][-1] == "NchwcTransformer"
    assert compiled({"graph_optimization_level": "all"}, environment) == found[3]


@pytest.mark.parametrize("environment", [OLDEST, NEWEST])
def test_one_rule_is_turned_off_and_one_alone_is_left(compiled: Compiled, environment: str) -> None:
    level = {"graph_optimization_level": "basic"}
    without = compiled({**level, "disabled_passes": ["ConvBNFusion"]}, environment)
    assert without["operators"]["BatchNormalization"] == 1
    alone = compiled({"passes": ["ConvBNFusion"]}, environment)
    assert "BatchNormalization" not in alone["operators"]
    assert alone["operators"]["Relu"] == 1, "nothing else was fused"
    nothing = compiled({"passes": []}, environment)
    assert (
        nothing["sha256"]
        == compiled({"graph_optimization_level": "disabled"}, environment)["sha256"]
    )


def test_a_pass_that_finds_nothing_to_do_leaves_the_same_form(compiled: Compiled) -> None:
    assert compiled({"disabled_passes": ["LayerNormFusionL1"]}) == compiled({})


def test_how_a_graph_is_run_is_a_part_of_what_is_executed(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAID", "1")
    ways: list[dict[str, Any]] = [
        *({}, {"arena": False}, {"mem_pattern": False}, {"allow_spinning": False}),
        *({"execution_mode": "parallel"}, {"variables": {"SAID": "1"}}),
    ]
    found = [compiled(settings) for settings in ways]
    assert len({one["sha256"] for one in found}) == len(ways)
    assert all(one["operators"] == found[0]["operators"] for one in found)
    assert all(one["passes"] == found[0]["passes"] for one in found)


def test_a_changed_weight_is_another_form(worker: Callable[..., Any]) -> None:
    hashes = []
    for scale in (1, 1, np.nextafter(np.float32(1), np.float32(2))):
        event = worker({}, scale=scale, fingerprint=True).event()
        hashes.append(event["compiled"]["sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_looking_changes_neither_answers_nor_what_ran(worker: Callable[..., Any]) -> None:
    outputs, ran = [], []
    for fingerprint in (False, True):
        running = worker({}, fingerprint=fingerprint)
        ran.append(running.event()["ran"])
        running.command("answers")
        outputs.append(running.output())
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert ran[0]["operators"] == ran[1]["operators"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"disabled_passes": ["ConvBnFusion"]}, "has no 'ConvBnFusion'; did you mean ConvBNFusion"),
        ({"passes": ["NchwcTransformer"], "graph_optimization_level": "basic"}, "does not run at"),
        ({"passes": ["ConvBNFusion"], "graph_optimization_level": "disabled"}, "does not run at"),
        ({"passes": [], "disabled_passes": []}, "give one of the two"),
    ],
)
def test_what_the_library_would_ignore_is_refused(
    worker: Callable[..., Any], settings: dict[str, Any], words: str
) -> None:
    running = worker(settings)
    assert running.wait() == 1
    assert running.error()["kind"] == "unsupported"
    assert words in running.error()["message"]
