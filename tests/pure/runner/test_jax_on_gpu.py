"""JAX through made-up modules: settings, and a GPU on which every array must be."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.slow_device import SlowDevice

from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.support import jax_archive, jax_compiling, jax_runtime, xla_library

BATCH = np.array([[1.0, 2.0]], np.float32)
WEIGHT = np.array([3.0, 4.0], np.float32)


@dataclass(frozen=True)
class Device:
    """A made-up device."""

    platform: str

    def __str__(self) -> str:
        return f"{self.platform}:0"

    def memory_stats(self) -> dict[str, int]:
        return {"bytes_in_use": 123456}


@dataclass
class Array:
    """A made-up array: numbers and a place."""

    values: np.ndarray
    device: Device

    def devices(self) -> set[Device]:
        return {self.device}

    gpu: SlowDevice = field(default_factory=SlowDevice)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.gpu.copy_out()
        return self.values


class Compiled:
    """x * w, for the weight that it was given or compiled with; output 0 can be left behind."""

    def __init__(self, weights: tuple[Array, ...], stays: Device | None) -> None:
        self.weights, self.stays = weights, stays

    def __call__(self, fed: Array, *weights: Array) -> tuple[Array, ...]:
        (weight,) = weights or self.weights
        fed.gpu.queue(fed.gpu.WORK)
        return (Array(fed.values * weight.values, self.stays or fed.device, fed.gpu),)

    def as_text(self) -> str:
        return "ENTRY %main (x: f32[1,2]) -> f32[1,2] {\n  ROOT %m = f32[1,2] multiply(%x, %w)\n}"

    def cost_analysis(self) -> dict[str, float]:
        return {"flops": 2.0, "bytes accessed": 24.0, "utilization0{}": 1.0}


class FakeJax:
    """What the backend asks of JAX, and what it was told."""

    def __init__(self, *, platforms: tuple[str, ...], stays: str = "", refuses: str = "") -> None:
        self.devices_by_name = {name: Device(name) for name in platforms}
        self.stays = Device(stays) if stays else None
        self.refuses = refuses
        self.options: Any = "not compiled"
        self.function = b""
        self.gpu = SlowDevice()
        self.module = ModuleType("jax")
        self.module.__dict__.update(
            __version__="0.10.2",
            devices=self.devices,
            device_put=self.put,
            block_until_ready=self.wait,
            jit=lambda function: SimpleNamespace(lower=self.lower, function=function),
            default_matmul_precision=lambda _: nullcontext(),
        )
        self.export = ModuleType("jax.export")
        self.export.__dict__.update(deserialize=self.deserialize)
        self.module.__dict__["export"] = self.export

    def put(self, value: Any, device: Device) -> Array:
        self.gpu.queue(self.gpu.IN)
        return Array(np.asarray(value), device, self.gpu)

    def wait(self, outputs: Any) -> Any:
        self.gpu.wait()
        return outputs

    def devices(self, kind: str) -> list[Device]:
        if kind not in self.devices_by_name:
            raise RuntimeError(f"Unknown backend {kind}")
        return [self.devices_by_name[kind]]

    def deserialize(self, function: bytearray) -> Any:
        self.function = bytes(function)
        aval = SimpleNamespace(shape=BATCH.shape, dtype=BATCH.dtype)
        weight = SimpleNamespace(shape=WEIGHT.shape, dtype=WEIGHT.dtype)
        return SimpleNamespace(
            in_avals=(aval, weight), out_avals=(aval,), call=lambda *given: given
        )

    def lower(self, *given: Array) -> Any:
        def compile_(compiler_options: Any = None) -> Compiled:
            if self.refuses:
                raise RuntimeError(self.refuses)
            self.options = compiler_options
            weights = given[1:] or (Array(WEIGHT, given[0].device),)
            return Compiled(weights, self.stays)

        return SimpleNamespace(compile=compile_)


Loader = Callable[..., Any]


@pytest.fixture
def load(
    with_framework: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Loader:
    """Load and compile with a made-up JAX: `load(jax, **request)`."""
    path = tmp_path / "model.jax"
    functions = {name: name.encode() for name in jax_archive.PRECISIONS}
    about = {"input": "x", "outputs": ["y"], "calling_convention_version": 10, "jax": "0.10.2"}
    jax_archive.write(str(path), functions, (WEIGHT,), about)
    monkeypatch.setattr(jax_runtime, "prepare", lambda device, *_: {"xla_flags": device})
    monkeypatch.setattr(jax_runtime, "proven_threads", lambda threads, _: threads)

    def begin(jax: FakeJax, **changes: Any) -> Any:
        module = with_framework("runner.backends.jax", jax=jax.module, jax__export=jax.export)
        request = {
            "path": str(path),
            "format": "jax",
            "settings": {},
            "precision": "f32",
            "device": "cuda",
            "threads": 1,
            "batch": 1,
            "item_shape": (2,),
            **changes,
        }
        backend = module.create(LoadRequest(**request))
        backend.load()
        backend.compile()
        return backend

    return begin


GPU = ("cuda", "cpu")


def test_a_function_that_is_wholly_on_the_gpu_is_proven_and_its_outputs_come_back(
    load: Loader, one_gpu: Any
) -> None:
    jax = FakeJax(platforms=GPU)
    backend = load(jax)
    (output,) = backend.run(BATCH)
    np.testing.assert_array_equal(output, BATCH * WEIGHT)
    assert backend.prove(BATCH) == {
        "device_proof": {
            "name": "NVIDIA Test",
            "uuid": "GPU-00000000-0000-0000-0000-000000000001",
            "memory_mib": 24576,
            "capability": "8.9",
            "driver": "570.133.20",
            "cuda": "12.8",
            "device": "cuda:0",
            "tensors": 2,
            "allocated_bytes": 123456,
        }
    }
    assert jax.function == b"highest"
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    ran = backend.describe().ran
    assert ran["tf32"] is False
    assert ran["matmul_precision"] == "highest"
    assert ran["operators"] == {"multiply (XLA)": 1}
    assert ran["cost"] == {"flops": 2, "bytes_accessed": 24}
    assert ran["runs_in_compile"] == 0


def test_the_parts_of_a_query_are_told_once_each_is_waited_for(
    load: Loader, one_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = FakeJax(platforms=GPU)
    backend = load(jax)
    jax.gpu.wait()
    monkeypatch.setattr("time.perf_counter_ns", jax.gpu)
    (output,), stages = backend.run_in_stages(BATCH)
    np.testing.assert_array_equal(output, BATCH * WEIGHT)
    assert stages == SlowDevice.STAGES


def test_the_librarys_own_precision_leaves_tf32_alone(load: Loader, one_gpu: Any) -> None:
    jax = FakeJax(platforms=GPU)
    assert load(jax, precision="default").describe().ran["tf32"] is True
    assert jax.function == b"default"
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


def test_an_output_elsewhere_is_refused_and_named(load: Loader, one_gpu: Any) -> None:
    backend = load(FakeJax(platforms=GPU, stays="cpu"))
    with pytest.raises(RunnerError, match=r"1 of the arrays are elsewhere \(output 0 on cpu:0\)"):
        backend.prove(BATCH)


def test_a_jax_that_can_not_use_the_gpu_says_why(load: Loader, one_gpu: Any) -> None:
    with pytest.raises(
        RunnerError, match=r"can't use NVIDIA Test \(driver 570.133.20.*Unknown backend cuda"
    ) as caught:
        load(FakeJax(platforms=("cpu",)))
    assert caught.value.kind == "unsupported"


def test_without_a_gpu_the_request_is_refused(load: Loader, no_gpu: Any) -> None:
    with pytest.raises(RunnerError, match=r"libcuda\.so\.1") as caught:
        load(FakeJax(platforms=GPU))
    assert caught.value.kind == "wrong-device"


@pytest.mark.parametrize(("device", "counts"), [("cuda", True), ("cpu", False)])
def test_flags_count_where_what_they_do_is_not_all_in_the_program(
    load: Loader, one_gpu: Any, monkeypatch: pytest.MonkeyPatch, device: str, counts: bool
) -> None:
    seen: list[list[Any]] = []

    def looked(*given: Any) -> Any:
        seen.append(given[3])
        return SimpleNamespace(as_document=dict)

    monkeypatch.setattr(jax_compiling, "fingerprint", looked)
    monkeypatch.setattr(xla_library, "flags", lambda _: ("xla_gpu_streams",))
    for streams in (1, 2):
        settings = {"xla_flags": {"xla_gpu_streams": streams}}
        backend = load(FakeJax(platforms=GPU), device=device, settings=settings, fingerprint=True)
        backend.fingerprint("")
    assert [type(one) for one in seen[0][:1]] == [Array]
    assert (seen[0][1:] != seen[1][1:]) is counts


def test_a_setting_of_the_cpu_alone_is_refused_on_the_gpu(load: Loader, one_gpu: Any) -> None:
    with pytest.raises(RunnerError, match="on the GPU") as caught:
        load(FakeJax(platforms=GPU), settings={"ynnpack": False})
    assert caught.value.kind == "unsupported"


def test_on_the_cpu_nothing_has_to_be_proven_and_the_pool_is_counted(
    load: Loader, no_gpu: Any
) -> None:
    backend = load(FakeJax(platforms=("cpu",)), device="cpu", threads=2)
    assert backend.prove(BATCH) == {}
    ran = backend.describe().ran
    assert ran["pool_threads"] == 2
    assert "tf32" not in ran


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, None),
        ({"ynnpack": False}, {"xla_cpu_experimental_ynn_fusion_type": ""}),
        ({"optimization_level": 0}, {"xla_backend_optimization_level": 0}),
    ],
)
def test_settings_become_options_of_xla_and_its_defaults_none(
    load: Loader, settings: dict[str, Any], options: Any
) -> None:
    jax = FakeJax(platforms=("cpu",))
    load(jax, device="cpu", settings=settings)
    assert jax.options == options


def test_weights_that_are_compiled_in_are_no_arguments(load: Loader) -> None:
    backend = load(FakeJax(platforms=("cpu",)), device="cpu", settings={"weights": "constants"})
    (output,) = backend.run(BATCH)
    np.testing.assert_array_equal(output, BATCH * WEIGHT)


def test_less_than_whole_float32_is_refused_where_that_is_asked_for(load: Loader) -> None:
    jax = FakeJax(platforms=("cpu",))
    with pytest.raises(RunnerError, match="f32 is whole float32") as caught:
        load(jax, device="cpu", settings={"matmul_precision": "high"})
    assert caught.value.kind == "unsupported"
    load(jax, device="cpu", precision="default", settings={"matmul_precision": "high"})
    assert jax.function == b"high"


@pytest.mark.parametrize(
    ("refuses", "words"),
    [
        ("INVALID_ARGUMENT: No such compile option: 'x'", "option: 'x'; use another version"),
        ("Function f was exported for 0 devices", "convert the model in this environment"),
    ],
)
def test_what_this_version_can_not_do_is_unsupported(
    load: Loader, refuses: str, words: str
) -> None:
    jax = FakeJax(platforms=("cpu",), refuses=refuses)
    with pytest.raises(RunnerError, match=words) as caught:
        load(jax, device="cpu", settings={"ynnpack": False})
    assert caught.value.kind == "unsupported"


def test_another_batch_than_the_converted_one_asks_for_a_conversion(load: Loader) -> None:
    with pytest.raises(
        RunnerError, match=r"takes \[1, 2\] and \[4, 2\] is to be fed; convert"
    ) as caught:
        load(FakeJax(platforms=("cpu",)), device="cpu", batch=4)
    assert caught.value.kind == "unsupported"
