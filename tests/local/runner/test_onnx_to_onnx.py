"""The steps from ONNX to ONNX in their shipped environment, on small networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnx.reference import ReferenceEvaluator
from support.environment_python import run_inside

ENVIRONMENT = "onnx-1.23"
ROWS = np.random.Generator(np.random.PCG64(5)).standard_normal((12, 3, 8, 8)).astype(np.float32)


def network(opset: int = 17, batch: Any = "N") -> onnx.ModelProto:
    """Convolution, batch normalisation by folded constants, a matrix: [N, 3, 8, 8] to [N, 5]."""
    generator = np.random.Generator(np.random.PCG64(3))

    def drawn(*shape: int) -> np.ndarray:
        values: np.ndarray = generator.standard_normal(shape).astype(np.float32)
        return values

    constants = {
        "w": drawn(6, 3, 3, 3),
        "scale": drawn(6),
        "shift": drawn(6),
        "mean": drawn(6),
        "var": np.abs(drawn(6)) + 1,
        "m": drawn(6, 5),
        "half": np.float32(0.5),
        "three": np.float32(3),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["half", "three"], ["factor"]),
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"]),
            helper.make_node("Mul", ["b", "factor"], ["f"]),
            helper.make_node("Softplus", ["f"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["g"]),
            helper.make_node("Flatten", ["g"], ["l"]),
            helper.make_node("MatMul", ["l", "m"], ["i"], name="matrix"),
            helper.make_node("Identity", ["i"], ["y"]),
        ],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def without_numbers() -> onnx.ModelProto:
    """Nothing that a quantiser could take."""
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "nothing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


JOBS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "folded": ("fold", "network", {}),
    "not_folded": ("fold", "network", {"folding": False}),
    "raised": ("opset", "network", {"opset": 20}),
    "newest": ("opset", "network", {"opset": 27}),
    "lowered": ("opset", "folded", {"opset": 15}),
    "identity_lowered": ("opset", "network", {"opset": 15}),
    "too_new": ("opset", "network", {"opset": 99}),
    "unsaid": ("opset", "network", {}),
    "dynamic": ("quantise", "network", {"quantisation": "dynamic"}),
    "static": ("quantise", "network", {"quantisation": "static"}),
    "static_of_12": ("quantise", "network_12", {"quantisation": "static"}),
    "static_by_8": ("quantise", "network_by_8", {"quantisation": "static", "batch": 8}),
    "uncalibrated": ("quantise", "network", {"quantisation": "static"}),
    "float16": ("quantise", "network", {"quantisation": "float16"}),
    "twice": ("quantise", "static", {"quantisation": "dynamic"}),
    "int4": ("quantise", "network", {"quantisation": "int4"}),
    "plain": ("quantise", "network", {}),
    "nothing": ("quantise", "without_numbers", {"quantisation": "dynamic"}),
    "layout": ("quantise", "network", {"quantisation": "dynamic", "layout": "nhwc"}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx_to_onnx")


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Any]:
    """How each job ended; what they made lies in the folder."""
    onnx.save(network(), folder / "network.onnx")
    onnx.save(network(12), folder / "network_12.onnx")
    onnx.save(network(17, 8), folder / "network_by_8.onnx")
    onnx.save(without_numbers(), folder / "without_numbers.onnx")
    np.save(folder / "rows.npy", ROWS)
    inputs = {"kind": "array", "path": str(folder / "rows.npy"), "count": len(ROWS)}
    documents = []
    for name, (tool, source, options) in JOBS.items():
        document: dict[str, Any] = {
            "schema_version": 1,
            "kind": "convert",
            "work": str(folder / "work"),
            "converter": f"onnx>onnx:{tool}",
            "source": {"path": str(folder / f"{source}.onnx"), "format": "onnx"},
            "target": str(folder / f"{name}.onnx"),
            "options": options,
        }
        if options.get("quantisation") == "static" and name != "uncalibrated":
            document["calibration"] = {"inputs": inputs, "rows": list(range(len(ROWS)))}
        documents.append(document)
    (folder / "jobs.json").write_text(json.dumps(documents))
    program = Path(__file__).with_name("convert_documents.py")
    said = json.loads(run_inside(ENVIRONMENT, program, folder / "jobs.json"))
    return dict(zip(JOBS, said, strict=True))


def outputs(path: Path, rows: np.ndarray = ROWS) -> np.ndarray:
    """By ONNX's reference evaluator, which knows DequantizeLinear from opset 19 on."""
    model = onnx.load(path)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        model = version_converter.convert_version(model, 21)
    evaluator = ReferenceEvaluator(model)
    found: np.ndarray = evaluator.run(None, {"x": rows})[0]
    return found


def kinds(path: Path) -> list[str]:
    model = onnx.load(path)
    assert {node.domain for node in model.graph.node} == {""}, "only ONNX's own operators"
    assert [o.domain for o in model.opset_import] == [""], "domains that nothing uses are dropped"
    return [node.op_type for node in model.graph.node]


def test_folding_leaves_what_depends_on_the_input(ended: dict[str, Any], folder: Path) -> None:
    assert ended["folded"]["event"] == "converted"
    assert ended["folded"]["probe_max_abs_diff"] < 1e-5
    assert ended["folded"]["versions"].keys() == {"onnxruntime", "onnx", "numpy"}
    left = kinds(folder / "folded.onnx")
    assert left == ["Conv", "Softplus", "GlobalAveragePool", "Flatten", "MatMul"]
    declared = onnx.load(folder / "folded.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert declared.dim_value == 0, "the batch stays open"
    np.testing.assert_allclose(
        outputs(folder / "folded.onnx"), outputs(folder / "network.onnx"), atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "opset", "ir"), [("raised", 20, 9), ("newest", 27, 13), ("lowered", 15, 8)]
)
def test_another_opset_gives_the_same_answers(
    ended: dict[str, Any], folder: Path, name: str, opset: int, ir: int
) -> None:
    assert ended[name]["probe_max_abs_diff"] < 1e-5, "by the reference evaluator where need be"
    model = onnx.load(folder / f"{name}.onnx")
    assert [o.version for o in model.opset_import] == [opset]
    assert model.ir_version == ir, "the oldest that has the opset"
    np.testing.assert_allclose(
        outputs(folder / f"{name}.onnx"), outputs(folder / "network.onnx"), atol=1e-5
    )


def test_dynamic_quantisation_keeps_weights_in_8_bits(ended: dict[str, Any], folder: Path) -> None:
    assert ended["dynamic"]["event"] == "converted"
    left = kinds(folder / "dynamic.onnx")
    assert left.count("ConvInteger") == 1
    assert left.count("MatMulInteger") == 1
    held = {t.name: t.data_type for t in onnx.load(folder / "dynamic.onnx").graph.initializer}
    weights = [kind for name, kind in held.items() if name.endswith("_quantized")]
    assert weights == [TensorProto.UINT8, TensorProto.UINT8], "the convolution's and the matrix"
    expected, got = outputs(folder / "network.onnx"), outputs(folder / "dynamic.onnx")
    assert 0 < np.abs(got - expected).max() < 0.2, "of up to 12"


@pytest.mark.parametrize("name", ["static", "static_of_12", "static_by_8"])
def test_static_quantisation_is_by_channel_and_near(
    ended: dict[str, Any], folder: Path, name: str
) -> None:
    assert ended[name]["event"] == "converted", ended[name]
    left = kinds(folder / f"{name}.onnx")
    assert left.count("QuantizeLinear") >= 4
    assert left.count("Conv") == 1
    model = onnx.load(folder / f"{name}.onnx")
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = {k: v for k, v in held.items() if k.endswith("_quantized") and v.dtype == np.int8}
    scales = {name: held[name.replace("_quantized", "_scale")].shape for name in weights}
    assert sorted(scales.values()) == [(5,), (6,)], "one for each channel that comes out"
    rows = ROWS[:8]
    expected, got = outputs(folder / "network.onnx", rows), outputs(folder / f"{name}.onnx", rows)
    assert 0 < np.abs(got - expected).max() < 0.2, "of up to 12"


def test_half_precision_keeps_inputs_and_outputs(ended: dict[str, Any], folder: Path) -> None:
    assert ended["float16"]["event"] == "converted", ended["float16"]
    model = onnx.load(folder / "float16.onnx")
    for value in (model.graph.input[0], model.graph.output[0]):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    held = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert held["w"] == TensorProto.FLOAT16
    expected, got = outputs(folder / "network.onnx"), outputs(folder / "float16.onnx")
    assert 0 < np.abs(got - expected).max() < 0.01


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not_folded", "leave the step away"),
        ("identity_lowered", "put the step onnx>onnx:fold before this one"),
        ("too_new", "does not support the opset 99 (it supports: 7 to "),
        ("unsaid", "does not support the opset None"),
        ("uncalibrated", "this job brings none"),
        ("twice", "static.onnx is quantised already"),
        ("int4", "does not support the quantisation 'int4'"),
        ("plain", "does not support the quantisation None"),
        ("nothing", "nothing in this model that it can make dynamic; its operators are Neg"),
        ("layout", "does not support the option 'layout'"),
    ],
)
def test_what_can_not_be_is_refused_and_leaves_no_file(
    ended: dict[str, Any], folder: Path, name: str, words: str
) -> None:
    assert ended[name]["kind"] == "unsupported"
    assert words in ended[name]["message"]
    assert not (folder / f"{name}.onnx").exists()
    assert not list(folder.glob("*.part*"))
