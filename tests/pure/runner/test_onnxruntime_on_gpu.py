"""ONNX Runtime with a made-up library: what it is told, what must be shown, every refusal."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.fake_onnxruntime import CPU, CUDA, FakeRuntime
from support.slow_device import SlowDevice

from runner.backends.base import LoadRequest
from runner.errors import RunnerError

TENSORRT = "TensorrtExecutionProvider"
BATCH = np.zeros((1, 3), np.float32)


@pytest.fixture
def request_(tmp_path: Path) -> LoadRequest:
    (tmp_path / "m.onnx").write_bytes(b"model")
    return LoadRequest(str(tmp_path / "m.onnx"), "onnx", {}, "f32", "cuda", 1, 1, (3,))


Loader = Callable[..., Any]


@pytest.fixture
def load(
    with_framework: Callable[..., ModuleType],
    request_: LoadRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Loader]:
    """Load the model with a fake runtime: `load(runtime, **changes to the request)`."""

    loaded = []
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def begin(runtime: FakeRuntime, **changes: Any) -> Any:
        module = with_framework("runner.backends.onnxruntime", onnxruntime=runtime)
        backend = module.create(LoadRequest(**{**vars(request_), **changes}))
        loaded.append(backend)
        backend.load()
        backend.compile()
        return backend

    yield begin
    for backend in loaded:
        backend.close()


def test_a_model_whose_nodes_all_ran_on_the_gpu_is_proven(load: Loader, one_gpu: Any) -> None:
    runtime = FakeRuntime()
    backend = load(runtime)
    (session,) = runtime.sessions
    assert session.asked == [(CUDA, {"device_id": "0", "use_tf32": "0"}), CPU]
    assert session.falls_back is False
    assert session.options.enable_profiling is False
    assert runtime.preloaded == 1
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    backend.run(BATCH)
    assert backend.prove(BATCH) == {
        "nodes": {CUDA: 2},
        "operators": {f"Conv ({CUDA})": 1, f"Gemm ({CUDA})": 1},
        "computes_in": ["float32"],
        "shape_nodes_on_cpu": {},
        "tf32": False,
        "device_proof": {
            "name": "NVIDIA Test",
            "uuid": "GPU-00000000-0000-0000-0000-000000000001",
            "memory_mib": 24576,
            "capability": "8.9",
            "driver": "570.133.20",
            "cuda": "12.8",
        },
    }
    ran = backend.describe().ran
    assert ran["device"] == "cuda"
    assert ran["providers"] == [CUDA, CPU]
    assert ran["settings"]["provider"] == "cuda"
    assert ran["provider_options"][CUDA]["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert ran["runs_in_compile"] == 0
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_the_parts_of_a_query_are_told_by_an_io_binding(
    load: Loader, one_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FakeRuntime()
    backend = load(runtime)
    monkeypatch.setattr("time.perf_counter_ns", runtime.gpu)
    (output,), stages = backend.run_in_stages(BATCH)
    assert output.shape == (1, 9)
    assert runtime.sessions[0].fed[-1] is BATCH
    assert stages == SlowDevice.STAGES


def test_nodes_on_the_cpu_are_refused_after_the_first_run(load: Loader, one_gpu: Any) -> None:
    backend = load(FakeRuntime(placed=[("Conv", CUDA, [1, 32]), ("ArgMax", CPU, [1])]))
    backend.run(BATCH)
    with pytest.raises(RunnerError, match=r"1 nodes that compute ran on the CPU \(ArgMax 1\)") as e:
        backend.prove(BATCH)
    assert e.value.kind == "unsupported"
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_a_provider_that_onnx_runtime_drops_is_refused(load: Loader, one_gpu: Any) -> None:
    with pytest.raises(RunnerError, match=f"could not start {CUDA} on NVIDIA Test") as caught:
        load(FakeRuntime(taken=[CPU]))
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    assert caught.value.kind == "unsupported"
    assert "cuDNN" in caught.value.message


def test_a_build_for_the_cpu_is_refused(load: Loader, one_gpu: Any) -> None:
    with pytest.raises(RunnerError, match="install onnxruntime-gpu") as caught:
        load(FakeRuntime(available=[CPU]))
    assert caught.value.kind == "unsupported"


def test_without_a_gpu_the_request_is_refused_with_what_is_missing(
    load: Loader, no_gpu: Any
) -> None:
    with pytest.raises(RunnerError, match=r"libcuda\.so\.1 can't be loaded") as caught:
        load(FakeRuntime())
    assert caught.value.kind == "wrong-device"


def test_the_librarys_own_precision_leaves_tf32_alone(load: Loader, one_gpu: Any) -> None:
    runtime = FakeRuntime()
    backend = load(runtime, precision="default")
    assert runtime.sessions[0].asked[0] == (CUDA, {"device_id": "0"})
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"
    backend.run(BATCH)
    assert backend.prove(BATCH)["tf32"] is True


def test_a_version_that_does_not_know_the_option_is_not_given_it(
    load: Loader, one_gpu: Any
) -> None:
    runtime = FakeRuntime("1.17.3")
    load(runtime)
    assert runtime.sessions[0].asked[0] == (CUDA, {"device_id": "0"})
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


def test_on_the_cpu_another_session_says_what_ran_and_the_timed_one_is_not_profiled(
    load: Loader, no_gpu: Any
) -> None:
    placed = [("Conv", CPU, [1, 32]), ("Conv", CPU, [1, 32]), ("Gemm", CPU, [1, 9])]
    runtime = FakeRuntime(taken=[CPU], placed=placed)
    backend = load(runtime, device="cpu")
    backend.run(BATCH)
    assert backend.prove(BATCH) == {
        "nodes": {CPU: 3},
        "operators": {f"Conv ({CPU})": 2, f"Gemm ({CPU})": 1},
        "computes_in": ["float32"],
    }
    timed, profiled = runtime.sessions
    assert timed.asked == profiled.asked == [CPU]
    assert (timed.options.enable_profiling, timed.profiles, len(timed.fed)) == (False, 0, 1)
    assert (profiled.options.enable_profiling, profiled.profiles) == (True, 1)
    assert profiled.fed[0] is BATCH
    assert profiled.falls_back is False
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_what_tensorrt_leaves_may_run_on_the_same_gpu_and_is_said(
    load: Loader, one_gpu: Any
) -> None:
    placed = [
        ("TRTKernel_graph_main_1234_0", TENSORRT, [1, 9]),
        ("TRTKernel_graph_main_1234_1", TENSORRT, [1, 9]),
        ("NonMaxSuppression", CUDA, [1, 3]),
        ("Shape", CPU, [4]),
    ]
    known = [TENSORRT, CUDA, CPU]
    runtime = FakeRuntime(available=known, taken=known, placed=placed)
    backend = load(runtime, settings={"provider": "tensorrt"})
    assert runtime.sessions[0].asked == [
        (TENSORRT, {"device_id": "0"}),
        (CUDA, {"device_id": "0", "use_tf32": "0"}),
        CPU,
    ]
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    backend.run(BATCH)
    with pytest.raises(RunnerError, match=r"1 nodes that compute ran on the CPU \(Shape 1\)"):
        backend.prove(BATCH)
    runtime.placed = placed[:3]
    backend = load(runtime, settings={"provider": "tensorrt"})
    proof = backend.prove(BATCH)
    assert proof["nodes"] == {TENSORRT: 2, CUDA: 1}
    assert proof["nodes_beside"] == {CUDA: 1}
    assert proof["operators"] == {f"TRTKernel ({TENSORRT})": 2, f"NonMaxSuppression ({CUDA})": 1}
    assert set(backend.describe().ran["provider_options"]) == {TENSORRT, CUDA}


def test_tensorrt_builds_its_engine_in_a_call_that_is_part_of_compile(
    load: Loader, one_gpu: Any
) -> None:
    known = [TENSORRT, CUDA, CPU]
    runtime = FakeRuntime(available=known, taken=known, declared=["N", 3])
    backend = load(runtime, batch=4, settings={"provider": "tensorrt"})
    (fed,) = runtime.sessions[0].fed
    assert (fed.shape, fed.dtype) == ((4, 3), np.float32)
    assert backend.describe().ran["runs_in_compile"] == 1
    # What can't be fed is refused by the worker, in words of its own.
    backend = load(runtime, item_shape=(5,), settings={"provider": "tensorrt"})
    assert runtime.sessions[-1].fed == []
    assert backend.describe().ran["runs_in_compile"] == 0


def test_a_model_of_which_tensorrt_takes_nothing_is_refused(load: Loader, one_gpu: Any) -> None:
    known = [TENSORRT, CUDA, CPU]
    backend = load(FakeRuntime(available=known, taken=known), settings={"provider": "tensorrt"})
    with pytest.raises(RunnerError, match=f"asked for {TENSORRT} and ran 0 nodes there"):
        backend.prove(BATCH)


def test_tensorrt_that_does_not_start_is_refused_and_named(load: Loader, one_gpu: Any) -> None:
    known = [TENSORRT, CUDA, CPU]
    with pytest.raises(RunnerError, match=f"could not start {TENSORRT} on NVIDIA Test") as caught:
        load(FakeRuntime(available=known, taken=[CUDA, CPU]), settings={"provider": "tensorrt"})
    assert caught.value.kind == "unsupported"
    assert "library of TensorRT" in caught.value.message


@pytest.mark.parametrize(
    ("device", "settings", "words"),
    [
        ("cuda", {"provider": "cpu"}, r"provider 'cpu' \(it supports: cuda, tensorrt\)"),
        ("cpu", {"provider": "cuda"}, r"provider 'cuda' \(it supports: cpu\)"),
        ("cpu", {"provider": "openvino"}, "value of provider 'openvino'"),
        ("cuda", {"provider": "tensorrt"}, "built without it; onnxruntime-gpu has it"),
        ("cpu", {"execution_mode": "parallel", "mem_pattern": True}, "plans no memory"),
        ("cuda", {"execution_mode": "parallel"}, "nodes of a GPU one after the other"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    load: Loader, one_gpu: Any, device: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        load(FakeRuntime(), device=device, settings=settings)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("settings", "pools", "mode", "patterns"),
    [({}, (4, 1), 0, True), ({"execution_mode": "parallel"}, (1, 4), 1, False)],
)
def test_the_threads_are_inside_nodes_or_between_them(
    load: Loader,
    no_gpu: Any,
    settings: dict[str, Any],
    pools: tuple[int, int],
    mode: int,
    patterns: bool,
) -> None:
    runtime = FakeRuntime(taken=[CPU], placed=[("Conv", CPU, [1])])
    backend = load(runtime, device="cpu", threads=4, settings=settings)
    options = runtime.sessions[0].options
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == pools
    assert options.execution_mode == mode
    assert options.enable_mem_pattern is patterns
    ran = backend.describe().ran
    assert (ran["intra_op_threads"], ran["inter_op_threads"]) == pools
    assert ran["settings"]["mem_pattern"] is patterns


def test_spinning_and_the_arena_are_switched_off_where_that_is_asked(
    load: Loader, no_gpu: Any
) -> None:
    runtime = FakeRuntime(taken=[CPU], placed=[("Conv", CPU, [1])])
    load(runtime, device="cpu", settings={"allow_spinning": False, "arena": False})
    options = runtime.sessions[0].options
    assert options.enable_cpu_mem_arena is False
    assert options.entries == {
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
    }
