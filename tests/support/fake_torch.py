"""A PyTorch that is made up: tensors that know their place, programs, and what compiles them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from runner.backends.base import LoadRequest

from .slow_device import Event, SlowDevice

GPU = SlowDevice()
WAYS = ("torch_eager", "torch_jit", "torch_compile", "torch_export")
_WRAPPERS = "made_up_inductor_"
BATCH = np.array([[1.0, 2.0]], np.float32)
SHOWN = """PyTorch built with:
  - GCC 13.3
  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64
  - Intel(R) MKL-DNN v3.12.0 (Git Hash 80afa71)
  - OpenMP 201511 (a.k.a. OpenMP 4.5)
  - CPU capability usage: AVX512
  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release, COMMIT_SHA=cf30153
"""
WRAPPER = """
class Runner:
    def call(self, args):
        {inputs}, = args
        buf0 = {kernel}_0({first})
        buf1 = extern_kernels.convolution(buf0, arg1_1)
        return (buf1,)
"""
WRAPPER_CPP = """
extern "C" void cpp_fused_relu_0(const float* in_ptr0);
    {kernel}
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_{device}_convolution(arg0, buf0));
    constants_info_[0].name = "{weight}";
"""


@dataclass
class Tensor:
    """A made-up tensor: numbers and a place."""

    values: np.ndarray
    device: str = "cpu"
    fetched: list[str] = field(default_factory=list)

    @property
    def dtype(self) -> str:
        return f"torch.{self.values.dtype}"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def to(self, device: str) -> Tensor:
        GPU.queue(GPU.IN)
        return Tensor(self.values, device)

    def cpu(self) -> Tensor:
        GPU.copy_out()
        self.fetched.append("cpu")
        return Tensor(self.values, "cpu")

    def numpy(self) -> np.ndarray:
        assert self.device == "cpu", "a tensor on the GPU has no NumPy array"
        return self.values


class TimedEvent(Event):
    """`torch.cuda.Event`, which keeps times only where it was asked to."""

    def __init__(self, *, enable_timing: bool = False) -> None:
        super().__init__(GPU)
        self.timing = enable_timing

    def elapsed_time(self, end: TimedEvent) -> float:
        assert self.timing
        assert end.timing
        return self.elapsed_ms(end)


class Layer:
    """The class `torch.nn.Module`, whose call is `forward`; parts are found through it."""

    def __call__(self, fed: Tensor) -> Any:
        forward: Any = self.__getattribute__("forward")
        return forward(fed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["module"], name)


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
        self.inlined_graph = SimpleNamespace(nodes=list)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        yield "weight", self.weight

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        yield "mean", self.mean

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        yield "", SimpleNamespace(constant=self.constant)

    def eval(self) -> Module:
        return self

    def __call__(self, fed: Tensor) -> Tensor:
        GPU.queue(GPU.WORK)
        return Tensor(fed.values * 2, "cpu" if self.leaves_output else fed.device)


@dataclass
class Inductor:
    """What the made-up inductor does: the code that it leaves in its cache folder."""

    graphs: int = 1
    frozen: bool = False
    kernel: str = "cpp_fused_relu"
    metadata: dict[str, str] = field(default_factory=lambda: {"AOTI_DEVICE_KEY": "cuda"})
    asked: dict[str, Any] = field(default_factory=dict)
    raises: Exception | None = None
    skips: int = 0
    calls: int = 0
    counters: dict[str, int] = field(default_factory=lambda: {"cudagraph_skips": 0})

    def compile(self, module: Module, **asked: Any) -> Callable[[Tensor], Tensor]:
        self.asked = asked

        def first(fed: Tensor) -> Tensor:
            if self.raises is not None:
                raise self.raises
            self.calls += 1
            self.counters["cudagraph_skips"] = self.skips
            names = "arg0_1" if self.frozen else "arg0_1, arg1_1"
            text = WRAPPER.format(inputs=names, kernel=self.kernel, first="arg0_1")
            for index in range(self.graphs):
                _imported(_cache() / f"wrapper{index}.py", text)
            return module(fed)

        return first

    def package(
        self, program: Any, *, package_path: str, _deprecated_unused_args: Any = None
    ) -> str:
        if self.raises is not None:
            raise self.raises
        device = self.metadata["AOTI_DEVICE_KEY"]
        weight = "_frozen_param0" if self.frozen else "weight"
        kernel = f"call_{self.kernel}_0(" if "triton" in self.kernel else f"{self.kernel}_0("
        text = WRAPPER_CPP.format(kernel=kernel, device=device, weight=weight)
        (_cache() / "m.wrapper.cpp").write_text(text)
        self._module = program.module()
        return package_path

    def load(self, path: str) -> Any:
        assert path
        model = object.__new__(type(self._module))
        model.__dict__.update(self._module.__dict__, get_metadata=lambda: self.metadata)
        return model


def loader(
    with_framework: Callable[..., ModuleType], folder: Path, made: list[Any]
) -> Callable[..., Any]:
    """Load a program: `load(torch, moved module, way=…, inductor=…, **changes to the request)`.

    Args:
        with_framework: the fixture of that name.
        folder: for the program, and for what stands in for a compiler.
        made: every backend that was made, to be closed.
    """
    (folder / "m.pt2").write_bytes(b"program")

    def load(
        torch: ModuleType,
        moved: Module | None = None,
        *,
        way: str = "torch_eager",
        inductor: Inductor | None = None,
        **changes: Any,
    ) -> Any:
        forget_shared_parts()
        jit = ModuleType("torch.jit")
        jit.__dict__.update(
            trace=lambda module, _: module,
            freeze=lambda module: module,
            optimize_for_inference=lambda module: module,
        )
        torch.__dict__["jit"] = jit
        parts = modules(torch, moved, inductor or Inductor(kernel="triton"))
        backend_module = with_framework(f"runner.backends.{way}", **parts)
        request = {
            "path": str(folder / "m.pt2"),
            "format": "pt2",
            "settings": {},
            "precision": "f32",
            "device": "cuda",
            "threads": 1,
            "batch": 1,
            "item_shape": (2,),
            **changes,
        }
        backend = backend_module.create(LoadRequest(**request))
        made.append(backend)
        backend.load()
        backend.compile()
        return backend

    return load


def compiler_in(folder: Path) -> str:
    """A program that says the version of a compiler."""
    program = folder / "g++"
    program.write_text("#!/bin/sh\necho 'g++ (Made Up) 12.2.0'\n")
    program.chmod(0o755)
    return str(program)


def forget_shared_parts() -> None:
    """What backends share holds the PyTorch that it was imported with."""
    parts = ("runner.support.torch_", _WRAPPERS)
    for name in [name for name in sys.modules if name.startswith(parts)]:
        del sys.modules[name]


def _imported(path: Path, text: str) -> None:
    """A wrapper that this process imported from inductor's folder."""
    path.write_text(text)
    module = ModuleType(f"{_WRAPPERS}{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module


def _cache() -> Path:
    return Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])


def fake_torch(
    cuda: str | None = "12.8",
    *,
    usable: bool = True,
    onednn: bool = True,
    module: Callable[[], Module] = lambda: Module("cpu"),
    weights: tuple[str, ...] = ("float32",),
    computed: tuple[str, ...] = (),
    outputs: int = 1,
) -> ModuleType:
    """The module `torch`; the program has weights and operators of these dtypes."""
    torch = ModuleType("torch")
    node = {"val": Tensor(BATCH)}
    nodes = [
        SimpleNamespace(name="x", meta=node, op="placeholder"),
        *(
            SimpleNamespace(name=f"computed{i}", meta={"val": Tensor(np.ones(1, d))}, op="call")
            for i, d in enumerate(computed)
        ),
        SimpleNamespace(name="y", meta=node, op="call"),
    ]
    graph = SimpleNamespace(nodes=nodes)
    program = SimpleNamespace(
        graph_signature=SimpleNamespace(user_inputs=["x"], user_outputs=["y"] * outputs),
        graph=graph,
        graph_module=SimpleNamespace(modules=lambda: [SimpleNamespace(graph=graph)]),
        state_dict={f"weight{i}": Tensor(np.ones(1, d)) for i, d in enumerate(weights)},
        constants={},
        module=module,
    )
    threads = {"count": 4}
    torch.__dict__.update(
        __version__="2.13.0+cu128",
        Tensor=Tensor,
        channels_last="channels_last",
        version=SimpleNamespace(cuda=cuda, git_version="cf30153", hip=None),
        backends=SimpleNamespace(
            cpu=SimpleNamespace(get_cpu_capability=lambda: "AVX512"),
            mkldnn=SimpleNamespace(set_flags=lambda _: None, is_available=lambda: onednn),
            cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)),
            cudnn=SimpleNamespace(allow_tf32=True, version=lambda: 91002),
        ),
        cuda=SimpleNamespace(
            is_available=lambda: usable,
            memory_allocated=lambda _: 123456,
            synchronize=GPU.wait,
            Event=TimedEvent,
        ),
        compiler=SimpleNamespace(reset=lambda: None),
        export=SimpleNamespace(load=lambda _: program),
        nn=SimpleNamespace(Module=Layer),
        set_num_threads=lambda count: threads.update(count=count),
        get_num_threads=lambda: threads["count"],
        set_num_interop_threads=lambda _: None,
        get_num_interop_threads=lambda: 1,
        set_float32_matmul_precision=lambda _: None,
        get_float32_matmul_precision=lambda: "highest",
        inference_mode=nullcontext,
        no_grad=nullcontext,
        from_numpy=Tensor,
    )
    return torch


def modules(
    torch: ModuleType, moved: Module | None = None, inductor: Inductor | None = None
) -> dict[str, ModuleType]:
    """`torch` and those of its parts that are imported by themselves.

    Args:
        torch: as of `fake_torch`.
        moved: the module that a program has on the GPU.
        inductor: what compiles.
    """
    inductor = inductor or Inductor()
    utilities, tree = ModuleType("torch.utils"), ModuleType("torch.utils._pytree")
    tree.__dict__["tree_leaves"] = _leaves
    utilities.__dict__["_pytree"] = tree
    on_gpu = SimpleNamespace(module=lambda: moved or Module("cuda:0"), graph=Module("cuda:0").graph)
    dynamo_utilities = ModuleType("torch._dynamo.utils")
    dynamo_utilities.__dict__["counters"] = {"inductor": inductor.counters}
    torch.__dict__["compile"] = inductor.compile
    passes, profiler, parts = (
        ModuleType("torch.export.passes"),
        ModuleType("torch.profiler"),
        ModuleType("torch._inductor"),
    )
    passes.__dict__["move_to_device_pass"] = lambda *_: on_gpu
    seen = SimpleNamespace(events=lambda: [event("aten::relu")])
    profiler.__dict__.update(
        ProfilerActivity=SimpleNamespace(CPU="cpu"), profile=lambda **_: nullcontext(seen)
    )
    parts.__dict__.update(
        aoti_compile_and_package=inductor.package, aoti_load_package=inductor.load
    )
    isa = ModuleType("torch._inductor.cpu_vec_isa")
    isa.__dict__["pick_vec_isa"] = lambda: "avx2"
    configuration, dynamo, dynamo_configuration = (
        ModuleType("torch._inductor.config"),
        ModuleType("torch._dynamo"),
        ModuleType("torch._dynamo.config"),
    )
    configuration.__dict__.update(
        cpp_cache_precompile_headers=True, aot_inductor=SimpleNamespace(precompile_headers=True)
    )
    parts.__dict__["config"] = configuration
    dynamo.__dict__["config"] = dynamo_configuration
    torch.__dict__.update(_inductor=parts, _dynamo=dynamo)
    return {
        "torch": torch,
        "torch__export__passes": passes,
        "torch__profiler": profiler,
        "torch___inductor": parts,
        "torch___inductor__config": configuration,
        "torch___inductor__cpu_vec_isa": isa,
        "torch___dynamo": dynamo,
        "torch___dynamo__config": dynamo_configuration,
        "torch___dynamo__utils": dynamo_utilities,
        "torch__utils": utilities,
        "torch__utils___pytree": tree,
    }


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in _leaves(part)]
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in _leaves(part)]
    return [tree]


def event(name: str, *children: Any, parent: Any = None) -> SimpleNamespace:
    """A profiler's event with those inside it."""
    made = SimpleNamespace(name=name, cpu_children=list(children), cpu_parent=parent)
    for child in children:
        child.cpu_parent = made
    return made
