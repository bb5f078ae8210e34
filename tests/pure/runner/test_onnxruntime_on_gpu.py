"""ONNX Runtime on a GPU: what is asked of it, what must be shown, and every refusal."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runner.backends.base import LoadRequest
from runner.errors import RunnerError

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
BATCH = np.zeros((1, 3), np.float32)


class FakeRuntime(ModuleType):
    """The module `onnxruntime` of a build for CUDA, whose sessions say what they are told to."""

    def __init__(self, version: str = "1.31.1", **behaviour: Any) -> None:
        super().__init__("onnxruntime")
        self.__version__ = version
        self.available = behaviour.get("available", [CUDA, CPU])
        self.taken = behaviour.get("taken", [CUDA, CPU])
        self.placed = behaviour.get(
            "placed", [("Conv", CUDA, [1, 32, 9, 9]), ("Gemm", CUDA, [1, 9])]
        )
        self.preloaded = 0
        self.sessions: list[Any] = []
        self.GraphOptimizationLevel = SimpleNamespace(
            ORT_ENABLE_ALL=3, ORT_ENABLE_EXTENDED=2, ORT_ENABLE_BASIC=1, ORT_DISABLE_ALL=0
        )
        self.ExecutionMode = SimpleNamespace(ORT_SEQUENTIAL=0)
        self.SessionOptions = SimpleNamespace

        def session(path: Any, options: Any, providers: Any) -> FakeSession:
            self.sessions.append(FakeSession(self, path, options, providers))
            return self.sessions[-1]

        self.InferenceSession = session

    def get_available_providers(self) -> list[str]:
        return list(self.available)

    def preload_dlls(self) -> None:
        self.preloaded += 1


class FakeSession:
    """A session whose profile places nodes where the test says."""

    def __init__(self, runtime: FakeRuntime, _path: Any, options: Any, providers: Any) -> None:
        self.runtime, self.options, self.asked = runtime, options, providers
        self.falls_back = True

    def get_providers(self) -> list[str]:
        return list(self.runtime.taken)

    def disable_fallback(self) -> None:
        self.falls_back = False

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x", type="tensor(float)", shape=[1, 3])]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="y", type="tensor(float)", shape=[1, 9])]

    def get_provider_options(self) -> dict[str, Any]:
        return {CUDA: dict(self.asked[0][1], cudnn_conv_algo_search="EXHAUSTIVE"), CPU: {}}

    def run(self, _names: Any, _feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [np.zeros((1, 9), np.float32)]

    def end_profiling(self) -> str:
        events = [
            {
                "cat": "Node",
                "name": f"n{index}_kernel_time",
                "args": {
                    "op_name": operator,
                    "provider": provider,
                    "node_index": str(index),
                    "output_type_shape": [{"float": shape}],
                },
            }
            for index, (operator, provider, shape) in enumerate(self.runtime.placed)
        ]
        path = self.options.profile_file_prefix + "_1.json"
        Path(path).write_text(json.dumps(events))
        return path


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
    assert runtime.preloaded == 1
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    backend.run(BATCH)
    assert backend.prove(BATCH) == {
        "nodes": {CUDA: 2},
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
    assert ran["provider_options"]["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert not Path(session.options.profile_file_prefix).parent.exists()


def test_nodes_on_the_cpu_are_refused_after_the_first_run(load: Loader, one_gpu: Any) -> None:
    backend = load(FakeRuntime(placed=[("Conv", CUDA, [1, 32]), ("ArgMax", CPU, [1])]))
    backend.run(BATCH)
    with pytest.raises(RunnerError, match=r"1 nodes that compute ran on the CPU \(ArgMax 1\)") as e:
        backend.prove(BATCH)
    assert e.value.kind == "unsupported"


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


def test_on_the_cpu_nothing_is_profiled_and_nothing_has_to_be_proven(
    load: Loader, no_gpu: Any
) -> None:
    runtime = FakeRuntime(taken=[CPU])
    backend = load(runtime, device="cpu")
    assert runtime.sessions[0].asked == [CPU]
    assert not hasattr(runtime.sessions[0].options, "enable_profiling")
    assert backend.prove(BATCH) == {}
