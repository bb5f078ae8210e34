"""IREE through made-up modules: threads and drivers, flags, old opsets, and its refusals."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.small_elf import elf

from runner.backends.base import LoadRequest, TensorSpec
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import conversion, iree_form, native_threads

ROWS = np.array([[-1.0, 2.0, 3.0, 0.5]], np.float32)
STATISTICS = """; Aggregate Statistics (static, whole-program)
"Constants","Constant Size"
1,4939456

;
; Execution
;

; builtin.module > util.initializer > stream.cmd.execute
"Depth","Command","Symbol","Length"
0,"dispatch","@_initializer_0_dispatch_0::@_initializer_0_dispatch_0_pack_f32",

; builtin.module > util.func @main$async > stream.cmd.execute
"Depth","Command","Symbol","Length"
0,"dispatch","@main$async_dispatch_0::@main$async_dispatch_0_conv_64x111x111x3x3x3_f32",
1,"dispatch","@main$async_dispatch_1::@main$async_dispatch_1_conv_Dx55x55x3x3_f32",
1,"fill",,207936
0,"dispatch","@main$async_dispatch_2::@main$async_dispatch_2_matmul_like_16x3025x64_f32xf32xf32",
0,"dispatch","@main$async_dispatch_4::@main$async_dispatch_4_slow_memcpy",
0,"dispatch","@main$async_dispatch_5::@main$async_dispatch_5",
"""
ILLEGAL = (
    "model.mlir:4:10: error: failed to legalize operation 'torch.operator' that was explicitly "
    'marked illegal: %1 = "torch.operator"(%arg0) <{name = "onnx.Softmax"}>\nnote: more'
)


class CompilerToolError(Exception):
    """IREE's own."""


class Fake:
    """A made-up IREE: it notes what it is asked, and runs max(x, 0)."""

    def __init__(self) -> None:
        self.compiled: list[tuple[int, list[int], list[str]]] = []
        self.sources: list[bytes] = []
        self.fails: Callable[[int], str] = lambda _: ""
        self.flags: list[str] = []
        self.uris: list[str] = []
        self.model: Any = None
        self.folders: list[Path] = []

    def compile_str(self, source: bytes, extra_args: list[str], **_: Any) -> bytes:
        opset = self.model.opset_import[0].version
        shape = [d.dim_value for d in self.model.graph.input[0].type.tensor_type.shape.dim]
        *flags, _, file = extra_args
        self.compiled.append((opset, shape, flags))
        self.sources.append(source)
        self.folders.append(Path(file.partition("=")[2]).parent)
        said = self.fails(opset)
        if said:
            raise CompilerToolError(said)
        Path(file.partition("=")[2]).write_text(STATISTICS)
        return b"module of " + source

    def modules(self) -> dict[str, ModuleType]:
        iree, compiler, runtime = (ModuleType(n) for n in ("iree", "iree.compiler", "iree.runtime"))
        tools, extras, ir = (ModuleType(f"iree.compiler.{n}") for n in ("tools", "extras", "ir"))
        importer = ModuleType("iree.compiler.extras.onnx_importer")
        tools.__dict__.update(compile_str=self.compile_str, CompilerToolError=CompilerToolError)

        def info(model: Any) -> Any:
            self.model = model
            operation = SimpleNamespace(
                verify=lambda: None, write_bytecode=lambda stream: stream.write(b"mlir")
            )
            made = SimpleNamespace(operation=operation)
            return SimpleNamespace(create_module=lambda **_: made, main_graph="graph")

        define = SimpleNamespace(import_all=lambda: None)
        importer.__dict__.update(
            ModelInfo=info, NodeImporter=SimpleNamespace(define_function=lambda *_: define)
        )

        class Context:
            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                """Nothing is held."""

        ir.__dict__.update(Context=Context)
        extras.__dict__.update(onnx_importer=importer)
        compiler.__dict__.update(tools=tools, extras=extras, ir=ir)

        def relu(fed: np.ndarray) -> Any:
            return SimpleNamespace(to_host=lambda: np.maximum(fed, 0))

        runtime.__dict__.update(
            flags=SimpleNamespace(parse_flags=self.flags.append),
            get_device=lambda uri, **_: self.uris.append(uri) or uri,
            Config=lambda device: device,
            SystemContext=lambda **_: SimpleNamespace(
                instance="instance",
                add_vm_module=lambda _: None,
                modules={"module": {"main": relu}},
            ),
            VmModule=SimpleNamespace(copy_buffer=lambda *_: SimpleNamespace(name="module")),
        )
        iree.__dict__.update(compiler=compiler, runtime=runtime)
        return {
            "iree": iree,
            "iree__compiler": compiler,
            "iree__compiler__tools": tools,
            "iree__compiler__extras": extras,
            "iree__compiler__extras__onnx_importer": importer,
            "iree__compiler__ir": ir,
            "iree__runtime": runtime,
        }


def model(path: Path, opset: int = 17, operator: str = "Relu") -> str:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])],
        "a graph's name",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return str(path)


Loader = Callable[..., Any]


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def load(
    with_framework: Callable[..., ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    fake: Fake,
    tmp_path: Path,
) -> Loader:
    """Load and compile a model by the made-up IREE: `load(**request)`."""

    def begin(workers: int = 0, **changes: Any) -> Any:
        monkeypatch.delitem(sys.modules, "runner.support.iree_compile", raising=False)
        with_framework("runner.support.iree_compile", **fake.modules())
        module = with_framework("runner.backends.iree")
        monkeypatch.setattr(native_threads, "named", lambda name: {"iree-worker": workers}[name])
        request = {
            "path": model(tmp_path / "m.onnx"),
            "format": "onnx",
            "settings": {},
            "precision": "f32",
            "device": "cpu",
            "threads": 1,
            "batch": 3,
            "item_shape": (4,),
            **changes,
        }
        backend = module.create(LoadRequest(**request))
        backend.load()
        backend.compile()
        return backend

    return begin


@pytest.fixture
def convert(
    with_framework: Callable[..., ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    fake: Fake,
    tmp_path: Path,
) -> Callable[[str], dict[str, Any]]:
    """Convert a model to `m.mlir` by the made-up IREE, which reads `disk: ` before what is there."""
    for name in ("iree_mlir", "iree_convert"):
        monkeypatch.delitem(sys.modules, f"runner.support.{name}", raising=False)
    with_framework("runner.support.iree_compile", **fake.modules())
    mlir = with_framework("runner.support.iree_mlir")
    spec = TensorSpec("x", "float32", (1, 4))

    def read(path: str, _: str) -> Any:
        return mlir.Source(b"disk: " + Path(path).read_bytes(), spec, (spec,), ())

    monkeypatch.setattr(mlir, "read", read)
    with_framework("runner.support.iree_convert")
    converter = with_framework("runner.converters.onnx_to_mlir")

    def run(source: str) -> Any:
        target = str(tmp_path / "m.mlir")
        return converter.convert(ConvertJob(str(tmp_path), "onnx>mlir", source, "onnx", target, {}))

    return run


def test_one_thread_is_the_calling_one_and_the_batch_is_fixed(load: Loader, fake: Fake) -> None:
    backend = load()
    assert fake.uris == ["local-sync"]
    assert fake.flags == []
    assert fake.compiled == [(17, [3, 4], ["--iree-llvmcpu-target-cpu=host"])]
    (output,) = backend.run(ROWS)
    np.testing.assert_array_equal(output, [[0.0, 2.0, 3.0, 0.5]])
    about = backend.describe()
    assert (about.input.name, about.input.shape) == ("x", (3, 4))
    assert [(o.name, o.dtype, o.shape) for o in about.outputs] == [("y", "float32", (3, 4))]
    assert about.ran["driver"] == "local-sync"
    assert about.ran["opset"] == {"model": 17, "compiled": 17}
    assert about.ran["operators"] == {
        "conv (llvm-cpu)": 2,
        "dispatch (llvm-cpu)": 1,
        "fill": 1,
        "matmul_like (llvm-cpu)": 1,
        "slow_memcpy (llvm-cpu)": 1,
    }
    assert about.ran["runs_in_compile"] == 0
    assert "computes_in" not in about.ran
    assert backend.prove(ROWS) == {}
    assert not fake.folders[0].exists()


def test_several_threads_are_workers_of_the_task_system_and_are_counted(
    load: Loader, fake: Fake
) -> None:
    assert load(workers=2, threads=2).describe().ran["threads"] == 2
    assert fake.uris == ["local-task"]
    assert fake.flags == ["--task_topology_group_count=2"]
    with pytest.raises(RunnerError, match="asked to use 2 threads and its task system has 1"):
        load(workers=1, threads=2).describe()


def test_the_calling_thread_can_not_be_two(load: Loader) -> None:
    with pytest.raises(RunnerError, match="local-sync runs in the calling thread") as caught:
        load(threads=2, settings={"driver": "local-sync"})
    assert caught.value.kind == "unsupported"


def test_settings_become_flags_and_the_libraries_own_defaults_none(
    load: Loader, fake: Fake
) -> None:
    load(
        workers=1,
        settings={
            "driver": "local-task",
            "target_cpu": "generic",
            "opt_level": "O3",
            "data_tiling": False,
        },
    )
    assert fake.uris == ["local-task"]
    assert fake.compiled[0][2] == [
        "--iree-llvmcpu-target-cpu=generic",
        "--iree-opt-level=O3",
        "--iree-opt-data-tiling=false",
    ]


def test_further_flags_of_the_compiler_are_passed_on(load: Loader, fake: Fake) -> None:
    flags = {"iree-opt-const-eval": False, "--iree-llvmcpu-loop-unrolling": True, "iree-x": 2}
    load(settings={"compiler_flags": flags})
    assert fake.compiled[0][2][1:] == [
        "--iree-opt-const-eval=false",
        "--iree-llvmcpu-loop-unrolling=true",
        "--iree-x=2",
    ]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("iree-opt-level", "a sweep says it by opt_level"),
        ("--iree-input-type", "a sweep says it by the format"),
        ("mlir-print-ir-after-all", "begin so, and write no files"),
        ("iree-hal-dump-executable-files-to", "begin so, and write no files"),
        ("o", "begin so, and write no files"),
    ],
)
def test_flags_that_write_or_are_said_elsewhere_are_refused(
    load: Loader, flag: str, said: str
) -> None:
    with pytest.raises(RunnerError, match=said) as caught:
        load(settings={"compiler_flags": {flag: "x"}})
    assert caught.value.kind == "unsupported"


def test_a_flag_given_with_dashes_and_without_is_refused(load: Loader) -> None:
    with pytest.raises(RunnerError, match="compiler_flags gives 'iree-x' twice"):
        load(settings={"compiler_flags": {"iree-x": 1, "--iree-x": 2}})


def test_a_flag_that_iree_does_not_know_is_refused_in_its_words(load: Loader, fake: Fake) -> None:
    words = (
        "iree-compile: Unknown command line argument '--iree-y=2'.  Try: 'iree-compile --help'\n"
    )
    fake.fails = lambda _: words + "iree-compile: Did you mean '--iree-x=2'?\n"
    with pytest.raises(RunnerError, match=r"'--iree-y=2'.*Did you mean '--iree-x=2'") as caught:
        load(settings={"compiler_flags": {"iree-y": 2}})
    assert caught.value.kind == "unsupported"


def packed(**parts: bytes) -> bytes:
    """A module as IREE packs it: a zip file of its parts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("_so", ".so"), content)
    return stream.getvalue()


def library(code: bytes, leftover: bytes = bytes(8)) -> bytes:
    """A library with code, and a table of what is in it."""
    return elf({b".text": code, b".data.rel.ro": leftover})


def test_bytes_of_a_module_that_nobody_reads_are_no_part_of_its_fingerprint(tmp_path: Path) -> None:
    def found(
        code: bytes = b"code",
        weights: bytes = b"weights",
        leftover: bytes = bytes(8),
        driver: str = "local-sync",
    ) -> Any:
        module = packed(fb=b"program", weights=weights, code_so=library(code, leftover))
        form = iree_form.fingerprint(module, {"conv": 2}, driver, str(tmp_path))
        return form.as_document()

    usual = found()
    assert usual == found(leftover=b"in the m")
    assert (usual["form"], usual["code_bytes"]) == ("vmfb", len(b"code"))
    assert usual["operators"] == {"conv": 2}
    others = [found(code=b"more"), found(weights=b"w"), found(leftover=b"two"), found(driver="x")]
    assert len({usual["sha256"], *(other["sha256"] for other in others)}) == 5
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_is_packed_otherwise_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="can't be taken apart"):
        iree_form.fingerprint(b"IREE", {}, "local-sync", str(tmp_path))


def test_an_old_model_is_raised_only_where_it_does_not_compile_and_that_is_said(
    load: Loader, fake: Fake, tmp_path: Path
) -> None:
    path = model(tmp_path / "old.onnx", opset=11)
    assert load(path=path).describe().ran["opset"] == {"model": 11, "compiled": 11}
    fake.compiled.clear()
    fake.fails = lambda opset: ILLEGAL if opset < 17 else ""
    assert load(path=path).describe().ran["opset"] == {"model": 11, "compiled": 17}
    assert [opset for opset, _, _ in fake.compiled] == [11, 17]


def test_an_operator_that_iree_can_not_take_is_unsupported_in_its_words(
    load: Loader, fake: Fake
) -> None:
    fake.fails = lambda _: ILLEGAL
    with pytest.raises(
        RunnerError, match=r"can't compile the operator Softmax .*failed to legalize"
    ) as caught:
        load()
    assert caught.value.kind == "unsupported"
    assert len(fake.compiled) == 1
    assert not fake.folders[0].exists()


def test_half_precision_is_not_called_float32(load: Loader, fake: Fake, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
            helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
        ],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    opsets = [helper.make_opsetid("", 17)]
    path = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    with pytest.raises(RunnerError, match="iree: the model computes in float16") as caught:
        load(path=str(path))
    assert caught.value.kind == "unsupported"
    assert fake.compiled == []
    assert load(path=str(path), precision="default").describe().input.shape == (3, 4)


def test_a_compiler_that_breaks_is_its_own_failure(load: Loader, fake: Fake) -> None:
    fake.fails = lambda _: "Error invoking IREE compiler tool\nError code: -11\nStack dump"
    with pytest.raises(RunnerError, match=r"crashed on this model \(signal 11\)") as caught:
        load()
    assert caught.value.kind == "backend"


def test_another_shape_than_the_declared_one_and_a_damaged_file_are_refused(
    load: Loader, tmp_path: Path
) -> None:
    with pytest.raises(RunnerError, match=r"declared as \[None, 4\] and \[3, 5\]") as caught:
        load(item_shape=(5,))
    assert caught.value.kind == "unsupported"
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"\x08\x08\x12")
    with pytest.raises(RunnerError, match=r"damaged\.onnx") as caught:
        load(path=str(damaged))
    assert caught.value.kind == "model"


def test_what_a_converter_tries_is_what_lies_on_disk(
    convert: Callable[[str], dict[str, Any]], fake: Fake, tmp_path: Path
) -> None:
    said = convert(model(tmp_path / "m.onnx"))
    assert fake.sources == [b"disk: mlir"]
    assert said["probe_max_abs_diff"] == 0
    assert said["files"] == {"m.mlir": conversion.sha256(str(tmp_path / "m.mlir"))}
    assert (tmp_path / "m.mlir").read_bytes() == b"mlir"


def test_an_old_model_is_written_again_where_its_file_does_not_compile(
    convert: Callable[[str], dict[str, Any]], fake: Fake, tmp_path: Path
) -> None:
    fake.fails = lambda opset: ILLEGAL if opset < 17 else ""
    assert convert(model(tmp_path / "old.onnx", opset=11))["probe_max_abs_diff"] == 0
    assert [opset for opset, _, _ in fake.compiled] == [11, 17]
    assert fake.sources == [b"disk: mlir"] * 2


def test_a_file_that_lost_an_output_is_refused_and_goes(
    convert: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conversion, "reference_outputs", lambda *_: [ROWS, ROWS])
    with pytest.raises(RunnerError, match="gives 2 outputs of the shapes") as caught:
        convert(model(tmp_path / "m.onnx"))
    assert caught.value.kind == "conversion"
    assert not list(tmp_path.glob("m.mlir*"))
