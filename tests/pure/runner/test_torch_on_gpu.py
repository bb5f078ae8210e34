"""PyTorch on a GPU: every part of a program must be there, in each way of running it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support import fake_torch as fake
from support.fake_torch import BATCH, WAYS, Inductor, Module, fake_torch
from support.slow_device import SlowDevice

from runner.errors import RunnerError

Loader = Callable[..., Any]


@pytest.fixture
def load(
    with_framework: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loader]:
    """Load a program by a made-up PyTorch: see `fake_torch.loader`."""
    monkeypatch.setenv("CXX", fake.compiler_in(tmp_path))
    made: list[Any] = []
    yield fake.loader(with_framework, tmp_path, made)
    for backend in made:
        backend.close()
    fake.forget_shared_parts()


@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_is_wholly_on_the_gpu_is_proven_and_its_outputs_come_back(
    load: Loader, one_gpu: Any, way: str
) -> None:
    torch = fake_torch()
    backend = load(torch, way=way)
    (output,) = backend.run(BATCH)
    np.testing.assert_array_equal(output, BATCH * 2)
    tensors = {"torch_eager": 4, "torch_jit": 3, "torch_compile": 4, "torch_export": 1}[way]
    assert backend.prove(BATCH)["device_proof"] == {
        "name": "NVIDIA Test",
        "uuid": "GPU-00000000-0000-0000-0000-000000000001",
        "memory_mib": 24576,
        "capability": "8.9",
        "driver": "570.133.20",
        "cuda": "12.8",
        "device": "cuda:0",
        "tensors": tensors,
        "allocated_bytes": 123456,
    }
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is False
    ran = backend.describe().ran
    assert (ran["tf32"], ran["precision"], ran["threads"]) == (False, "f32", 1)
    runs = {"torch_eager": 0, "torch_jit": 3, "torch_compile": 1, "torch_export": 0}[way]
    assert ran["runs_in_compile"] == runs
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


@pytest.mark.parametrize("way", WAYS)
def test_the_parts_of_a_query_are_told_by_cudas_own_events(
    load: Loader, one_gpu: Any, way: str
) -> None:
    backend = load(fake_torch(), way=way)
    # What runs still is waited for before the first event, and counted in no part.
    fake.GPU.queue(77_000_000)
    (output,), stages = backend.run_in_stages(BATCH)
    np.testing.assert_array_equal(output, BATCH * 2)
    assert stages == SlowDevice.STAGES


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        (Module("cuda:0", left="weight"), "weight on cpu"),
        (Module("cuda:0", left="mean"), "mean on cpu"),
        (Module("cuda:0", left="constant"), "constant on cpu"),
        (Module("cuda:0", left="output"), "output 0 on cpu"),
        (Module("cuda:0", makes="cpu"), "zeros on cpu"),
        (Module("cuda:1"), "weight on cuda:1"),
    ],
)
@pytest.mark.parametrize("way", ["torch_eager", "torch_compile"])
def test_one_tensor_elsewhere_is_refused_and_named(
    load: Loader, one_gpu: Any, moved: Module, words: str, way: str
) -> None:
    backend = load(fake_torch(), moved, way=way)
    backend.run(BATCH)
    with pytest.raises(RunnerError, match=words) as caught:
        backend.prove(BATCH)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("way", ["torch_compile", "torch_export"])
def test_a_kernel_generated_for_the_cpu_is_refused_and_named(
    load: Loader, one_gpu: Any, way: str
) -> None:
    backend = load(fake_torch(), way=way, inductor=Inductor(kernel="cpp_fused_relu"))
    with pytest.raises(RunnerError, match=r"relu \(inductor C\+\+\) on cpu") as caught:
        backend.prove(BATCH)
    assert caught.value.kind == "unsupported"


def test_a_library_that_was_compiled_for_the_cpu_is_refused(load: Loader, one_gpu: Any) -> None:
    inductor = Inductor(kernel="triton", metadata={"AOTI_DEVICE_KEY": "cpu"})
    backend = load(fake_torch(), way="torch_export", inductor=inductor)
    with pytest.raises(RunnerError, match="the compiled library on cpu"):
        backend.prove(BATCH)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("torch", "words"),
    [
        (fake_torch(cuda=None), "this PyTorch is built for the CPU"),
        (fake_torch(usable=False), r"can't use NVIDIA Test \(driver 570.133.20"),
    ],
)
def test_a_pytorch_that_can_not_use_the_gpu_says_why(
    load: Loader, one_gpu: Any, torch: ModuleType, words: str, way: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        load(torch, way=way)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("way", WAYS)
def test_without_a_gpu_the_request_is_refused(load: Loader, no_gpu: Any, way: str) -> None:
    with pytest.raises(RunnerError, match=r"libcuda\.so\.1") as caught:
        load(fake_torch(), way=way)
    assert caught.value.kind == "wrong-device"


@pytest.mark.parametrize("way", WAYS)
def test_a_setting_of_the_cpu_alone_is_refused_on_the_gpu(
    load: Loader, one_gpu: Any, way: str
) -> None:
    with pytest.raises(RunnerError, match="onednn on the GPU") as caught:
        load(fake_torch(), way=way, settings={"onednn": False})
    assert caught.value.kind == "unsupported"


def test_the_librarys_own_precision_leaves_tf32_alone_and_says_so(
    load: Loader, one_gpu: Any
) -> None:
    torch = fake_torch()
    backend = load(torch, precision="default")
    assert torch.backends.cudnn.allow_tf32 is True
    assert backend.describe().ran["tf32"] is True
    assert backend.describe().ran["precision"] == "default"
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune-no-cudagraphs"])
def test_modes_that_differ_in_cuda_graphs_reach_the_compiler_on_the_gpu(
    load: Loader, one_gpu: Any, mode: str
) -> None:
    inductor = Inductor(kernel="triton")
    load(fake_torch(), way="torch_compile", inductor=inductor, settings={"mode": mode})
    assert inductor.asked == {
        "fullgraph": True,
        "dynamic": False,
        "mode": mode,
        "backend": "inductor",
    }


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_a_program_is_recorded_in_cuda_graphs_or_the_mode_is_refused(
    load: Loader, one_gpu: Any, mode: str
) -> None:
    inductor = Inductor(kernel="triton")
    asked = {"way": "torch_compile", "settings": {"mode": mode}}
    ran = load(fake_torch(), inductor=inductor, **asked).describe().ran
    assert (ran["cuda_graphs"], ran["runs_in_compile"], inductor.calls) == (True, 2, 2)
    with pytest.raises(RunnerError, match=f"mode {mode} and skipped CUDA graphs 3 times") as caught:
        load(fake_torch(), inductor=Inductor(kernel="triton", skips=3), **asked)
    assert caught.value.kind == "unsupported"


def test_modes_without_cuda_graphs_skip_none(load: Loader, one_gpu: Any) -> None:
    inductor = Inductor(kernel="triton", skips=1)
    mode = {"mode": "max-autotune-no-cudagraphs"}
    ran = load(fake_torch(), way="torch_compile", inductor=inductor, settings=mode).describe().ran
    assert ran["runs_in_compile"] == 1
    assert "cuda_graphs" not in ran


@pytest.mark.parametrize("way", WAYS)
def test_on_the_cpu_nothing_moves_and_no_device_has_to_be_proven(
    load: Loader, no_gpu: Any, way: str
) -> None:
    backend = load(fake_torch(), way=way, device="cpu", inductor=Inductor())
    (output,) = backend.run(BATCH)
    np.testing.assert_array_equal(output, BATCH * 2)
    assert "device_proof" not in backend.prove(BATCH)
