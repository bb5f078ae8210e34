"""PyTorch's backends on a made-up PyTorch: what they refuse, what they say that ran, what they leave."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import fake_torch as fake
from support.fake_torch import BATCH, WAYS, Inductor, Module, event, fake_torch

from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.support import predict_engines

Loader = Callable[..., Any]


@pytest.fixture
def load(
    with_framework: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loader]:
    """Load a program on the CPU by a made-up PyTorch: see `fake_torch.loader`."""
    monkeypatch.setenv("CXX", fake.compiler_in(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made: list[Any] = []
    begin = fake.loader(with_framework, tmp_path, made)
    yield lambda torch, **changes: begin(
        torch, **{"device": "cpu", "inductor": Inductor(), **changes}
    )
    for backend in made:
        backend.close()
    fake.forget_shared_parts()


@pytest.fixture
def part(with_framework: Callable[..., ModuleType]) -> Iterator[Callable[[str], ModuleType]]:
    """A module of `runner.support` with a made-up PyTorch."""
    fake.forget_shared_parts()
    parts = fake.modules(fake_torch())
    yield lambda name: with_framework(f"runner.support.{name}", **parts)
    fake.forget_shared_parts()


def test_what_is_generated_lies_in_a_folder_that_is_gone_afterwards(
    load: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/somebody/elses")
    backend = load(fake_torch(), way="torch_compile")
    (folder,) = tmp_path.glob("inductor-*")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)
    assert os.environ["TRITON_CACHE_DIR"] == str(folder / "triton")
    backend.close()
    assert list(tmp_path.glob("inductor-*")) == []
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/somebody/elses"
    assert "TRITON_CACHE_DIR" not in os.environ


def test_a_compiled_program_says_its_compiler_instructions_operators_and_that_it_is_not_frozen(
    load: Loader,
) -> None:
    ran = load(fake_torch(), way="torch_compile").describe().ran
    assert ran["compiler"] == "g++ (Made Up) 12.2.0"
    assert ran["vector_isa"] == "avx2"
    assert ran["frozen"] is False
    assert ran["operators"] == {"convolution (ATen)": 1, "relu (inductor C++)": 1}
    assert ran["settings"] == {
        "mode": "default",
        "freezing": False,
        "onednn": True,
        "disabled_passes": None,
        "passes": None,
    }


@pytest.mark.parametrize("way", ["torch_compile", "torch_export"])
def test_freezing_is_seen_in_what_was_generated(load: Loader, way: str) -> None:
    frozen = {"way": way, "settings": {"freezing": True}}
    ran = load(fake_torch(), inductor=Inductor(frozen=True), **frozen).describe().ran
    assert ran["frozen"] is True
    with pytest.raises(RunnerError, match="asked for freezing") as caught:
        load(fake_torch(), inductor=Inductor(frozen=False), **frozen)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("dtypes", "words"),
    [
        ({"weights": ("float32", "float16")}, "1 of .* less .the weight weight1 in float16"),
        ({"computed": ("float16", "int64")}, "1 of .* less .computed0 in float16"),
    ],
)
def test_a_program_in_half_precision_is_not_f32_and_says_its_dtypes(
    load: Loader, way: str, dtypes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        load(fake_torch(**dtypes), way=way)
    assert caught.value.kind == "unsupported"
    assert "ask for the precision default" in str(caught.value)
    ran = load(fake_torch(**dtypes), way=way, precision="default").describe().ran
    computes = ["float16", "float32"] if "computed" in dtypes else ["float32"]
    assert (ran["precision"], ran["computes_in"]) == ("default", computes)
    assert ran["weights_in"] == sorted(dtypes.get("weights", ["float32"]))


@pytest.mark.parametrize("way", WAYS)
def test_outputs_in_containers_come_in_the_order_of_the_program(load: Loader, way: str) -> None:
    class Nested(Module):
        def __call__(self, fed: Any) -> Any:
            once, twice = fake.Tensor(fed.values), fake.Tensor(fed.values * 2)
            return {"z": once, "a": (twice, [fake.Tensor(fed.values * 3)])}

    backend = load(fake_torch(module=lambda: Nested("cpu"), outputs=3), way=way)
    assert len(backend.describe().outputs) == 3
    for factor, output in enumerate(backend.run(BATCH), start=1):
        np.testing.assert_array_equal(output, BATCH * factor)


def test_keras_takes_onednn_as_the_build_has_it(
    with_framework: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no setting that a refusal could name."""
    asked: list[bool] = []
    monkeypatch.setenv("KERAS_TORCH_DEVICE", "before")
    request = LoadRequest("m.keras", "keras", {}, "f32", "cpu", 2, 1, (2,))
    for available in (True, False):
        fake.forget_shared_parts()
        torch = fake_torch(onednn=available)
        torch.backends.mkldnn.__dict__["set_flags"] = asked.append
        with_framework("runner.support.torch_setup", **fake.modules(torch))
        engine = predict_engines.start("torch", request)
        assert engine.ran["threads"] == 2
        assert "precision" not in engine.ran
    fake.forget_shared_parts()
    assert asked == [True, False]


@pytest.mark.parametrize("way", ["torch_compile", "torch_export"])
def test_headers_are_compiled_ahead_only_where_many_files_use_them(load: Loader, way: str) -> None:
    torch = fake_torch()
    load(torch, way=way)
    configuration = torch._inductor.config
    assert configuration.compile_threads == 1
    assert configuration.cpp_cache_precompile_headers is True
    assert configuration.aot_inductor.precompile_headers is False


@pytest.mark.parametrize("graphs", [0, 2])
def test_a_program_that_is_not_one_compiled_graph_is_refused(load: Loader, graphs: int) -> None:
    with pytest.raises(RunnerError, match=f"generated {graphs} graphs") as caught:
        load(fake_torch(), way="torch_compile", inductor=Inductor(graphs=graphs))
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("way", ["torch_compile", "torch_export"])
def test_what_the_compiler_says_is_in_the_refusal(load: Loader, way: str) -> None:
    inductor = Inductor(raises=RuntimeError("no lowering for aten.made_up"))
    with pytest.raises(RunnerError, match=r"can't compile .* no lowering for aten\.made_up"):
        load(fake_torch(), way=way, inductor=inductor)


@pytest.mark.parametrize("way", ["torch_compile", "torch_export"])
def test_without_a_compiler_the_refusal_names_gpp(
    load: Loader, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RunnerError, match=r"compiler g\+\+, which is not installed") as caught:
        load(fake_torch(), way=way)
    assert caught.value.kind == "unsupported"
    assert "CXX" not in str(caught.value), "the variables of a cell are not the caller's"


def test_without_pythons_headers_only_what_python_imports_is_refused(
    load: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere/include")
    assert load(fake_torch(), way="torch_export").run(BATCH)
    with pytest.raises(RunnerError, match=r"/nowhere/include/Python\.h"):
        load(fake_torch(), way="torch_compile")


@pytest.mark.parametrize("switch", ["TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE"])
def test_a_variable_that_switches_compilation_off_is_refused(
    load: Loader, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv(switch, "1")
    with pytest.raises(RunnerError, match=f"{switch} is set"):
        load(fake_torch(), way="torch_compile")


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune-no-cudagraphs"])
def test_modes_that_would_do_nothing_on_the_cpu_are_refused(load: Loader, mode: str) -> None:
    with pytest.raises(RunnerError, match=r"CUDA graphs alone") as caught:
        load(fake_torch(), way="torch_compile", settings={"mode": mode})
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("contradicted", ["freeze", "onednn"])
def test_settings_of_torchscript_that_contradict_each_other_are_refused(
    load: Loader, contradicted: str
) -> None:
    settings = {"optimize_for_inference": True, contradicted: False}
    with pytest.raises(RunnerError, match=f"value of {contradicted}") as caught:
        load(fake_torch(), way="torch_jit", settings=settings)
    assert caught.value.kind == "unsupported"


def test_channels_last_is_refused_where_no_weight_has_four_dimensions(load: Loader) -> None:
    with pytest.raises(RunnerError, match="no weight of four dimensions") as caught:
        load(fake_torch(), settings={"memory_format": "channels_last"})
    assert caught.value.kind == "unsupported"


def test_channels_last_moves_the_module(load: Loader) -> None:
    asked = []

    def module() -> Module:
        made = Module("cpu")
        made.weight.values = np.ones((1, 1, 1, 1), np.float32)
        made.__dict__["to"] = lambda memory_format: asked.append(memory_format) or made
        return made

    load(fake_torch(module=module), settings={"memory_format": "channels_last"})
    assert asked == ["channels_last"]


def test_onednn_is_refused_where_the_build_has_none(load: Loader) -> None:
    with pytest.raises(RunnerError, match="built without oneDNN") as caught:
        load(fake_torch(onednn=False))
    assert caught.value.kind == "unsupported"
    assert load(fake_torch(onednn=False), settings={"onednn": False}).run(BATCH)


def test_another_number_of_threads_is_refused(load: Loader) -> None:
    torch = fake_torch()
    torch.__dict__["set_num_threads"] = lambda _: None
    with pytest.raises(RunnerError, match=r"number of threads 2 \(it supports: 4\)"):
        load(torch, threads=2)


def test_before_packages_there_is_a_library(load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    inductor = Inductor()
    torch = fake_torch()
    packages = fake.modules

    def modules_of_2_4(*given: Any) -> dict[str, ModuleType]:
        parts = packages(*given)
        inner = parts["torch___inductor"].__dict__
        del inner["aoti_compile_and_package"], inner["aoti_load_package"]

        def aot_compile(module: Module, example: tuple[Any, ...]) -> str:
            program = SimpleNamespace(module=lambda: module)
            assert example[0].shape == (1, 2)
            return inductor.package(program, package_path="m.so")

        inner["aot_compile"] = aot_compile
        export = ModuleType("torch._export")
        export.__dict__["aot_load"] = lambda path, device: inductor.load(f"{path} {device}")
        return {**parts, "torch___export": export}

    inductor.metadata = {"AOTI_DEVICE_KEY": "cpu"}
    monkeypatch.setattr(fake, "modules", modules_of_2_4)
    backend = load(torch, way="torch_export", inductor=inductor)
    np.testing.assert_array_equal(backend.run(BATCH)[0], BATCH * 2)
    assert backend.describe().ran["operators"] == {
        "convolution (ATen)": 1,
        "relu (inductor C++)": 1,
    }


def test_a_run_tells_each_operator_with_the_kernel_that_it_came_down_to(
    part: Callable[[str], ModuleType],
) -> None:
    convolution = event(
        "aten::conv2d",
        event("aten::_convolution", event("aten::empty"), event("aten::mkldnn_convolution")),
    )
    grouped = event(
        "aten::conv2d",
        event("aten::_slow", event("aten::empty")),
        event("aten::_slow"),
        event("aten::cat"),
    )
    script = event("forward", event("aten::relu"), event("aten::view"))
    listed = [convolution, grouped, script, event("aten::add"), event("aten::add")]
    inside = [child for one in listed for child in one.cpu_children]
    assert part("torch_operators").count(listed + inside) == {
        "conv2d by mkldnn_convolution (oneDNN)": 1,
        "conv2d by _slow": 1,
        "relu": 1,
        "add": 2,
    }


def test_a_graph_for_inference_tells_its_operators(part: Callable[[str], ModuleType]) -> None:
    kinds = [
        "prim::Constant",
        "prim::ConstantMKLDNNTensor",
        "aten::to_mkldnn",
        "prim::mkldnn_convolution",
        "prim::mkldnn_convolution",
        "aten::matmul",
    ]
    assert part("torch_operators").in_graph(kinds) == {
        "mkldnn_convolution (oneDNN)": 2,
        "matmul": 1,
    }


PYTHON_WRAPPER = """
cpp_fused_relu_0 = async_compile.cpp_pybinding(['float*'], '''void kernel(float* x)''')

def call(args):
    arg106_1, = args
    args.clear()
    buf0 = empty_strided_cpu((1, 3), (3, 1), torch.float32)
    cpp_fused_relu_0(arg106_1, buf0)
    cpp_fused_relu_12(buf0)
    triton_poi_fused_add_3.run(buf0, 8, stream=stream0)
    torch.ops.mkldnn._convolution_pointwise.default(buf0, 'Lowering(convolution(x))')
    torch.ops.mkl._mkl_linear.default(buf0)
    extern_kernels.addmm(buf0, buf0)
    torch.ops.inductor._reinterpret_tensor.default(buf0)
    return (buf0,)

def benchmark_compiled_module():
    cpp_fused_relu_0(rand_strided())
"""


def test_a_generated_wrapper_tells_its_kernels_without_numbers_and_its_inputs(
    part: Callable[[str], ModuleType],
) -> None:
    operators = part("torch_operators")
    assert operators.called(PYTHON_WRAPPER) == {
        "relu (inductor C++)": 2,
        "add (inductor Triton)": 1,
        "mkldnn._convolution_pointwise (oneDNN)": 1,
        "mkl._mkl_linear (MKL)": 1,
        "addmm (ATen)": 1,
    }
    assert operators.inputs_taken(PYTHON_WRAPPER) == 1
    assert operators.inputs_taken("def call(self, args):\n    a, b = args\n") == 2


CPP_WRAPPER = """
extern "C" void cpp_fused_relu_0(const float* in_ptr0);
    cpp_fused_relu_0((const float*)(arg.data_ptr()));
    cpp_fused_relu_11((const float*)(arg.data_ptr()));
    call_triton_poi_fused_add_0(buf0, 8L, device_idx, stream);
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_cpu_mkldnn__convolution_pointwise(x, &buf));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_cuda_addmm_out(buf, x));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(2, &buf));
"""


def test_so_does_one_in_cpp(part: Callable[[str], ModuleType]) -> None:
    assert part("torch_operators").called_in_cpp(CPP_WRAPPER) == {
        "relu (inductor C++)": 2,
        "add (inductor Triton)": 1,
        "mkldnn.convolution_pointwise (oneDNN)": 1,
        "addmm_out (ATen)": 1,
    }


def test_the_parts_of_a_build_are_read_and_what_this_machine_has_is_no_part_of_it(
    part: Callable[[str], ModuleType],
) -> None:
    assert part("torch_probe").parse_build(fake.SHOWN, {"cuda": "12.8"}) == {
        "compiler": "GCC 13.3",
        "mkl": "2024.2",
        "onednn": "3.12.0",
        "openmp": "201511",
        "blas": "mkl",
        "cuda": "12.8",
    }


def test_the_mode_off_compiles_nothing_and_calls_the_program_as_it_is(
    load: Loader, tmp_path: Path
) -> None:
    inductor = Inductor(raises=RuntimeError("nobody asked for this"))
    backend = load(fake_torch(), way="torch_compile", inductor=inductor, settings={"mode": "off"})
    ran = backend.describe().ran
    assert (ran["runs_in_compile"], ran["frozen"]) == (0, False)
    assert "compiler" not in ran
    assert backend.prove(BATCH)["operators"] == {"relu": 1}
    assert list(tmp_path.glob("inductor-*")) == []


@pytest.mark.parametrize(
    "settings", [{"freezing": True}, {"passes": []}, {"disabled_passes": []}, {"flags": {"a": 1}}]
)
def test_what_would_be_compiled_in_another_way_is_refused_with_the_mode_off(
    load: Loader, settings: dict[str, Any]
) -> None:
    with pytest.raises(RunnerError, match="nothing is compiled with the mode off") as caught:
        load(fake_torch(), way="torch_compile", settings={"mode": "off", **settings})
    assert caught.value.kind == "unsupported"


def test_a_cells_cache_holds_what_is_compiled_and_is_left_behind(
    load: Loader, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "older.py").write_text("def call(args): another version of inductor wrote this")
    backend = load(fake_torch(), way="torch_compile", cache=str(cache))
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(cache)
    backend.close()
    assert sorted(path.name for path in cache.iterdir()) == ["older.py", "wrapper0.py"]
    assert list(tmp_path.glob("inductor-*")) == []


def test_an_ahead_of_time_compiler_that_keeps_nothing_leaves_the_cells_cache_empty(
    load: Loader, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    load(fake_torch(), way="torch_export", cache=str(cache)).close()
    assert list(cache.iterdir()) == []
