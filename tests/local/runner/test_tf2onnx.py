"""Files of Keras, TensorFlow and TensorFlow Lite become ONNX, which ONNX Runtime answers alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.environment_python import run_inside

HERE = Path(__file__).parent
KERAS, OWN = "keras>onnx:tf2onnx", "keras>onnx:keras"
SIDES = {"item_shape": [16, 24, 3]}
MADE = [
    ("two", KERAS, "two.keras", "two.onnx", {"batch": 2}),
    ("own", OWN, "two.keras", "own.onnx", {"opset": 13}),
    ("nchw", KERAS, "two.keras", "nchw.onnx", {"layout": "nchw", "opset": 18}),
    ("old", KERAS, "two.keras", "old.onnx", {"layout": "nhwc", "opset": 9}),
    ("sequential", KERAS, "sequential.keras", "sequential.onnx", {}),
    ("sequential_own", OWN, "sequential.keras", "sequential_own.onnx", {}),
    ("nested", KERAS, "nested.keras", "nested.onnx", {}),
    ("nested_own", OWN, "nested.keras", "nested_own.onnx", {}),
    ("sides", KERAS, "sides.keras", "sides.onnx", SIDES),
    ("sides_own", OWN, "sides.keras", "sides_own.onnx", SIDES),
    ("saved", "savedmodel>onnx", "saved", "saved.onnx", {"layout": "nchw"}),
    ("graph", "graphdef>onnx", "graph.pb", "graph.onnx", {"layout": "nchw"}),
    ("float", "tflite>onnx", "float.tflite", "float.onnx", {"layout": "nchw"}),
    ("open", "tflite>onnx", "open.tflite", "open.onnx", {"batch": 2}),
    ("int8", "tflite>onnx", "int8.tflite", "int8.onnx", {}),
    ("weights", "tflite>onnx", "weights.tflite", "weights.onnx", {"opset": 13}),
    ("first", "tflite>onnx", "first.tflite", "first.onnx", {"layout": "nchw"}),
    ("first_saved", "savedmodel>onnx", "first.saved", "first_saved.onnx", {"layout": "nchw"}),
    ("first_graph", "graphdef>onnx", "first.pb", "first_graph.onnx", {"layout": "nchw"}),
]
REFUSED = [
    ("open_sides", KERAS, "sides.keras", {}, "unsupported", "give the option item_shape"),
    ("pair", KERAS, "pair.keras", {}, "unsupported", "takes 2 inputs (one, other)"),
    ("flat", KERAS, "sequential.keras", {"layout": "nchw"}, "unsupported", "is one of images"),
    ("damaged", KERAS, "damaged.keras", {}, "model", "is no .keras file"),
    ("layout", OWN, "two.keras", {"layout": "nchw"}, "unsupported", "the option 'layout'"),
    ("chwn", KERAS, "two.keras", {"layout": "chwn"}, "unsupported", "supports: nhwc, nchw"),
    ("odd", "savedmodel>onnx", "odd", {"opset": 15}, "unsupported", "nothing in opset 15"),
    ("odd_graph", "graphdef>onnx", "odd.pb", {}, "unsupported", "Betainc] is not supported"),
    ("infinite", "savedmodel>onnx", "infinite", {}, "conversion", "is not finite"),
    ("int16", "tflite>onnx", "int16.tflite", {}, "unsupported", "quantised to int16"),
    ("int8_old", "tflite>onnx", "int8.tflite", {"opset": 12}, "unsupported", "need opset 13"),
    ("newest", "tflite>onnx", "float.tflite", {"opset": 19}, "unsupported", "9 to 18"),
    ("last", "tflite>onnx", "first.tflite", {"layout": "nhwc"}, "unsupported", "channels first"),
    ("last_saved", "savedmodel>onnx", "first.saved", {"layout": "nhwc"}, "unsupported", "first"),
    ("many", "tflite>onnx", "many.tflite", {"layout": "nchw"}, "unsupported", "does not tell"),
    ("many_graph", "graphdef>onnx", "many.pb", {"layout": "nhwc"}, "unsupported", "does not tell"),
    ("fixed", "tflite>onnx", "float.tflite", {"batch": 3}, "unsupported", "[3, 16, 24, 3]"),
    ("text", "tflite>onnx", "jobs.json", {}, "model", "TensorFlow Lite refuses the model"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all sources are, what was made of them, and what each answers."""
    made = tmp_path_factory.mktemp("tf2onnx")
    refused = [(name, by, source, "no.onnx", asked) for name, by, source, asked, _, _ in REFUSED]
    (made / "jobs.json").write_text(json.dumps([*MADE, *refused]))
    run_inside("tf2onnx-1.17", HERE / "tf2onnx_conversions.py", made)
    converted = json.loads((made / "done.json").read_text())
    feeds = {
        target: [f"{Path(source).stem}.npz", converted[name].get("input_axes")]
        for name, _, source, target, _ in MADE
        if (made / target).exists()
    }
    (made / "feeds.json").write_text(json.dumps(feeds))
    run_inside("onnxruntime-1.31", HERE / "onnx_answers.py", made)
    return made


@pytest.fixture(scope="module")
def done(folder: Path) -> dict[str, Any]:
    """What was converted, or the error, by name."""
    found: dict[str, Any] = json.loads((folder / "done.json").read_text())
    return found


@pytest.fixture(scope="module")
def described(folder: Path) -> dict[str, Any]:
    """Name, type and shape of every end of each ONNX file."""
    found: dict[str, Any] = json.loads((folder / "described.json").read_text())
    return found


@pytest.mark.parametrize(("name", "source"), [(job[0], job[2]) for job in MADE])
def test_onnx_runtime_answers_as_the_source_does(
    folder: Path, done: dict[str, Any], name: str, source: str
) -> None:
    assert done[name].get("kind") is None, done[name]
    with np.load(folder / "answers.npz") as arrays:
        got = [arrays[each] for each in arrays.files if each.startswith(f"{name}.onnx/")]
    with np.load(folder / f"{Path(source).stem}.npz") as arrays:
        expected = [arrays[f"y{place}"] for place in range(len(arrays.files) - 1)]
    assert [answer.shape for answer in got] == [answer.shape for answer in expected]
    # Integers may be rounded the other way; weights alone in int8 are multiplied in another order.
    tolerance = {"int8": 1.0, "weights": 1e-3}.get(name, 1e-5)
    for answer, wanted in zip(got, expected, strict=True):
        assert answer.dtype == wanted.dtype
        scale = 1.0 if name == "int8" else np.abs(wanted).max()
        assert np.abs(np.subtract(answer, wanted, dtype="f8")).max() <= tolerance * scale
    assert done[name]["probe_max_abs_diff"] <= (1.0 if name == "int8" else 1e-4)


def test_outputs_keep_the_sources_names_and_order_and_the_batch_stays_open(
    described: dict[str, Any],
) -> None:
    for name, image in (("two", ["N", 16, 24, 3]), ("nchw", ["N", 3, 16, 24])):
        assert described[f"{name}.onnx"] == [
            ["image", "tensor(float)", image],
            ["z_first", "tensor(float)", ["N", 3]],
            ["a_second", "tensor(float)", ["N", 2]],
        ]
    assert described["open.onnx"][0] == ["image", "tensor(float)", ["N", 16, 24, 3]]
    assert described["float.onnx"][0] == ["image", "tensor(float)", [1, 3, 16, 24]]
    for name in ("first", "first_saved", "first_graph"):
        assert described[f"{name}.onnx"][0] == ["image", "tensor(float)", [1, 3, 8, 6]]
    assert described["own.onnx"] == described["two.onnx"]
    assert [end[0] for end in described["saved.onnx"]] == ["picture", "first", "second"]
    assert [end[0] for end in described["graph.onnx"]] == ["input", "output_0", "output_1"]


def test_integers_of_tensorflow_lite_are_held_between_quantising_and_its_inverse(
    folder: Path, described: dict[str, Any]
) -> None:
    assert [end[1] for end in described["int8.onnx"]] == ["tensor(int8)"] * 2
    assert described["int8.onnx"][0][2] == [1, 16, 24, 3]
    integers = onnx.load(folder / "int8.onnx")
    operators = [node.op_type for node in integers.graph.node]
    assert operators.count("Conv") == 2
    assert operators.count("QuantizeLinear") >= 5
    assert operators.count("DequantizeLinear") > operators.count("QuantizeLinear")
    told = json.loads({each.key: each.value for each in integers.metadata_props}["quantisation"])
    names = [end[0] for end in described["int8.onnx"]]
    assert sorted(told) == sorted(names)
    assert 0.01 < told[names[0]]["scale"] < 0.1
    assert -128 <= told[names[1]]["zero_point"] <= 127
    plain = {node.op_type for node in onnx.load(folder / "float.onnx").graph.node}
    assert not plain & {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


def test_the_opset_is_the_one_asked_for_and_old_engines_can_read_the_file(folder: Path) -> None:
    opsets = {"two": 17, "own": 13, "nchw": 18, "old": 9, "weights": 13, "saved": 17}
    for name, opset in opsets.items():
        model = onnx.load(folder / f"{name}.onnx", load_external_data=False)
        assert {o.domain: o.version for o in model.opset_import}[""] == opset
        assert model.ir_version <= 9


def test_only_a_layout_changes_how_the_input_is_fed(done: dict[str, Any]) -> None:
    for name, *_, options in MADE:
        asked = options.get("layout") == "nchw" and not name.startswith("first")
        assert done[name]["input_axes"] == ([0, 3, 1, 2] if asked else None), name
    assert done["two"]["versions"]["tf2onnx"].startswith("1.17")


@pytest.mark.parametrize(("name", "kind", "words"), [(job[0], job[4], job[5]) for job in REFUSED])
def test_what_can_not_be_is_refused_in_words(
    done: dict[str, Any], folder: Path, name: str, kind: str, words: str
) -> None:
    assert words in done[name]["message"]
    assert done[name]["kind"] == kind
    assert not (folder / "no.onnx").exists()
