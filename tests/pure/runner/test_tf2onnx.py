"""What converters that run tf2onnx are asked for, and what they look at in what it made."""

from __future__ import annotations

import gc
import json
import logging
import sys
import weakref
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from runner.backends.base import TensorSpec
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import tf2onnx_model, tf2onnx_request
from runner.support.tf2onnx_request import Request

OPTIONS = ("batch", "item_shape", "opset", "layout")
IMAGE = TensorSpec("image", "float32", (None, 8, 8, 3))


def job(**options: Any) -> ConvertJob:
    """A job of the converter `test`."""
    return ConvertJob(
        work=".",
        converter="test",
        source="s",
        source_format="keras",
        target="t",
        options=options,
    )


def request(**changes: Any) -> Request:
    """A request for one image, but for what is changed."""
    asked: dict[str, Any] = {"batch": 1, "item_shape": None, "opset": 17, "layout": None, **changes}
    return Request(**asked)


def model(*operators: str, inner: str = "") -> onnx.ModelProto:
    """A chain of operators from `t0`; with `inner`, an If that runs it in both branches at the end."""
    nodes = [helper.make_node(each, [f"t{i}"], [f"t{i + 1}"]) for i, each in enumerate(operators)]
    last = f"t{len(operators)}"
    if inner:
        branches = {
            f"{which}_branch": helper.make_graph(
                [helper.make_node(inner, [last], [f"{which}_out"])],
                which,
                [],
                [helper.make_tensor_value_info(f"{which}_out", TensorProto.FLOAT, None)],
            )
            for which in ("then", "else")
        }
        nodes.append(helper.make_node("If", ["yes"], ["end"], **branches))
        last = "end"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, ["unk__1", 2])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["unk__2", 2])],
        [helper.make_tensor("yes", TensorProto.BOOL, [], [True])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_what_nobody_asks_for_is_opset_17_and_the_tools_own_layout() -> None:
    assert tf2onnx_request.read(job(), "test", "keras", OPTIONS) == request()
    asked = tf2onnx_request.read(job(opset=9, layout="nchw", batch=4), "test", "keras", OPTIONS)
    assert asked == request(opset=9, layout="nchw", batch=4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"opset": 8}, "the opset 8 (it supports: 9 to 18)"),
        ({"opset": 19}, "the opset 19"),
        ({"layout": "NCHW"}, "the layout 'NCHW' (it supports: nhwc, nchw)"),
        ({"folding": True}, "the option 'folding'"),
    ],
)
def test_an_option_that_can_not_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RunnerError) as refused:
        tf2onnx_request.read(job(**options), "test", "keras", OPTIONS)
    assert refused.value.kind == "unsupported"
    assert words in refused.value.message


def test_another_format_is_refused() -> None:
    with pytest.raises(RunnerError, match="the source format 'keras'"):
        tf2onnx_request.read(job(), "test", "tflite", OPTIONS)


def test_only_the_batch_stays_open() -> None:
    sides = TensorSpec("image", "float32", (None, None, None, 3))
    assert tf2onnx_request.signature(request(batch=5), IMAGE, "test") == (None, 8, 8, 3)
    asked = request(item_shape=(4, 6, 3))
    assert tf2onnx_request.signature(asked, sides, "test") == (None, 4, 6, 3)
    fixed = TensorSpec("image", "float32", (2, 8, 8, 3))
    assert tf2onnx_request.signature(request(batch=2), fixed, "test") == (2, 8, 8, 3)


@pytest.mark.parametrize(
    ("shape", "changes", "words"),
    [
        ((None, None, 8, 3), {}, "give the option item_shape"),
        (None, {}, "save the model with a shape"),
        ((2, 8, 8, 3), {"batch": 1}, "[1, 8, 8, 3] was asked for"),
        ((None, 8, 8, 3), {"item_shape": (8, 8, 1)}, "[1, 8, 8, 1] was asked for"),
        ((None, 8, 8, 3), {"item_shape": (8, 8)}, "[1, 8, 8] was asked for"),
        ((None, 5), {"layout": "nhwc"}, "the layout nhwc is one of images"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(
    shape: Any, changes: dict[str, Any], words: str
) -> None:
    spec = TensorSpec("image", "float32", shape)
    with pytest.raises(RunnerError) as refused:
        tf2onnx_request.signature(request(**changes), spec, "test")
    assert refused.value.kind == "unsupported"
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("shape", "asked", "told", "layout"),
    [
        ((None, 8, 6, 3), "nchw", None, "nchw"),
        ((None, 8, 6, 3), "nhwc", None, None),
        ((1, 3, 8, 6), "nchw", None, None),
        ((None, 8, 6, 12), "nchw", "nhwc", "nchw"),
        ((None, 12, 8, 6), "nchw", "nchw", None),
        ((1, 3, 8, 6), None, None, None),
    ],
)
def test_an_input_is_transposed_only_where_it_has_another_layout(
    shape: Any, asked: str | None, told: str | None, layout: str | None
) -> None:
    before = request(layout=asked)
    after = tf2onnx_request.transposed(before, "image", shape, "test", told)
    assert after == request(layout=layout)


@pytest.mark.parametrize(
    ("shape", "asked", "words"),
    [
        ((1, 3, 8, 6), "nhwc", "has its channels first"),
        ((1, 6, 8, 6), "nchw", "of [1, 6, 8, 6] does not tell where its channels are"),
        ((1, 3, 8, 3), "nchw", "does not tell"),
    ],
)
def test_a_layout_that_can_not_be_given_or_told_is_refused(
    shape: Any, asked: str, words: str
) -> None:
    with pytest.raises(RunnerError) as refused:
        tf2onnx_request.transposed(request(layout=asked), "image", shape, "test")
    assert refused.value.kind == "unsupported"
    assert words in refused.value.message


def test_a_probe_has_the_sources_shape_and_the_range_of_its_dtype() -> None:
    shape = (None, 8, 8, 3)
    floats = tf2onnx_request.probe(request(batch=2), shape, "float32")
    assert floats.shape == (2, 8, 8, 3)
    assert floats.dtype == np.float32
    assert (floats == tf2onnx_request.probe(request(batch=2), shape, "float32")).all()
    pixels = tf2onnx_request.probe(request(batch=8), shape, "uint8")
    assert (pixels.min(), pixels.max()) == (0, 255)
    signed = tf2onnx_request.probe(request(batch=8), shape, "int8")
    assert (signed.min(), signed.max()) == (-128, 127)
    assert tf2onnx_request.probe(request(), shape, "int64").max() < 100


def test_operators_that_onnx_has_not_got_are_named_wherever_they_are() -> None:
    tf2onnx_model.require_valid(model("Neg", "Abs", inner="Neg"), "test", [])
    with pytest.raises(RunnerError) as refused:
        tf2onnx_model.require_valid(model("Neg", "Erfinv", inner="Betainc"), "test", ["lost it"])
    assert refused.value.kind == "unsupported"
    assert "opset 17 of ONNX for Betainc, Erfinv: ask for opset 18" in refused.value.message
    assert refused.value.message.endswith("tf2onnx said: lost it")


def test_a_model_that_breaks_onnx_rules_is_a_conversion_that_failed() -> None:
    made = model("Neg")
    del made.graph.node[0].input[:]
    with pytest.raises(RunnerError, match="breaks ONNX's rules") as refused:
        tf2onnx_model.require_valid(made, "test", [])
    assert refused.value.kind == "conversion"


def test_ends_get_the_names_of_the_source_and_others_give_way() -> None:
    made = model("Neg", "Abs", "Exp", inner="Neg")
    tf2onnx_model.rename(made, {"t0": "image", "end": "t2"})
    assert [value.name for value in (*made.graph.input, *made.graph.output)] == ["image", "t2"]
    chain = [(list(node.input), list(node.output)) for node in made.graph.node]
    assert chain[:3] == [(["image"], ["t1"]), (["t1"], ["t2__1"]), (["t2__1"], ["t3"])]
    assert chain[3] == (["yes"], ["t2"])
    onnx.checker.check_model(made, full_check=True)


def test_a_name_that_a_branch_reads_is_changed_there_too() -> None:
    made = model("Neg", inner="Abs")
    tf2onnx_model.rename(made, {"t0": "t1", "end": "scores"})
    branches = [attribute.g for attribute in made.graph.node[-1].attribute]
    assert [list(branch.node[0].input) for branch in branches] == [["t1__1"], ["t1__1"]]
    onnx.checker.check_model(made, full_check=True)


def test_an_open_batch_has_one_name() -> None:
    made = model("Neg")
    tf2onnx_model.name_open_batch(made, [np.zeros((3, 2))], 3)
    ends = [
        value.type.tensor_type.shape.dim[0] for value in (*made.graph.input, *made.graph.output)
    ]
    assert [dim.dim_param for dim in ends] == ["N", "N"]
    other = model("Neg")
    tf2onnx_model.name_open_batch(other, [np.zeros((6, 2))], 3)
    assert other.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "unk__2"


def test_names_are_tensorflows_without_its_additions() -> None:
    names = ["serving_default_image:0", "Identity_1:0", "logits", "a/b:0"]
    assert [tf2onnx_model.plain(name) for name in names] == ["image", "Identity_1", "logits", "a/b"]
    assert tf2onnx_model.distinct(["a", "a", "a_1", "a"]) == ["a", "a_2", "a_1", "a_3"]


def test_what_integers_mean_is_said_in_the_metadata() -> None:
    made = model("Neg")
    tf2onnx_model.note_scales(made, {"image": (0.0078125, 127), "scores": None})
    (told,) = made.metadata_props
    assert (told.key, json.loads(told.value)) == (
        "quantisation",
        {"image": {"scale": 0.0078125, "zero_point": 127}},
    )
    tf2onnx_model.note_scales(plain := model("Neg"), {"image": None})
    assert not plain.metadata_props


def test_quantised_models_of_an_older_opset_run_in_the_reference_evaluator() -> None:
    made = model("Neg")
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5])
    zero = helper.make_tensor("zero", TensorProto.INT8, [], [3])
    made.graph.initializer.extend([scale, zero])
    made.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", ["t1", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["out"]),
        ]
    )
    made.graph.output[0].name = "out"
    got = tf2onnx_model.answers(made, np.array([[1.1, -900.0]], "f4"))
    assert got is not None
    assert got[0].tolist() == [[-1.0, 62.0]]


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_what_was_written_is_read_back_and_compared(tmp_path: Any) -> None:
    fed = np.array([[1.0, -2.0]], "f4")
    looked = tf2onnx_model.Looked("test", [], ["image:0", "y"], fed, [-fed + 0.25], 1)
    path = tmp_path / "m.onnx"
    assert tf2onnx_model.write(model("Neg"), str(path), looked, None) == 0.25
    assert onnx.load(path).graph.input[0].name == "image"
    short = tf2onnx_model.Looked("test", [], ["x", "y", "z"], fed, [fed, fed], 1)
    with pytest.raises(RunnerError, match="one input and 2 outputs, and the ONNX model t0, t1"):
        tf2onnx_model.write(model("Neg"), str(path), short, None)
    with pytest.raises(RunnerError, match="is not finite") as refused:
        tf2onnx_model.write(model("Log"), str(path), looked, None)
    assert refused.value.kind == "conversion"


def test_what_tf2onnx_logs_as_an_error_is_kept_once_and_short() -> None:
    logger = logging.getLogger("tf2onnx.tfonnx")
    with tf2onnx_model.complaints() as said:
        logger.warning("never mind")
        for _ in range(2):
            logger.error("op %s is not supported\nTraceback", "Foo")
    logger.error("later")
    assert said == ["op Foo is not supported"]
    failed = tf2onnx_model.failure("test", "tf2onnx", ValueError("bad axis"), said)
    assert failed.kind == "conversion"
    assert "tf2onnx can't convert the model" in failed.message
    assert "bad axis" in failed.message
    assert failed.message.endswith("tf2onnx said: op Foo is not supported")


def test_what_an_optimisers_pass_leaves_behind_is_collected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[weakref.ref[Any]] = []

    class Cycle:
        def __init__(self) -> None:
            self.me = self

    class Passes:
        def optimize(self, graph: str, iteration: int) -> str:
            left.append(weakref.ref(Cycle()))
            return f"{graph}{iteration}"

    for name in ("tf2onnx", "tf2onnx.optimizer", "tf2onnx.optimizer.optimizer_base"):
        module = ModuleType(name)
        module.__dict__.update(GraphOptimizerBase=Passes)
        monkeypatch.setitem(sys.modules, name, module)
    plain = Passes.optimize
    with tf2onnx_model.memory_given_back():
        assert Passes().optimize("graph", 3) == "graph3"
        assert left[0]() is None
    assert Passes.optimize is plain
    assert gc.get_freeze_count() == 0
