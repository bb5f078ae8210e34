"""PyTorch on a GPU: every tensor of a program must be there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runner.backends.base import LoadRequest
from runner.errors import RunnerError

BATCH = np.array([[1.0, 2.0]], np.float32)
SHOWN = """PyTorch built with:
  - GCC 13.3
  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64
  - Intel(R) MKL-DNN v3.12.0 (Git Hash 80afa71)
  - OpenMP 201511 (a.k.a. OpenMP 4.5)
  - CPU capability usage: AVX512
  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release, COMMIT_SHA=cf30153
"""


@dataclass
class Tensor:
    """A made-up tensor: numbers and a place."""

    values: np.ndarray
    device: str = "cpu"
    dtype: str = "torch.float32"
    fetched: list[str] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def to(self, device: str) -> Tensor:
        return Tensor(self.values, device)

    def cpu(self) -> Tensor:
        self.fetched.append("cpu")
        return Tensor(self.values, "cpu")

    def numpy(self) -> np.ndarray:
        assert self.device == "cpu", "a tensor on the GPU has no NumPy array"
        return self.values


class Module:
    """A program's module: a weight, a buffer, a constant, and a node that makes a tensor."""

    def __init__(self, device: str, *, left: str = "", makes: str = "cuda:0") -> None:
        def place(name: str) -> str:
            return "cpu" if name == left else device

        self.weight = Tensor(np.ones(2, np.float32), place("weight"))
        self.mean = Tensor(np.ones(2, np.float32), place("mean"))
        self.constant = Tensor(np.ones(1, np.float32), place("constant"))
        self.leaves_output = left == "output"
        node = SimpleNamespace(name="zeros", kwargs={"device": makes})
        self.graph = SimpleNamespace(nodes=[node, SimpleNamespace(name="add", kwargs={})])

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        yield "weight", self.weight

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        yield "mean", self.mean

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        yield "", SimpleNamespace(constant=self.constant)

    def __call__(self, fed: Tensor) -> Tensor:
        return Tensor(fed.values * 2, "cpu" if self.leaves_output else fed.device)


def fake_torch(cuda: str | None = "12.8", *, usable: bool = True) -> ModuleType:
    torch = ModuleType("torch")
    node = {"val": Tensor(BATCH)}
    program = SimpleNamespace(
        graph_signature=SimpleNamespace(user_inputs=["x"], user_outputs=["y"]),
        graph=SimpleNamespace(nodes=[SimpleNamespace(name=n, meta=node) for n in ("x", "y")]),
        module=lambda: Module("cpu"),
    )
    flags = SimpleNamespace(allow_tf32=True)
    torch.__dict__.update(
        __version__="2.13.0+cu128",
        Tensor=Tensor,
        version=SimpleNamespace(cuda=cuda, git_version="cf30153", hip=None),
        backends=SimpleNamespace(
            mkldnn=SimpleNamespace(set_flags=lambda _: None, is_available=lambda: True),
            cuda=SimpleNamespace(matmul=flags),
            cudnn=SimpleNamespace(allow_tf32=True, version=lambda: 91002),
        ),
        cuda=SimpleNamespace(is_available=lambda: usable, memory_allocated=lambda _: 123456),
        export=SimpleNamespace(load=lambda _: program),
        set_num_threads=lambda _: None,
        set_num_interop_threads=lambda _: None,
        get_num_threads=lambda: 1,
        get_num_interop_threads=lambda: 1,
        set_float32_matmul_precision=lambda _: None,
        get_float32_matmul_precision=lambda: "highest",
        inference_mode=nullcontext,
        from_numpy=Tensor,
    )
    return torch


def passes(module: Module) -> ModuleType:
    """`torch.export.passes`, whose one pass gives this module."""
    found = ModuleType("torch.export.passes")
    found.__dict__["move_to_device_pass"] = lambda *_: SimpleNamespace(module=lambda: module)
    return found


Loader = Callable[..., Any]


@pytest.fixture
def load(with_framework: Callable[..., ModuleType], tmp_path: Path) -> Loader:
    """Load a program: `load(torch, moved module, **changes to the request)`."""
    (tmp_path / "m.pt2").write_bytes(b"program")

    def begin(torch: ModuleType, moved: Module | None = None, **changes: Any) -> Any:
        module = with_framework(
            "runner.backends.torch_eager",
            torch=torch,
            torch__export__passes=passes(moved or Module("cuda:0")),
        )
        request = {
            "path": str(tmp_path / "m.pt2"),
            "format": "pt2",
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


def test_a_program_that_is_wholly_on_the_gpu_is_proven_and_its_outputs_come_back(
    load: Loader, one_gpu: Any
) -> None:
    torch = fake_torch()
    backend = load(torch)
    (output,) = backend.run(BATCH)
    np.testing.assert_array_equal(output, BATCH * 2)
    assert backend.prove(BATCH) == {
        "device_proof": {
            "name": "NVIDIA Test",
            "uuid": "GPU-00000000-0000-0000-0000-000000000001",
            "memory_mib": 24576,
            "capability": "8.9",
            "driver": "570.133.20",
            "cuda": "12.8",
            "device": "cuda:0",
            "tensors": 4,
            "allocated_bytes": 123456,
        }
    }
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is False
    assert backend.describe().ran["tf32"] is False
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


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
def test_one_tensor_elsewhere_is_refused_and_named(
    load: Loader, one_gpu: Any, moved: Module, words: str
) -> None:
    backend = load(fake_torch(), moved)
    backend.run(BATCH)
    with pytest.raises(RunnerError, match=words) as caught:
        backend.prove(BATCH)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("torch", "words"),
    [
        (fake_torch(cuda=None), "this PyTorch is built for the CPU"),
        (fake_torch(usable=False), r"can't use NVIDIA Test \(driver 570.133.20"),
    ],
)
def test_a_pytorch_that_can_not_use_the_gpu_says_why(
    load: Loader, one_gpu: Any, torch: ModuleType, words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        load(torch)
    assert caught.value.kind == "unsupported"


def test_without_a_gpu_the_request_is_refused(load: Loader, no_gpu: Any) -> None:
    with pytest.raises(RunnerError, match=r"libcuda\.so\.1") as caught:
        load(fake_torch())
    assert caught.value.kind == "wrong-device"


def test_a_setting_of_the_cpu_alone_is_refused_on_the_gpu(load: Loader, one_gpu: Any) -> None:
    with pytest.raises(RunnerError, match="onednn on the GPU") as caught:
        load(fake_torch(), settings={"onednn": False})
    assert caught.value.kind == "unsupported"


def test_the_librarys_own_precision_leaves_tf32_alone(load: Loader, one_gpu: Any) -> None:
    torch = fake_torch()
    backend = load(torch, precision="default")
    assert torch.backends.cudnn.allow_tf32 is True
    assert backend.describe().ran["tf32"] is True
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


def test_on_the_cpu_nothing_moves_and_nothing_has_to_be_proven(load: Loader, no_gpu: Any) -> None:
    backend = load(fake_torch(), device="cpu")
    (output,) = backend.run(BATCH)
    np.testing.assert_array_equal(output, BATCH * 2)
    assert backend.prove(BATCH) == {}


def test_the_parts_of_a_build_are_read_and_what_this_machine_has_is_no_part_of_it(
    with_framework: Callable[..., ModuleType],
) -> None:
    module = with_framework("runner.backends.torch_eager", torch=fake_torch())
    assert module.parse_build(SHOWN, {"cuda": "12.8"}) == {
        "compiler": "GCC 13.3",
        "mkl": "2024.2",
        "onednn": "3.12.0",
        "openmp": "201511",
        "blas": "mkl",
        "cuda": "12.8",
    }
