"""TVM with a made-up library: the GPU, what is refused, and how kernels are named."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from support.slow_device import SlowDevice

from runner import support
from runner.backends.base import LoadRequest
from runner.errors import RunnerError

BATCH = np.array([[1, 2, 3]], np.float32)
Loader = Callable[..., Any]


class Tensor:
    """Numbers in the memory of a device."""

    def __init__(self, values: np.ndarray, device: str, gpu: SlowDevice) -> None:
        self.values, self.device, self.gpu = values, device, gpu

    def numpy(self) -> np.ndarray:
        self.gpu.copy_out()
        return self.values.copy()


class Device:
    """A device of a kind; TVM names it when asked."""

    def __init__(self, kind: str, name: str = "NVIDIA Test", *, exist: bool = True) -> None:
        self.kind, self.device_name, self.exist = kind, name, exist
        self.gpu = SlowDevice()
        self.sync = self.gpu.wait

    def __str__(self) -> str:
        return f"{self.kind}:0"


class Call:
    def __init__(self, op: Any) -> None:
        self.op = op


class Function:
    """A Relax function: the calls in it, and what it gives."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = [Call(GlobalVar(name)) for name in calls] + [Call("vm.builtin.reshape")]
        self.ret_ty = SimpleNamespace(shape=[1, 3], dtype="float32")


class Kernel:
    """A kernel that reads int64 and writes a dtype, by its source."""

    def __init__(self, text: str, dtype: str = "float32") -> None:
        self.text, self.params = text, ("x", "y", "n")
        kinds = {"x": "int64", "y": dtype}
        self.buffer_map = {name: SimpleNamespace(dtype=kind) for name, kind in kinds.items()}

    def script(self) -> str:
        return self.text


class GlobalVar:
    def __init__(self, name: str) -> None:
        self.name_hint = name


class Module(dict[str, Any]):
    """An IRModule."""

    @property
    def functions(self) -> Module:
        return self


class FakeTvm(ModuleType):
    """The module `tvm` of a build with CUDA, on which a model doubles its input."""

    def __init__(self, **behaviour: Any) -> None:
        super().__init__("tvm")
        self.__version__ = "0.27.0.post1"
        self.behaviour = behaviour
        self.targets: list[Any] = []
        self.compiled: list[Any] = []
        self.calls = ["fused_conv2d13_add8_add", "fused_conv2d_add2_add1", "mean"]
        self.ir = SimpleNamespace(GlobalVar=GlobalVar)
        self.support = SimpleNamespace(libinfo=lambda: {"USE_CUDA": "ON", "USE_OPENCL": "OFF"})
        self.runtime = SimpleNamespace(tensor=self._tensor)
        self.target = SimpleNamespace(Target=self._target)
        self.cuda = lambda _: behaviour.get("device", Device("cuda"))

    def _tensor(self, array: np.ndarray, device: Device) -> Tensor:
        device.gpu.queue(device.gpu.IN)
        return Tensor(array, str(device), device.gpu)

    def cpu(self, _index: int) -> Device:
        return Device("cpu")

    def _target(self, given: Any, host: Any = None) -> Any:
        kind = given["kind"] if isinstance(given, dict) else getattr(given, "kind_name", given)
        target = FakeTarget(kind, given, host)
        self.targets.append(target)
        return target

    def get_global_func(self, name: str, *, allow_missing: bool) -> Any:
        assert allow_missing
        known: dict[str, Any] = {
            "target.llvm_get_system_cpu": lambda: "znver4",
            "target.llvm_get_system_triple": lambda: "x86_64-linux-gnu",
            "target.llvm_cpu_has_feature": lambda name, _: not name.startswith("avx512"),
            "target.llvm_version_major": lambda: 22,
            "runtime.NumThreads": lambda: self.behaviour.get("threads", 1),
            "device_api.cuda": object(),
        }
        return None if name in self.behaviour.get("without", ()) else known.get(name)

    def compile(self, module: Any, target: Any, relax_pipeline: Any) -> Any:
        assert relax_pipeline is None, "the passes have run already"
        self.compiled.append((module, target))
        return "executable"


class FakeTarget:
    def __init__(self, kind: str, given: Any, host: Any) -> None:
        self.kind, self.given, self.host = SimpleNamespace(name=kind), given, host

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __str__(self) -> str:
        return f"target {self.kind.name}"


class FakeRelax(ModuleType):
    """`tvm.relax`: a pipeline that adds kernels, a visitor, a virtual machine."""

    def __init__(self, tvm: FakeTvm) -> None:
        super().__init__("tvm.relax")
        self.tvm = tvm
        self.Call, self.Function = Call, Function
        self.analysis = SimpleNamespace(
            post_order_visit=lambda function, visit: [visit(call) for call in function.calls]
        )

    def get_default_pipeline(self, _target: Any) -> Any:
        kernels = {"a": Kernel("for i in T.parallel(9):"), "b": Kernel("for i in T.grid(9):")}
        return lambda _module: Module(main=Function(self.tvm.calls), **kernels)

    def VirtualMachine(self, _executable: Any, device: Any) -> Any:  # noqa: N802
        there = self.tvm.behaviour.get("outputs_on", str(device))

        def main(x: Tensor) -> Any:
            assert x.device == str(device)
            device.gpu.queue(device.gpu.WORK)
            return (
                [Tensor(x.values * 2, there, device.gpu)]
                if self.tvm.behaviour.get("tuple")
                else Tensor(x.values * 2, there, device.gpu)
            )

        return {"main": main}


def forget() -> None:
    """Drop the modules that hold a library which was made up for another test."""
    for stem in ("tvm_build", "tvm_model"):
        sys.modules.pop(f"runner.support.{stem}", None)
        vars(support).pop(stem, None)


@pytest.fixture
def load(
    with_framework: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loader]:
    """Compile a model that needs no file: `load(tvm, **changes to the request)`."""
    forget()
    monkeypatch.setenv("TVM_BIND_THREADS", "1")
    monkeypatch.setenv("TVM_NUM_THREADS", "9")

    def begin(tvm: FakeTvm, **changes: Any) -> Any:
        forget()
        module = with_framework("runner.backends.tvm", tvm=tvm, tvm__relax=FakeRelax(tvm))
        found: Any = module
        spec = found.tvm_model.TensorSpec("x", "float32", (1, 3))
        read = found.tvm_model.Imported(Module(main=Function([])), spec, (spec,))
        monkeypatch.setattr(found.tvm_model, "read", lambda *_: read)
        request = LoadRequest("m.onnx", "onnx", {}, "f32", "cpu", 1, 1, (3,))
        backend = found.create(LoadRequest(**{**vars(request), **changes}))
        backend.load()
        backend.compile()
        return backend

    yield begin
    forget()


def test_on_the_gpu_the_target_is_the_devices_own_and_the_outputs_prove_it(
    load: Loader, one_gpu: Any
) -> None:
    tvm = FakeTvm()
    backend = load(tvm, device="cuda")
    assert backend.run(BATCH)[0].tolist() == [[2, 4, 6]]
    proof = backend.prove(BATCH)
    assert proof["outputs_on"] == "cuda:0"
    assert proof["device_proof"]["name"] == "NVIDIA Test"
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    ran = backend.describe().ran
    assert ran["settings"] == {"target": "cuda"}
    assert ran["operators"] == {"fused_conv2d_add_add (cuda)": 2, "mean (cuda)": 1}
    assert (ran["kernels"], ran["parallel_kernels"]) == (2, 1)
    assert (ran["computes_in"], ran["runs_in_compile"]) == (["float32"], 0)
    assert tvm.targets[-1].host.given["mcpu"] == "znver4"


def test_the_parts_of_a_query_are_told_once_the_gpu_is_waited_for(
    load: Loader, one_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device("cuda")
    backend = load(FakeTvm(device=device), device="cuda")
    monkeypatch.setattr("time.perf_counter_ns", device.gpu)
    (output,), stages = backend.run_in_stages(BATCH)
    assert output.tolist() == [[2, 4, 6]]
    assert stages == SlowDevice.STAGES


def test_outputs_elsewhere_are_refused(load: Loader, one_gpu: Any) -> None:
    backend = load(FakeTvm(outputs_on="cpu:0", tuple=True), device="cuda")
    with pytest.raises(RunnerError, match=r"asked to run on cuda:0 .* on cpu:0") as caught:
        backend.prove(BATCH)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("behaviour", "settings", "kind", "words"),
    [
        ({"without": ["device_api.cuda"]}, {}, "unsupported", "runtime for cuda does not load"),
        ({}, {"target": "opencl"}, "unsupported", "USE_OPENCL is OFF"),
        ({}, {"target": "vulkan"}, "unsupported", "USE_VULKAN is OFF"),
        ({"device": Device("cuda", exist=False)}, {}, "unsupported", "finds no device"),
        ({"device": Device("cuda", "Another")}, {}, "wrong-device", "'Another' and the GPU"),
        (
            {},
            {"target": "llvm"},
            "unsupported",
            r"supports: cuda, opencl, vulkan\): .* for another",
        ),
        ({}, {"mcpu": "generic"}, "unsupported", "setting on a GPU 'mcpu'"),
    ],
)
def test_a_gpu_that_tvm_does_not_reach_is_refused(
    load: Loader,
    one_gpu: Any,
    behaviour: dict[str, Any],
    settings: dict[str, Any],
    kind: str,
    words: str,
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        load(FakeTvm(**behaviour), device="cuda", settings=settings)
    assert caught.value.kind == kind


def test_on_the_cpu_no_gpu_is_asked_for_and_threads_are_not_bound(
    load: Loader, no_gpu: Any
) -> None:
    tvm = FakeTvm()
    backend = load(tvm, settings={"fast_math": True})
    assert os.environ["TVM_BIND_THREADS"] == "0"
    assert os.environ["TVM_NUM_THREADS"] == "1"
    assert tvm.compiled[0][1].given == {
        "kind": "llvm",
        "mtriple": "x86_64-linux-gnu",
        "mcpu": "znver4",
        "fast-math": True,
    }
    assert backend.prove(BATCH) == {}


def test_a_target_of_the_gpu_is_refused_on_the_cpu(load: Loader, no_gpu: Any) -> None:
    with pytest.raises(RunnerError, match=r"target 'cuda' \(it supports: llvm, c\)") as caught:
        load(FakeTvm(), settings={"target": "cuda"})
    assert caught.value.kind == "unsupported"


def test_a_probe_offers_the_targets_of_all_devices(load: Loader, no_gpu: Any) -> None:
    load(FakeTvm())
    module: Any = sys.modules["runner.backends.tvm"]
    offer = module.probe().offer.as_document()
    assert offer["devices"] == ["cpu", "cuda"]
    assert offer["settings"]["target"] == ["auto", "llvm", "c", "cuda", "opencl", "vulkan"]


def test_without_a_c_compiler_on_the_path_the_advice_is_one_that_helps(
    load: Loader, no_gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Cells in a virtual environment are given PATH alone, so CC would not be heard.
    load(FakeTvm())
    module: Any = sys.modules["runner.backends.tvm"]
    monkeypatch.setenv("CC", "ccache gcc")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunnerError, match=r"none is here \(looked for cc, gcc, clang\)") as caught:
        module.tvm_build.compiler()
    assert "CC" not in caught.value.message
    assert caught.value.kind == "unsupported"


def test_a_pool_of_another_size_is_refused(load: Loader, no_gpu: Any) -> None:
    with pytest.raises(RunnerError, match=r"number of threads 4 \(it supports: 2\)"):
        load(FakeTvm(threads=2), threads=4)


def test_code_that_this_processor_can_not_run_is_refused(load: Loader, no_gpu: Any) -> None:
    with pytest.raises(RunnerError, match=r"mcpu x86-64-v4: it lacks avx512f, avx512bw"):
        load(FakeTvm(), settings={"mcpu": "x86-64-v4"})
    tvm = FakeTvm()
    load(tvm, settings={"mcpu": "x86-64-v3"})
    assert tvm.compiled[0][1].given["mcpu"] == "x86-64-v3"


def test_a_build_without_llvm_is_refused(load: Loader, no_gpu: Any) -> None:
    with pytest.raises(RunnerError, match="built without LLVM") as caught:
        load(FakeTvm(without=["target.llvm_get_system_cpu"]))
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fused_conv2d13_add8_add", "fused_conv2d_add_add"),
        ("conv2d", "conv2d"),
        ("conv2d1", "conv2d"),
        ("matmul", "matmul"),
        ("tir_isnan12", "tir_isnan"),
    ],
)
def test_numbered_kernels_are_of_one_kind(load: Loader, no_gpu: Any, name: str, kind: str) -> None:
    tvm = FakeTvm()
    tvm.calls = [name, name]
    assert load(tvm).describe().ran["operators"] == {f"{kind} (llvm)": 2}
