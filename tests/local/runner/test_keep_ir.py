"""What each stack compiled a small network to, kept as files, with the answers left as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.environment_python import interpreter, run_inside

ROWS = np.random.Generator(np.random.PCG64(5)).standard_normal((2, 3, 6, 6)).astype(np.float32)
NEEDS_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")

PROGRAM = """
import sys
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
weights = np.load(folder / "w.npy")


def torch_program():
    import torch

    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1, bias=False),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    ).eval()
    model[0].weight.data = torch.from_numpy(weights)
    with torch.no_grad():
        torch.export.save(torch.export.export(model, (torch.zeros(1, 3, 6, 6),)), folder / "m.pt2")


def saved_model():
    import tensorflow as tf

    kernel = tf.constant(weights.transpose(2, 3, 1, 0))

    @tf.function(input_signature=[tf.TensorSpec((None, 3, 6, 6), tf.float32, name="x")])
    def network(x):
        y = tf.nn.conv2d(tf.transpose(x, (0, 2, 3, 1)), kernel, 1, "SAME")
        return {"y": tf.reduce_mean(tf.nn.relu(y), (1, 2))}

    module = tf.Module()
    module.network = network
    tf.saved_model.save(module, str(folder / "m.savedmodel"), signatures=network)


{"torch": torch_program, "tensorflow": saved_model}[sys.argv[2]]()
"""


def network() -> onnx.ModelProto:
    """[N, 3, 6, 6] through a convolution and a mean: [N, 4]."""
    weights = np.random.Generator(np.random.PCG64(3)).standard_normal((4, 3, 3, 3))
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["g"]),
            helper.make_node("Flatten", ["g"], ["y"]),
        ],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The network as an environment takes it: `artifact(environment, format)`."""

    @cache
    def make(environment: str, form: str) -> Path:
        folder = tmp_path_factory.mktemp(environment)
        onnx.save(network(), folder / "m.onnx")
        np.save(folder / "w.npy", numpy_helper.to_array(network().graph.initializer[0]))
        (folder / "program.py").write_text(PROGRAM)
        target = folder / f"m.{form}"
        if form in ("pt2", "savedmodel"):
            stack = environment.partition("-")[0]
            run_inside(environment, folder / "program.py", folder, stack)
        elif form != "onnx":
            job = {
                "schema_version": 1,
                "kind": "convert",
                "work": str(folder),
                "converter": f"onnx>{form}",
                "source": {"path": str(folder / "m.onnx"), "format": "onnx"},
                "target": str(target),
                "options": {"batch": 1},
            }
            (folder / "jobs.json").write_text(json.dumps([job]))
            program = Path(__file__).with_name("convert_documents.py")
            (ended,) = json.loads(run_inside(environment, program, folder / "jobs.json"))
            assert ended.get("event") == "converted", ended
        return target

    return make


@pytest.fixture
def run(
    start: Any, artifact: Callable[[str, str], Path], tmp_path: Path
) -> Callable[..., tuple[dict[str, Any], Path, np.ndarray]]:
    """Load and answer, with `keep_ir` unless told otherwise: the event `loaded`, the folder, the answers."""

    def do(environment: str, backend: str, form: str, **changes: Any) -> Any:
        np.save(tmp_path / "x.npy", ROWS)
        running = start(
            python=interpreter(environment),
            backend=backend,
            model={"path": str(artifact(environment, form)), "format": form},
            inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": len(ROWS)},
            **{"keep_ir": True, **changes},
        )
        loaded = running.event()
        assert loaded is not None, (running.error(), running.log())
        assert running.command("answers")["ok"]
        return loaded, running.work / "ir", running.output()

    return do


CASES: list[Any] = [
    pytest.param("onnxruntime-1.31", "onnxruntime", "onnx", {}, {"optimized.onnx": b"Conv"}),
    pytest.param("openvino-2026.4", "openvino", "onnx", {}, {"runtime.xml": b'type="Convolution"'}),
    pytest.param("ncnn-20261020", "ncnn", "ncnn", {}, {"model.param": b"7767517"}),
    pytest.param(
        "tvm-0.27",
        "tvm",
        "onnx",
        {},
        {
            "imported.py": b"R.nn.conv2d",
            "lowered.py": b"T.prim_func",
            "bytecode.txt": b"@main:",
            "kernels_0_llvm.ll": b"define",
            "kernels_0_llvm.s": b".text",
        },
        id="tvm-llvm",
    ),
    pytest.param(
        "tvm-0.27",
        "tvm",
        "onnx",
        {"target": "c"},
        {"lowered.py": b"T.prim_func", "kernels_0_c.c": b"int32_t"},
        marks=NEEDS_COMPILER,
        id="tvm-c",
    ),
    pytest.param(
        "iree-3.13",
        "iree",
        "onnx",
        {},
        {
            "module.vmfb": b"",
            "phases/*.input.mlir": b"linalg.",
            "phases/*.vm.mlir": b"vm.module",
            "kernels/*.s": b".text",
        },
    ),
    pytest.param(
        "jax-0.10",
        "jax",
        "jax",
        {},
        {"stablehlo.mlir": b"stablehlo.", "optimised_hlo.txt": b"HloModule"},
    ),
    pytest.param(
        "torch-2.13",
        "torch.jit",
        "pt2",
        {},
        {
            "graph.txt": b"aten::",
            "code.py": b"def forward",
            "executed_graph.txt": b"graph(",
        },
    ),
    pytest.param(
        "torch-2.13",
        "torch.compile",
        "pt2",
        {},
        {"program.txt": b"conv2d", "program.py": b"def forward", "inductor/*.py": b"def call("},
        marks=NEEDS_COMPILER,
    ),
    pytest.param(
        "torch-2.13",
        "torch.export",
        "pt2",
        {},
        {"program.txt": b"conv2d", "inductor/*.cpp": b"run_impl"},
        marks=NEEDS_COMPILER,
    ),
    pytest.param(
        "tensorflow-2.21",
        "tensorflow.graph",
        "savedmodel",
        {},
        {
            "traced.pbtxt": b"Conv2D",
            "before_optimisation.pbtxt": b"Conv2D",
            "optimised.pbtxt": b"Conv2D",
            "executed_0.pbtxt": b"Conv2D",
        },
    ),
    pytest.param(
        "tensorflow-2.21",
        "tensorflow.xla",
        "savedmodel",
        {},
        {"hlo.txt": b"convolution", "optimized_hlo.txt": b"HloModule"},
    ),
]


@pytest.mark.parametrize(("environment", "backend", "form", "settings", "expected"), CASES)
def test_what_was_compiled_is_kept_and_changes_no_bit_of_the_answers(
    run: Callable[..., Any],
    environment: str,
    backend: str,
    form: str,
    settings: dict[str, Any],
    expected: dict[str, bytes],
) -> None:
    loaded, folder, answers = run(environment, backend, form, settings=settings)
    files = loaded["ir"]
    assert files == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    assert "not-kept.txt" not in files, (folder / "not-kept.txt").read_text()
    for pattern, words in expected.items():
        found = [path.read_bytes() for path in folder.rglob("*") if _matches(folder, path, pattern)]
        assert any(words in content and content for content in found), (pattern, files)
    _, without, plain = run(environment, backend, form, settings=settings, keep_ir=False)
    assert not without.exists()
    assert (answers.shape, answers.dtype) == (plain.shape, plain.dtype) == ((2, 4), np.float32)
    assert answers.tobytes() == plain.tobytes()


def _matches(folder: Path, path: Path, pattern: str) -> bool:
    """A file of that name; with a star, anywhere below that folder."""
    name = path.relative_to(folder).as_posix()
    before, star, after = pattern.partition("*")
    if not star:
        return name == pattern
    return path.is_file() and name.startswith(before) and name.endswith(after)


def test_nothing_is_kept_unless_it_is_asked_for(run: Callable[..., Any]) -> None:
    loaded, folder, _ = run("onnxruntime-1.31", "onnxruntime", "onnx", keep_ir=False)
    assert "ir" not in loaded
    assert not folder.exists()


def test_a_backend_with_nothing_to_show_says_so(start: Any) -> None:
    running = start(keep_ir=True)
    loaded = running.event()
    assert loaded["ir"] == []
    assert not (running.work / "ir").exists()
