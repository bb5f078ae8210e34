"""A made-up `tensorrt` of any version, and a made-up NVIDIA driver, as faithful as they are used.

What a version lacks is absent: the flag EXPLICIT_BATCH since 11, STRONGLY_TYPED before 10.
"""

from __future__ import annotations

import ctypes
import json
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from .slow_device import Event, SlowDevice


class Flags:
    """The flags of the network, by version."""

    def __init__(self, major: int) -> None:
        if major < 11:
            self.EXPLICIT_BATCH = 0
        if major >= 10:
            self.STRONGLY_TYPED = 1


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class Dims:
    """TensorRT's shape: a length, and items; the length of an unknown rank is -1."""

    def __init__(self, *sizes: int, unknown: bool = False) -> None:
        self.sizes, self.unknown = sizes, unknown

    def __len__(self) -> int:
        return -1 if self.unknown else len(self.sizes)

    def __getitem__(self, index: int) -> int:
        return self.sizes[index]


class FakeTensorRt(ModuleType):
    """The module; `behaviour` says what fails, and every call that matters is kept in `calls`."""

    def __init__(self, version: str = "10.16.1.11", **behaviour: Any) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.behaviour = behaviour
        self.calls: list[Any] = []
        self.driver = FakeDriver(self)
        major = int(version.split(".", maxsplit=1)[0])
        self.NetworkDefinitionCreationFlag = Flags(major)
        self.BuilderFlag = SimpleNamespace(TF32="TF32", DISABLE_TIMING_CACHE="DISABLE_TIMING_CACHE")
        self.ProfilingVerbosity = SimpleNamespace(DETAILED="DETAILED")
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
        if major < 11:
            self.TacticSource = IntEnum("TacticSource", {"CUBLAS": 0, "CUDNN": 2})
        self.LayerInformationFormat = SimpleNamespace(JSON="JSON")
        self.TensorIOMode = SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
        self.ILogger = type("ILogger", (), {"Severity": Severity})
        self.loggers: list[Any] = []

    def init_libnvinfer_plugins(self, logger: Any, _namespace: str) -> None:
        self.loggers.append(logger)

    def nptype(self, kind: str) -> Any:
        if kind == "BF16":
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return {"FLOAT": np.float32, "INT64": np.int64}[kind]

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        return Builder(self, logger)

    def OnnxParser(self, _network: Any, _logger: Any) -> Any:  # noqa: N802
        return Parser(self)

    def Runtime(self, _logger: Any) -> Any:  # noqa: N802
        engine = None if self.behaviour.get("engine_fails") else Engine(self)
        return SimpleNamespace(deserialize_cuda_engine=lambda _plan: engine)


class Parser:
    def __init__(self, trt: FakeTensorRt) -> None:
        self.trt = trt
        self.errors = trt.behaviour.get("errors", [])
        self.num_errors = len(self.errors)

    def parse_from_file(self, path: str) -> bool:
        self.trt.calls.append(("parse", path))
        return not self.errors

    def parse(self, data: bytes) -> bool:
        self.trt.calls.append(("parse", len(data)))
        return not self.errors

    def get_error(self, index: int) -> Any:
        code, words = self.errors[index]
        return SimpleNamespace(code=lambda: code, desc=lambda: words)


class Network:
    def __init__(self, trt: FakeTensorRt) -> None:
        self.inputs = [
            SimpleNamespace(name=name, shape=trt.behaviour.get("input_shape", Dims(-1, 3)))
            for name in trt.behaviour.get("inputs", ["x"])
        ]
        self.num_inputs = len(self.inputs)

    def get_input(self, index: int) -> Any:
        return self.inputs[index]


class Builder:
    def __init__(self, trt: FakeTensorRt, logger: Any) -> None:
        self.trt, self.logger = trt, logger
        self.max_threads = 0

    def create_network(self, flags: int = 0) -> Network:
        self.trt.calls.append(("network", flags))
        return Network(self.trt)

    def create_builder_config(self) -> Any:
        calls = self.trt.calls

        def add_profile(profile: Any) -> int:
            calls.append(("profile", profile.shapes))
            return -1 if self.trt.behaviour.get("profile_fails") else 0

        def set_cache(cache: TimingCache, *, ignore_mismatch: bool) -> bool:
            assert ignore_mismatch is False
            calls.append(("timings", cache.content))
            return not self.trt.behaviour.get("other_timings")

        return SimpleNamespace(
            create_timing_cache=TimingCache,
            set_timing_cache=set_cache,
            get_timing_cache=lambda: TimingCache(b"measured"),
            set_tactic_sources=lambda mask: calls.append(("sources", mask)),
            set_flag=lambda flag: calls.append(("set", flag)),
            clear_flag=lambda flag: calls.append(("clear", flag)),
            set_memory_pool_limit=lambda pool, size: calls.append((pool, size)),
            add_optimization_profile=add_profile,
        )

    def create_optimization_profile(self) -> Any:
        profile = SimpleNamespace(shapes={})

        def set_shape(name: str, least: Any, best: Any, most: Any) -> None:
            profile.shapes[name] = (least, best, most)

        profile.set_shape = set_shape
        return profile

    def build_serialized_network(self, _network: Any, config: Any) -> Any:
        self.trt.calls.append(("build", config.builder_optimization_level, self.max_threads))
        self.trt.calls.append(("verbosity", config.profiling_verbosity))
        if self.trt.behaviour.get("build_fails"):
            self.logger.log(Severity.WARNING, "a warning")
            self.logger.log(Severity.ERROR, "Error Code 10: no tactic\nfor node Conv_0")
            return None
        return b"plan"


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> memoryview:
        return memoryview(self.content)


class Engine:
    """Two outputs: twice the input, and the input's first column."""

    num_io_tensors = 3

    def __init__(self, trt: FakeTensorRt) -> None:
        self.trt = trt
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()
        self.batch = 0

    def get_tensor_name(self, index: int) -> str:
        return ("x", "double", "first")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == "x" else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> str:
        kind: str = self.trt.behaviour.get("dtypes", {}).get(name, "FLOAT")
        return kind

    def get_tensor_shape(self, name: str) -> Any:
        assert name == "x"
        return self.trt.behaviour.get("input_shape", Dims(-1, 3))

    def create_execution_context(self) -> Any:
        return None if self.trt.behaviour.get("context_fails") else Context(self)

    def create_engine_inspector(self) -> Any:
        told = self.trt.behaviour.get(
            "layers",
            [
                {"LayerType": "CaskConvolution", "TacticName": "sm80_xmma_fprop"},
                {"LayerType": "CaskConvolution", "TacticName": "sm80_xmma_fprop"},
                {"LayerType": "Reformat", "TacticName": ""},
            ],
        )
        text = told if isinstance(told, str) else json.dumps({"Layers": told})
        return SimpleNamespace(get_engine_information=lambda _format: text)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.trt = engine, engine.trt

    def set_input_shape(self, _name: str, shape: tuple[int, ...]) -> bool:
        self.engine.shape, self.engine.batch = shape, shape[0]
        return not self.trt.behaviour.get("shape_fails")

    def get_tensor_shape(self, name: str) -> Any:
        if self.trt.behaviour.get("data_dependent"):
            return Dims(-1, 3)
        return Dims(*self.engine.shape) if name == "double" else Dims(self.engine.batch)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.engine.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        if self.trt.behaviour.get("execution_fails"):
            return False
        assert stream == FakeDriver.STREAM
        self.trt.driver.gpu.queue(self.trt.driver.gpu.WORK)
        memory, addresses = self.trt.driver.memory, self.engine.addresses
        x = np.frombuffer(memory[addresses["x"]], np.float32).reshape(self.engine.batch, -1)
        memory[addresses["double"]][:] = (x * 2).tobytes()
        memory[addresses["first"]][:] = x[:, 0].copy().tobytes()
        return True


class FakeDriver:
    """`libcuda.so.1` with memory of its own: addresses are numbers, and copies really copy."""

    STREAM = 77

    def __init__(self, trt: FakeTensorRt) -> None:
        self.trt = trt
        self.memory: dict[int, bytearray] = {}
        self.open: list[str] = []
        self.events: dict[int, Event] = {}
        self.gpu = SlowDevice()
        self.next = 0x7000_0000

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGet(self, _device: Any, _index: int) -> int:  # noqa: N802
        return 0

    def cuDevicePrimaryCtxRetain(self, _context: Any, _device: Any) -> int:  # noqa: N802
        self.open.append("context")
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, _device: Any) -> int:  # noqa: N802
        self.open.remove("context")
        return 0

    def cuCtxSetCurrent(self, _context: Any) -> int:  # noqa: N802
        return 0

    def cuStreamCreate(self, stream: Any, _flags: int) -> int:  # noqa: N802
        stream._obj.value = self.STREAM
        self.open.append("stream")
        return 0

    def cuStreamDestroy_v2(self, _stream: Any) -> int:  # noqa: N802
        self.open.remove("stream")
        return 0

    def cuStreamSynchronize(self, _stream: Any) -> int:  # noqa: N802
        self.gpu.wait()
        status: int = self.trt.behaviour.get("synchronize", 0)
        return status

    def cuMemAlloc_v2(self, address: Any, size: Any) -> int:  # noqa: N802
        if self.trt.behaviour.get("memory_fails"):
            return 2
        address._obj.value = self.next
        self.memory[self.next] = bytearray(size.value)
        self.next += 0x1_0000
        return 0

    def cuMemFree_v2(self, address: Any) -> int:  # noqa: N802
        del self.memory[address.value]
        return 0

    def cuMemcpyHtoDAsync_v2(self, to: Any, source: Any, size: Any, _stream: Any) -> int:  # noqa: N802
        self.gpu.queue(self.gpu.IN)
        self.memory[to.value][:] = ctypes.string_at(source.value, size.value)
        return 0

    def cuMemcpyDtoHAsync_v2(self, to: Any, source: Any, size: Any, _stream: Any) -> int:  # noqa: N802
        self.gpu.queue(self.gpu.OUT)
        data = bytes(self.memory[source.value])[: size.value]
        ctypes.memmove(to.value, data, len(data))
        return 0

    def cuEventCreate(self, event: Any, flags: int) -> int:  # noqa: N802
        assert flags == 0, "an event that keeps no time was asked for"
        self.events[self.next] = Event(self.gpu)
        event._obj.value = self.next
        self.next += 0x1_0000
        return 0

    def cuEventRecord(self, event: Any, stream: Any) -> int:  # noqa: N802
        assert stream.value == self.STREAM
        self.events[event.value].record()
        return 0

    def cuEventElapsedTime(self, elapsed: Any, begin: Any, end: Any) -> int:  # noqa: N802
        elapsed._obj.value = self.events[begin.value].elapsed_ms(self.events[end.value])
        return 0

    def cuEventDestroy_v2(self, event: Any) -> int:  # noqa: N802
        del self.events[event.value]
        return 0

    def cuPointerGetAttribute(self, found: Any, attribute: Any, address: Any) -> int:  # noqa: N802
        assert attribute.value == 9
        assert address.value in self.memory
        found._obj.value = self.trt.behaviour.get("ordinal", 0)
        return 0

    def cuGetErrorString(self, status: int, text: Any) -> int:  # noqa: N802
        words = {2: b"out of memory", 700: b"an illegal memory access was encountered"}
        text._obj.value = words.get(status)
        return 0
