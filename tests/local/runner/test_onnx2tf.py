"""onnx2tf in its shipped environment: SavedModel and TensorFlow Lite from small networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support.environment_python import run_inside

ENVIRONMENT = "onnx2tf-1.29"
ROWS = np.random.Generator(np.random.PCG64(5)).standard_normal((3, 3, 10, 12)).astype(np.float32)
SAVED, LITE = "onnx>savedmodel", "onnx>tflite:onnx2tf"
OPEN = {"batch": 1, "item_shape": [3, 10, 12]}
AS_IT_IS = {"folding": False}


def network(last: bool = False) -> onnx.ModelProto:
    """A map of 48 channels and 5 scores of images, as PyTorch would name them; or as Keras would."""
    generator = np.random.Generator(np.random.PCG64(3))

    def drawn(*shape: int) -> np.ndarray:
        values: np.ndarray = generator.standard_normal(shape).astype(np.float32)
        return values

    weights = {"w": drawn(48, 3, 3, 3), "b": drawn(48), "d": drawn(48, 1, 3, 3), "m": drawn(48, 5)}
    fed, size = ("keras_tensor", [10, 12, 3]) if last else ("/in:0", [3, 10, 12])
    first, maps = ("t", "u") if last else (fed, "/maps/out:0")
    nodes = [
        helper.make_node("Conv", [first, "w", "b"], ["/c"], name="/c", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["/c"], ["/r"], name="/r"),
        helper.make_node("Conv", ["/r", "d"], [maps], group=48, strides=[2, 2]),
        helper.make_node("GlobalAveragePool", [maps], ["g"], name="g"),
        helper.make_node("Flatten", ["g"], ["f"], name="f"),
        helper.make_node("MatMul", ["f", "m"], ["scores"], name="s"),
    ]
    shape = [48, 4, 5]
    if last:
        nodes.insert(0, helper.make_node("Transpose", [fed], ["t"], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", ["u"], ["maps"], perm=[0, 2, 3, 1]))
        maps, shape = "maps", [4, 5, 48]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(fed, TensorProto.FLOAT, ["N", *size])],
        [
            helper.make_tensor_value_info(maps, TensorProto.FLOAT, ["N", *shape]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 5]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def unknown() -> onnx.ModelProto:
    """Holds an operator that onnx2tf has not got."""
    graph = helper.make_graph(
        [helper.make_node("CastLike", ["x", "x"], ["y"], name="alike")],
        "unknown",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


JOBS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "saved": (SAVED, "first", OPEN),
    "saved_last": (SAVED, "last", AS_IT_IS),
    "lite": (LITE, "first", {"batch": 2, **AS_IT_IS}),
    "lite_nchw": (LITE, "first", {"layout": "nchw", **AS_IT_IS}),
    "dynamic": (LITE, "first", {"quantisation": "dynamic", **AS_IT_IS}),
    "static": (LITE, "first", {"quantisation": "static", **AS_IT_IS}),
    "uncalibrated": (LITE, "first", {"quantisation": "static"}),
    "nchw_of_last": (SAVED, "last", {"layout": "nchw"}),
    "unknown": (LITE, "unknown", AS_IT_IS),
    "folding": (SAVED, "first", {"folding": "yes"}),
    "quantised_saved": (SAVED, "first", {"quantisation": "dynamic"}),
}
REFUSED = {
    "uncalibrated": "static quantisation chooses the ranges of integers from inputs",
    "nchw_of_last": "the source does not take images with the channels first",
    "unknown": "onnx2tf has no operator CastLike",
    "folding": "folding 'yes' (it supports: true, false)",
    "quantised_saved": "option 'quantisation'",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx2tf")


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Any]:
    """How each job ended; what they made, and its answers, lie in the folder."""
    sources = {"first": network(), "last": network(last=True), "unknown": unknown()}
    for name, model in sources.items():
        onnx.save(model, folder / f"{name}.onnx")
    np.save(folder / "rows.npy", ROWS)
    inputs = {"kind": "array", "path": str(folder / "rows.npy"), "count": len(ROWS)}
    documents = []
    for name, (converter, source, options) in JOBS.items():
        document: dict[str, Any] = {
            "schema_version": 1,
            "kind": "convert",
            "work": str(folder),
            "converter": converter,
            "source": {"path": str(folder / f"{source}.onnx"), "format": "onnx"},
            "target": str(folder / name),
            "options": options,
        }
        if name == "static":
            document["calibration"] = {"inputs": inputs, "rows": [0, 1, 2]}
        documents.append(document)
    (folder / "jobs.json").write_text(json.dumps(documents))
    program = Path(__file__).with_name("onnx2tf_conversions.py")
    said = json.loads(run_inside(ENVIRONMENT, program, folder).splitlines()[-1])
    return dict(zip(JOBS, said, strict=True))


def answers(folder: Path, name: str) -> list[np.ndarray]:
    with np.load(folder / f"{name}.npz") as file:
        return [file[each] for each in file.files]


def expected(source: str, count: int) -> list[np.ndarray]:
    last = source == "last"
    fed = ROWS[:count].transpose(0, 2, 3, 1) if last else ROWS[:count]
    name = "keras_tensor" if last else "/in:0"
    found: list[np.ndarray] = ReferenceEvaluator(network(last)).run(None, {name: fed})
    return found


@pytest.mark.parametrize(
    ("name", "rows", "input_axes", "output_axes"),
    [
        ("saved", 3, [0, 2, 3, 1], [[0, 3, 1, 2], None]),
        ("saved_last", 3, None, None),
        ("lite", 2, [0, 2, 3, 1], [[0, 3, 1, 2], None]),
        ("lite_nchw", 1, None, [[0, 3, 1, 2], None]),
    ],
)
def test_the_answers_are_those_of_onnx(
    ended: dict[str, Any], folder: Path, name: str, rows: int, input_axes: Any, output_axes: Any
) -> None:
    said = ended[name]
    assert "message" not in said, said
    assert (said["input_axes"], said["output_axes"]) == (input_axes, output_axes)
    assert said["probe_max_abs_diff"] < 1e-4
    assert said["versions"]["onnx2tf"] == "1.29.24"
    got = answers(folder, name)
    assert len(got) == 2
    for one, want in zip(got, expected(JOBS[name][1], rows), strict=True):
        np.testing.assert_allclose(one, want, atol=1e-4)


def test_a_saved_model_is_all_its_files(ended: dict[str, Any], folder: Path) -> None:
    files = {str(p.relative_to(folder)) for p in (folder / "saved").rglob("*") if p.is_file()}
    assert "saved/saved_model.pb" in files
    assert ended["saved"]["files"].keys() == files


@pytest.mark.parametrize("name", ["dynamic", "static"])
def test_quantised_files_are_smaller_and_near(
    ended: dict[str, Any], folder: Path, name: str
) -> None:
    assert "message" not in ended[name], ended[name]
    assert (folder / name).stat().st_size < 0.9 * (folder / "lite").stat().st_size
    for one, want in zip(answers(folder, name), expected("first", 1), strict=True):
        difference = np.abs(one - want).max()
        assert 0 < difference < 0.05 * np.abs(want).max()


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_can_not_be_is_refused_and_leaves_nothing(
    ended: dict[str, Any], folder: Path, name: str
) -> None:
    assert ended[name]["kind"] == "unsupported"
    assert REFUSED[name] in ended[name]["message"]
    assert not (folder / name).exists()


def test_nothing_of_the_work_is_left(ended: dict[str, Any], folder: Path) -> None:
    assert ended
    assert not list(folder.glob("onnx2tf-*"))
    assert not list(folder.glob("*.part*"))
