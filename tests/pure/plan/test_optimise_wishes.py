"""The wish `optimise`: where on a route the optimiser's step is put, and by whom."""

from __future__ import annotations

import pytest

from harness.plan.parts import Workshop
from harness.plan.routes import Route, Step
from harness.plan.wishes import Wishes, granted

OPTIONS = ("passes", "disabled_passes")
OWN = Workshop("own", "", "venv", {"onnx>torch": ()})
OPTIMISER = Workshop("optimiser", "", "venv", {"onnx>onnx:onnxoptimizer": OPTIONS})
SIMPLIFIER = Workshop("simplifier", "", "venv", {"onnx>onnx:onnxsim": OPTIONS})
TOOLS = Workshop(
    "tools", "", "venv", {"onnx>onnx:quantise": ("quantisation",), "keras>onnx:x": ("opset",)}
)
OTHERS = [OPTIMISER, SIMPLIFIER, TOOLS]


def route(source: str, *converters: str) -> Route:
    return Route(source, tuple(Step(converter, "tools") for converter in converters))


def steps(found: Route | str) -> list[tuple[str, str]]:
    assert isinstance(found, Route), found
    return [(step.converter, step.maker) for step in found.steps]


def test_a_file_that_is_read_as_it_is_goes_through_the_optimiser_first() -> None:
    told = granted(Route("onnx"), Wishes(optimise="onnxsim"), OWN, OTHERS)
    assert steps(told) == [("onnx>onnx:onnxsim", "simplifier")]
    assert isinstance(told, Route)
    assert dict(told.steps[0].options) == {}


@pytest.mark.parametrize(
    ("asked", "options"),
    [("=fuse+nop", {"passes": ["fuse", "nop"]}), ("-fuse", {"disabled_passes": ["fuse"]})],
)
def test_its_passes_become_options_of_the_step(asked: str, options: dict[str, list[str]]) -> None:
    told = granted(Route("onnx"), Wishes(optimise=f"onnxoptimizer{asked}"), OWN, OTHERS)
    assert isinstance(told, Route)
    assert dict(told.steps[0].options) == options


def test_it_stands_where_the_model_last_is_an_onnx_file() -> None:
    way = route("keras", "keras>onnx:x", "onnx>torch")
    told = granted(way, Wishes(optimise="onnxsim"), OWN, OTHERS)
    assert steps(told) == [
        ("keras>onnx:x", "tools"),
        ("onnx>onnx:onnxsim", "simplifier"),
        ("onnx>torch", "tools"),
    ]


def test_what_else_is_asked_for_is_done_to_what_the_optimiser_leaves() -> None:
    wishes = Wishes(opset=13, quantisation="dynamic", optimise="onnxoptimizer")
    told = granted(route("keras", "keras>onnx:x"), wishes, OWN, OTHERS)
    assert isinstance(told, Route)
    assert [step.converter.partition(":")[2] for step in told.steps] == [
        "x",
        "onnxoptimizer",
        "quantise",
    ]
    assert [dict(step.options) for step in told.steps] == [
        {"opset": 13},
        {},
        {"quantisation": "dynamic"},
    ]


def test_what_can_not_be_optimised_is_said() -> None:
    never = granted(route("tflite"), Wishes(optimise="onnxsim"), OWN, OTHERS)
    assert isinstance(never, str)
    assert "on the route tflite the model is never an ONNX file" in never
    nobody = granted(Route("onnx"), Wishes(optimise="onnxsim"), OWN, [TOOLS])
    assert nobody == "no environment here offers onnx>onnx:onnxsim"


def test_nothing_is_asked_by_default() -> None:
    assert Wishes().asked == {}
    assert Wishes(optimise="onnxsim").asked == {"optimise": "onnxsim"}
