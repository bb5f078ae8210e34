"""TVM in its shipped environment, on a small model: targets, pipelines, threads, TFLite, refusals."""

from __future__ import annotations

import os
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
from harness.plan import levels
from harness.progress import SilentProgress
from runner import tiny

Load = Callable[..., Any]


def convolution(**changes: Any) -> onnx.ModelProto:
    """[N, 3, 6, 6] through Conv, Clip and a mean: [N, 4], and the best of them."""
    generator = np.random.Generator(np.random.PCG64(changes.get("seed", 3)))
    weights = generator.standard_normal((4, 3, 3, 3)).astype(np.float32)
    activation = changes.get("activation", "Clip")
    bounds = ["low", "high"] if activation == "Clip" else []
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node(activation, ["c", *bounds], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["g"]),
            helper.make_node("Flatten", ["g"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        ],
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4]),
            helper.make_tensor_value_info("best", TensorProto.INT64, ["N"]),
        ],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.float32(0), "low"),
            numpy_helper.from_array(np.float32(6), "high"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def normalised() -> onnx.ModelProto:
    """[N, 3, 6, 6] through Conv, BatchNormalization, Clip and a mean: what can be folded."""
    model = convolution()
    values = np.array([0.5, 1.5, 0.25, 1.25], np.float32)
    names = ["scale", "bias", "mean", "variance"]
    model.graph.initializer.extend(
        numpy_helper.from_array(values[::step], name)
        for name, step in zip(names, (1, 1, -1, -1), strict=True)
    )
    model.graph.node[1].input[0] = "n"
    norm = helper.make_node("BatchNormalization", ["c", *names], ["n"])
    model.graph.node.insert(1, norm)
    return model


@pytest.fixture(scope="module")
def python() -> str:
    try:
        return str(provision(resolve("tvm-0.27"), SilentProgress()).python)
    except HarnessError as error:
        cannot_install("tvm-0.27", error)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(5))
    drawn: np.ndarray = generator.standard_normal((4, 3, 6, 6)).astype(np.float32)
    return drawn


@pytest.fixture
def load(start: Any, tmp_path: Path, python: str, rows: np.ndarray) -> Load:
    """Start a worker on the model and rows: `load(graph, **job)`."""

    def begin(graph: onnx.ModelProto | None = None, **changes: Any) -> Any:
        onnx.save(graph or convolution(), tmp_path / "m.onnx")
        np.save(tmp_path / "x.npy", rows)
        return start(
            **{
                "python": python,
                "backend": "tvm",
                "model": {"path": str(tmp_path / "m.onnx"), "format": "onnx"},
                "inputs": {"kind": "array", "path": str(tmp_path / "x.npy"), "count": len(rows)},
                **changes,
            }
        )

    return begin


def loaded(worker: Any) -> Any:
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    return event


def refusal(worker: Any) -> tuple[str, str]:
    assert worker.wait() == 1
    error = worker.error()
    return error["kind"], error["message"]


@pytest.mark.parametrize(
    ("settings", "batch"),
    [
        ({}, 1),
        ({}, 2),
        ({"pipeline": "default_build"}, 2),
        ({"mcpu": "generic", "fast_math": True}, 1),
        ({"target": "c"}, 2),
        ({"target": "c", "mcpu": "generic", "fast_math": True}, 1),
    ],
)
def test_every_target_and_pipeline_gives_the_reference_answers(
    load: Load, rows: np.ndarray, tmp_path: Path, settings: dict[str, Any], batch: int
) -> None:
    worker = load(settings=settings, batch=batch)
    event = loaded(worker)
    assert worker.command("answers")["nonfinite"] == 0
    scores, best = ReferenceEvaluator(convolution()).run(None, {"x": rows})
    np.testing.assert_allclose(worker.output(0), scores, atol=1e-5)
    assert worker.output(1).tolist() == best.tolist()
    assert [output["name"] for output in event["outputs"]] == ["scores", "best"]
    assert event["input"]["shape"] == [batch, 3, 6, 6]
    ran = event["ran"]
    kind = settings.get("target", "llvm")
    fused = settings.get("pipeline", "default") == "default"
    assert any(name.startswith("fused_conv2d") for name in ran["operators"]) is fused
    assert all(name.endswith(f" ({kind})") for name in ran["operators"])
    # The second output is the number of the best; unfused, a comparison is a kernel of its own.
    dtypes = ["float32", "int64"] if fused else ["float32", "bool", "int64"]
    assert (ran["computes_in"], ran["runs_in_compile"]) == (dtypes, 0)
    assert ran["parallel_kernels"] == 0
    assert ran["threads"] == 1
    assert f'"kind":"{kind}"' in ran["target"]
    if kind == "c":
        assert "-O3" in ran["compiler_flags"]
        assert ("-ffast-math" in ran["compiler_flags"]) is settings.get("fast_math", False)
        assert ("-march=native" in ran["compiler_flags"]) is ("mcpu" not in settings)
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0


def test_the_threads_stay_on_the_cores_that_the_process_may_use(load: Load) -> None:
    """TVM binds threads to cores by number, also to cores that a cell was not given."""
    core = max(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        worker = load(threads=1)
    finally:
        os.sched_setaffinity(0, before)
    loaded(worker)
    tasks = Path(f"/proc/{worker.process.pid}/task")
    assert {frozenset(os.sched_getaffinity(int(t.name))) for t in tasks.iterdir()} == {
        frozenset({core})
    }


def test_more_threads_than_cores_are_refused(load: Load) -> None:
    cores = os.cpu_count() or 1
    kind, message = refusal(load(threads=cores + 1))
    assert kind == "unsupported"
    assert f"number of threads {cores + 1}" in message


def test_a_compiler_that_is_absent_or_fails_is_said(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gcc").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    kind, message = refusal(load(settings={"target": "c"}))
    assert kind == "backend"
    assert "bin/gcc ended with 1" in message
    monkeypatch.setenv("PATH", "/nonexistent")
    kind, message = refusal(load(settings={"target": "c"}))
    assert kind == "unsupported"
    assert "needs a C compiler" in message
    assert "system_packages" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": {"target": "cuda"}}, "this cell runs on the device cpu"),
        ({"settings": {"target": "rocm"}}, "it supports: auto, llvm, c, cuda, opencl, vulkan"),
        ({"device": "cuda"}, "libcuda.so.1"),
    ],
)
def test_what_does_not_run_here_is_refused(load: Load, changes: dict[str, Any], words: str) -> None:
    kind, message = refusal(load(**changes))
    assert kind in ("unsupported", "wrong-device")
    assert words in message


def test_a_damaged_file_and_an_unknown_operator_are_told_apart(load: Load, tmp_path: Path) -> None:
    kind, message = refusal(load(convolution(activation="NoSuchOperator")))
    assert (kind, "NoSuchOperator" in message) == ("unsupported", True)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(convolution().SerializeToString()[:200])
    assert refusal(load(model={"path": str(damaged), "format": "onnx"}))[0] == "model"
    damaged.write_bytes(b"no model")
    assert refusal(load(model={"path": str(damaged), "format": "tflite"}))[0] == "model"


def test_a_tflite_model_runs(load: Load, tmp_path: Path) -> None:
    """The runner's own: one product by the identity."""
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny.TFLITE)
    np.save(tmp_path / "row.npy", tiny.ROW)
    worker = load(
        model={"path": str(path), "format": "tflite"},
        inputs={"kind": "array", "path": str(tmp_path / "row.npy"), "count": 1},
    )
    event = loaded(worker)
    worker.command("answers")
    assert worker.output().tolist() == tiny.ROW.tolist()
    assert event["input"]["shape"] == [1, 4]


def test_nothing_is_left_on_disk(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    worker = load(settings={"target": "c"})
    loaded(worker)
    worker.command("finish")
    assert worker.wait() == 0
    assert list(temporary.iterdir()) == []


def test_a_probe_starts_what_runs_here_and_says_why_the_rest_does_not() -> None:
    try:
        probed = provision(resolve("tvm-0.27"), SilentProgress()).probe
    except HarnessError as error:
        cannot_install("tvm-0.27", error)
    found = probed["backends"]["tvm"]
    assert "llvm" in found["started"]
    assert set(found["started"]) | set(found["refused"]) == set(found["providers"])
    assert "USE_VULKAN is OFF" in found["refused"]["vulkan"]
    assert probed["builds"]["tvm"]["llvm"].isdigit()


def compiled(worker: Any) -> Any:
    """The fingerprint that a worker tells, and its answers by the way."""
    document = loaded(worker)["compiled"]
    assert "absent" not in document, document
    worker.command("answers")
    worker.command("finish")
    assert worker.wait() == 0
    return document


def test_levels_are_compiled_to_different_code_and_the_answers_stay(
    load: Load, rows: np.ndarray
) -> None:
    expected, _ = ReferenceEvaluator(normalised()).run(None, {"x": rows})
    found = {}
    for level in ("basic", "default", "extended"):
        settings = levels.level_settings("tvm", level, {})
        assert isinstance(settings, dict)
        worker = load(normalised(), settings=settings, fingerprint=True)
        found[level] = compiled(worker)
        np.testing.assert_allclose(worker.output(0), expected, atol=1e-4)
    assert len({document["sha256"] for document in found.values()}) == 3
    operators = {level: sum(document["operators"].values()) for level, document in found.items()}
    assert operators["default"] < operators["basic"]
    assert "FoldBatchnormToConv2D" in found["extended"]["passes"]
    assert "FoldBatchnormToConv2D" not in found["default"]["passes"]
    assert "FuseOps" in found["default"]["passes"]
    # Channels last, a convolution and what bounds its output are still one kernel.
    assert "fused_conv2d_add_maximum_minimum" in " ".join(found["extended"]["operators"])
    assert "FuseOps" not in found["basic"]["passes"]
    assert all(document["code_bytes"] > 1000 for document in found.values())


def test_a_fingerprint_is_the_same_in_every_process_and_another_if_what_runs_is(
    load: Load, tmp_path: Path
) -> None:
    settings = {"mcpu": "generic"}
    first = compiled(load(settings=settings, fingerprint=True))
    assert compiled(load(settings=settings, fingerprint=True)) == first
    hashes = {first["sha256"]}
    hashes.add(compiled(load(convolution(seed=4), settings=settings, fingerprint=True))["sha256"])
    for more in (
        {"fast_math": True},
        {"code_level": 0},
        {"mcpu": "x86-64-v2"},
        {"target": "c"},
        {"target": "c", "fast_math": True},
    ):
        worker = load(settings={**settings, **more}, fingerprint=True)
        hashes.add(compiled(worker)["sha256"])
    assert len(hashes) == 7


def test_a_fold_without_anything_to_fold_is_shown_inert(load: Load) -> None:
    names = offered()["passes"]
    pipeline = [name for name in names if name in offered()["disabled_passes"]]
    with_it = ["FoldBatchnormToConv2D", *pipeline]
    hashes = {
        compiled(load(graph, settings={"passes": passes}, fingerprint=True))["sha256"]
        for graph in (convolution(), normalised())
        for passes in (pipeline, with_it)
    }
    assert len(hashes) == 3


def offered() -> Any:
    """Names by setting, as the probe of the environment tells them."""
    try:
        probed = provision(resolve("tvm-0.27"), SilentProgress()).probe
    except HarnessError as error:
        cannot_install("tvm-0.27", error)
    return probed["backends"]["tvm"]["offer"]["names"]


def test_no_optional_pass_is_needed_and_all_of_them_can_run(load: Load, rows: np.ndarray) -> None:
    expected, _ = ReferenceEvaluator(normalised()).run(None, {"x": rows})
    names = offered()
    extended = levels.level_settings("tvm", "extended", {})
    assert isinstance(extended, dict)
    assert set(names["disabled_passes"]) < set(extended["passes"]) < set(names["passes"])
    for settings, atol in (
        ({"passes": []}, 1e-4),
        ({"disabled_passes": names["disabled_passes"]}, 1e-4),
        # One of them approximates.
        ({"passes": names["passes"]}, 1e-2),
    ):
        worker = load(normalised(), settings=settings, fingerprint=True)
        document = compiled(worker)
        np.testing.assert_allclose(worker.output(0), expected, atol=atol)
        ran = set(document["passes"]) & set(names["passes"])
        assert ran == set(settings.get("passes", []))


def test_a_pass_of_another_name_is_refused_with_the_one_that_was_meant(load: Load) -> None:
    kind, message = refusal(load(settings={"disabled_passes": ["FuseOp"]}))
    assert kind == "unsupported"
    assert "FuseOps" in message


def test_a_tuner_spends_its_budget_once_and_its_kernels_are_kept(
    load: Load, rows: np.ndarray, tmp_path: Path
) -> None:
    expected, _ = ReferenceEvaluator(convolution()).run(None, {"x": rows})
    job = {
        "settings": {"tuner": "metaschedule", "trials": 6},
        "cache": str(tmp_path / "cache"),
        "fingerprint": True,
    }
    untuned = compiled(load(fingerprint=True))
    cold = load(**job)
    event = loaded(cold)
    tuning = event["ran"]["tuning"]
    assert event["compile_cache"] == "cold"
    assert tuning["records"] > tuning["records_found"] == 0
    assert tuning["records_failed"] < tuning["records"]
    cold.command("answers")
    np.testing.assert_allclose(cold.output(0), expected, atol=1e-4)
    bits = cold.output(0).tobytes()
    cold.command("finish")
    assert cold.wait() == 0
    warm = load(**job)
    again = loaded(warm)
    assert again["compile_cache"] == "warm"
    assert again["ran"]["tuning"]["records_found"] == tuning["records"]
    assert again["compiled"]["sha256"] == event["compiled"]["sha256"] != untuned["sha256"]
    warm.command("answers")
    assert warm.output(0).tobytes() == bits
