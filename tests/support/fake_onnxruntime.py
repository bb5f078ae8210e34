"""A made-up `onnxruntime`, of a build for CUDA unless told otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from .slow_device import SlowDevice

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


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
        self.declared = behaviour.get("declared", [1, 3])
        self.preloaded = 0
        self.sessions: list[Any] = []
        self.GraphOptimizationLevel = SimpleNamespace(
            ORT_ENABLE_ALL=3, ORT_ENABLE_EXTENDED=2, ORT_ENABLE_BASIC=1, ORT_DISABLE_ALL=0
        )
        self.ExecutionMode = SimpleNamespace(ORT_SEQUENTIAL=0, ORT_PARALLEL=1)
        self.SessionOptions = FakeOptions
        self.gpu = SlowDevice()
        self.OrtValue = SimpleNamespace(ortvalue_from_numpy=self._placed)

        def session(path: Any, options: Any, providers: Any) -> FakeSession:
            self.sessions.append(FakeSession(self, path, options, providers))
            return self.sessions[-1]

        self.InferenceSession = session

    def _placed(self, array: np.ndarray, kind: str, number: int) -> Any:
        assert (kind, number) == ("cuda", 0)
        self.gpu.queue(self.gpu.IN)
        return SimpleNamespace(array=array)

    def get_available_providers(self) -> list[str]:
        return list(self.available)

    def preload_dlls(self) -> None:
        self.preloaded += 1


class FakeOptions(SimpleNamespace):
    """Options that keep what they are given."""

    def __init__(self) -> None:
        super().__init__(entries={}, enable_profiling=False)

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


class FakeSession:
    """A session whose profile places nodes where the test says."""

    def __init__(self, runtime: FakeRuntime, _path: Any, options: Any, providers: Any) -> None:
        self.runtime, self.options, self.asked = runtime, options, providers
        self.falls_back = True
        self.profiles = 0
        self.fed: list[np.ndarray] = []

    def get_providers(self) -> list[str]:
        return list(self.runtime.taken)

    def disable_fallback(self) -> None:
        self.falls_back = False

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x", type="tensor(float)", shape=self.runtime.declared)]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="y", type="tensor(float)", shape=[1, 9])]

    def get_modelmeta(self) -> Any:
        return SimpleNamespace(custom_metadata_map={})

    def get_provider_options(self) -> dict[str, Any]:
        told = {one[0]: dict(one[1]) for one in self.asked if not isinstance(one, str)}
        told[CUDA]["cudnn_conv_algo_search"] = "EXHAUSTIVE"
        return dict(told, **{CPU: {}})

    def run(self, _names: Any, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.fed.append(feeds["x"])
        return [np.zeros((1, 9), np.float32)]

    def io_binding(self) -> FakeBinding:
        return FakeBinding(self.runtime.gpu)

    def run_with_iobinding(self, binding: FakeBinding) -> None:
        assert binding.outputs == [("y", "cuda", 0)]
        self.fed.append(binding.inputs["x"].array)
        self.runtime.gpu.queue(self.runtime.gpu.WORK)

    def end_profiling(self) -> str:
        self.profiles += 1
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


class FakeBinding:
    """An IO binding: what is bound to the GPU stays there until it is copied."""

    def __init__(self, gpu: SlowDevice) -> None:
        self.gpu = gpu
        self.inputs: dict[str, Any] = {}
        self.outputs: list[tuple[str, str, int]] = []
        self.synchronize_inputs = self.synchronize_outputs = gpu.wait

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self.inputs[name] = value

    def bind_output(self, name: str, kind: str, number: int) -> None:
        self.outputs.append((name, kind, number))

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        self.gpu.copy_out()
        return [np.zeros((1, 9), np.float32)]
