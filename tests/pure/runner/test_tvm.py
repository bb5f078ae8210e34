"""TVM with a made-up library: the GPU, what is refused, and how kernels are named."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import reduce
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

    def __init__(self, **functions: Any) -> None:
        super().__init__(**functions)
        self.rewritten: list[str] = []

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
        self.left_out: list[list[str]] = []
        self.instrument = SimpleNamespace(pass_instrument=lambda kind: kind)
        self.transform = SimpleNamespace(
            PassContext=self._pass_context,
            Sequential=lambda passes: lambda module: reduce(lambda m, one: one(m), passes, module),
        )
        self.cuda = lambda _: behaviour.get("device", Device("cuda"))

    def _tensor(self, array: np.ndarray, device: Device) -> Tensor:
        device.gpu.queue(device.gpu.IN)
        return Tensor(array, str(device), device.gpu)

    def _pass_context(self, disabled_pass: list[str], instruments: list[Any]) -> Any:
        """As TVM's: the pass FuseOps runs in it, unless it is left out, inside another one."""
        self.left_out.append(disabled_pass)
        for name in ("sequential", "FuseOps", "FuseOps", "tirx.UnrollLoop"):
            if name not in disabled_pass:
                instruments[0].run_before_pass(None, SimpleNamespace(name=name))
        return nullcontext()

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


def made(*names: str) -> ModuleType:
    """A module of passes: each rewrites a module to itself, and says so."""
    module = ModuleType("transform")
    for name in names:
        setattr(module, name, lambda *_, name=name: _rewrite(name))
    return module


def _rewrite(name: str) -> Callable[[Any], Any]:
    def rewrite(module: Module) -> Module:
        module.rewritten.append(name)
        return module

    return rewrite


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
    for name in [name for name in sys.modules if name.startswith("runner.support.tvm_")]:
        del sys.modules[name]
        vars(support).pop(name.rpartition(".")[2], None)


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
        module = with_framework(
            "runner.backends.tvm",
            tvm=tvm,
            tvm__relax=FakeRelax(tvm),
            tvm__relax__transform=made("FuseOps", "FuseTIR", "FoldBatchnormToConv2D"),
            tvm__s_tir__transform=made("StmtSimplify"),
            tvm__tirx__transform=made("UnrollLoop"),
        )
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
    assert ran["settings"] == {"target": "cuda", "mcpu": "host"}
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
        ({}, {"pipeline": "default_build"}, "unsupported", "setting on a GPU 'pipeline'"),
        ({}, {"passes": []}, "unsupported", "setting on a GPU 'passes'"),
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
        module.tvm_compiler.compiler()
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


def test_the_pipeline_without_some_passes(load: Loader, no_gpu: Any) -> None:
    tvm = FakeTvm()
    ran = load(tvm, settings={"disabled_passes": ["FuseTIR", "tirx.UnrollLoop"]}).describe().ran
    assert tvm.left_out == [["FuseTIR", "tirx.UnrollLoop"]]
    assert ran["settings"]["disabled_passes"] == ("FuseTIR", "tirx.UnrollLoop")


def test_passes_alone_are_those_of_the_pipeline_and_of_the_graph_in_their_order(
    load: Loader, no_gpu: Any
) -> None:
    tvm = FakeTvm()
    backend = load(tvm, settings={"passes": ["FuseOps", "FoldBatchnormToConv2D"]})
    assert tvm.left_out == [["FuseTIR", "s_tir.StmtSimplify", "tirx.UnrollLoop"]]
    assert backend._imported.module.rewritten == ["FoldBatchnormToConv2D"]
    tvm = FakeTvm()
    backend = load(tvm, settings={"passes": []})
    assert tvm.left_out == [["FuseOps", "FuseTIR", "s_tir.StmtSimplify", "tirx.UnrollLoop"]]
    assert backend._imported.module.rewritten == []


def test_passes_that_ran_are_named_once_in_the_order_of_their_first_run(
    load: Loader, no_gpu: Any
) -> None:
    assert load(FakeTvm(), fingerprint=True)._passes == ["FuseOps", "tirx.UnrollLoop"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"disabled_passes": ["FuseOp"]}, "FuseOps"),
        ({"disabled_passes": ["FoldBatchnormToConv2D"]}, "FoldBatchnormToConv2D"),
        ({"passes": ["StaticPlanBlockMemory"]}, "StaticPlanBlockMemory"),
        ({"passes": [], "disabled_passes": []}, "give one"),
        ({"passes": [], "pipeline": "default_build"}, "this one is default_build"),
        ({"trials": 3}, "without tuner=metaschedule"),
        ({"tuner": "metaschedule", "trials": 0}, "1 and more"),
        ({"tuner": "metaschedule", "target": "c"}, "is LLVM's code"),
        ({"tuner": "metaschedule", "pipeline": "default_build"}, "the other pipeline"),
    ],
)
def test_what_no_compilation_can_be_is_refused_before_it_begins(
    load: Loader, no_gpu: Any, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        load(FakeTvm(), settings=settings)
    assert caught.value.kind == "unsupported"


def test_a_probe_offers_the_passes_that_this_version_has(load: Loader, no_gpu: Any) -> None:
    load(FakeTvm())
    module: Any = sys.modules["runner.backends.tvm"]
    names = module.probe().offer.as_document()["names"]
    pipeline = ["FuseOps", "FuseTIR", "s_tir.StmtSimplify", "tirx.UnrollLoop"]
    assert names == {
        "passes": ["FoldBatchnormToConv2D", *pipeline],
        "disabled_passes": pipeline,
    }


def test_the_code_level_goes_to_llvm_and_to_the_c_compiler(load: Loader, no_gpu: Any) -> None:
    tvm = FakeTvm()
    load(tvm, settings={"code_level": 0})
    assert tvm.compiled[0][1].given["opt-level"] == 0
    module: Any = sys.modules["runner.backends.tvm"]
    flags = module.tvm_compiler.compiler_flags
    assert flags("generic", fast_math=False, code_level=1)[0] == "-O1"
    assert flags("generic", fast_math=False)[0] == "-O3"
