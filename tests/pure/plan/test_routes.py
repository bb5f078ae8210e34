"""Routes through a graph of converters: the shortest, all of them, and those that are named."""

from __future__ import annotations

import re

import pytest

from harness.plan.parts import Workshop
from harness.plan.routes import Route, find_routes, produces, shortest
from harness.plan.wishes import Wishes, granted
from harness.spec.routes import canonical_route, parse_route

TF = Workshop(
    "tf",
    "",
    "venv",
    {"weights>keras": (), "keras>tflite": ("quantisation",), "onnx>keras": (), "onnx>tflite": ()},
)
TF2ONNX = Workshop(
    "tf2onnx",
    "",
    "venv",
    {
        "weights>keras": (),
        "keras>onnx:tf2onnx": ("opset", "layout"),
        "keras>onnx:keras": ("opset",),
        "tflite>onnx": ("opset",),
    },
)
TOOLS = Workshop("tools", "", "venv", {"onnx>onnx:quantise": ("quantisation",)})
TORCH = Workshop("torch", "", "venv", {"weights>torch": (), "onnx>torch": ()})
OTHERS = [TF, TF2ONNX, TOOLS]
ORT = Workshop("ort", "", "venv", {})


def named(file_format: str, accepted: tuple[str, ...], own: Workshop, asked: str) -> Route:
    found = find_routes(file_format, accepted, own, OTHERS, asked)
    assert not isinstance(found, str), found
    [route] = found
    return route


def makers(route: Route) -> list[str]:
    return [step.maker for step in route.steps]


def test_a_format_that_is_read_needs_no_step() -> None:
    route = shortest("onnx", ("onnx", "pt2"), TORCH, OTHERS)
    assert route is not None
    assert (route.name, route.steps, route.format) == ("onnx", (), "onnx")


def test_the_shortest_way_may_have_several_steps() -> None:
    route = shortest("keras", ("pt2",), TORCH, OTHERS)
    assert route is not None
    assert route.name == "keras>onnx:tf2onnx>torch"
    assert makers(route) == ["tf2onnx", "torch"]
    assert shortest("jax", ("pt2",), TORCH, OTHERS) is None


def test_what_is_not_portable_is_made_where_it_is_read() -> None:
    route = named("weights", ("onnx",), ORT, "weights>keras>onnx")
    assert makers(route) == ["tf2onnx", "tf2onnx"]
    route = named("weights", ("tflite",), ORT, "keras>tflite")
    assert makers(route) == ["tf", "tf"]
    assert shortest("onnx", ("keras",), ORT, OTHERS) is None


def test_a_route_names_tools_and_places() -> None:
    route = named("keras", ("onnx",), ORT, "keras>onnx:keras")
    assert route.name == "keras>onnx:keras"
    route = named("weights", ("onnx",), ORT, "weights>keras@tf>onnx:tf2onnx")
    assert makers(route) == ["tf", "tf2onnx"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("keras>onnx:nothing", "nothing here converts keras to onnx:nothing .there is: tf2onnx, k"),
        ("keras>tflite", "reads onnx, and the route keras>tflite ends at tflite"),
        ("keras>onnx@tf", "tf does not offer keras>onnx:tf2onnx"),
        ("ncnn>onnx", "nothing here converts keras to ncnn"),
    ],
)
def test_a_route_that_does_not_exist_says_what_is_missing(asked: str, said: str) -> None:
    found = find_routes("keras", ("onnx",), ORT, OTHERS, asked)
    assert isinstance(found, str)
    assert re.search(said, found)


def test_all_routes_have_no_format_twice() -> None:
    found = find_routes("weights", ("onnx",), ORT, OTHERS, "all")
    assert [route.name for route in found if isinstance(route, Route)] == [
        "weights>keras>onnx:tf2onnx",
        "weights>keras>onnx:keras",
        "weights>keras>tflite>onnx",
    ]


def test_a_name_is_read_with_and_without_its_tool() -> None:
    assert produces("torch>onnx:dynamo") == ("pt2", "onnx")
    assert canonical_route(" keras > onnx:tf2onnx@tf2onnx-1.17 >torch") == (
        "keras>onnx:tf2onnx@tf2onnx-1.17>torch"
    )
    assert parse_route("pt2>onnx")[0].format == "torch"
    with pytest.raises(ValueError, match="is no route: write auto, all, or formats in order"):
        canonical_route("keras->onnx")


def test_a_wish_goes_to_the_steps_that_can_grant_it() -> None:
    route = named("keras", ("onnx",), ORT, "keras>tflite>onnx")
    told = granted(route, Wishes(opset=13, quantisation="dynamic"), ORT, OTHERS)
    assert isinstance(told, Route)
    assert [dict(step.options) for step in told.steps] == [
        {"quantisation": "dynamic"},
        {"opset": 13},
    ]


def test_an_onnx_file_is_quantised_afterwards_where_no_step_can() -> None:
    told = granted(Route("onnx"), Wishes(quantisation="static"), ORT, OTHERS)
    assert isinstance(told, Route)
    assert told.name == "onnx>onnx:quantise"
    assert dict(told.steps[0].options) == {"quantisation": "static"}


def test_a_wish_that_nobody_can_grant_is_said() -> None:
    assert granted(Route("tflite"), Wishes(layout="nchw"), ORT, OTHERS) == (
        "tflite is read as it is, and no conversion of it can be asked for layout nchw"
    )
    route = named("weights", ("pt2",), TORCH, "weights>torch")
    assert granted(route, Wishes(folding=False), TORCH, OTHERS) == (
        "none of the conversions of weights>torch can be asked for folding false (a longer route "
        "may: `harness model routes --all`)"
    )
