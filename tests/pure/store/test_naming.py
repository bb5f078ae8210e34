"""What cells are called, and that what is printed can be typed."""

from __future__ import annotations

from typing import Any

import pytest

from harness.store import naming

IMAGE = "image:some/place:5000/torch@sha256:0123456789ab"
PYTHON = "python:/opt/my venv/bin/python"


def cell(environment: str = "e-1", **columns: Any) -> dict[str, Any]:
    base = {"key": "a", "model": "m", "environment": environment, "backend": "b", "settings": {}}
    base |= {"precision": "f32", "device": "cpu", "threads": 1, "batch": 1}
    return {**base, "executor": "venv", "role": "cell", **columns}


@pytest.mark.parametrize("environment", [IMAGE, PYTHON, "onnxruntime-1.31"])
def test_an_environment_is_its_whole_name_whatever_slashes_it_has(environment: str) -> None:
    assert naming.is_environment(cell(environment), environment)
    assert not naming.is_environment(cell(environment), environment[:-1])
    assert naming.is_described(cell(environment), f"{environment}/b")
    assert not naming.is_described(cell(environment), f"{environment}/other")
    assert naming.is_described(cell(environment), f"{environment}/b, venv")


def test_a_pin_and_a_whole_digest_mean_the_environment_made_of_them() -> None:
    assert naming.is_environment(cell("onnxruntime-1.25.1"), "onnxruntime==1.25.1")
    assert naming.is_environment(cell(IMAGE), f"{IMAGE}{'c' * 52}")
    assert not naming.is_environment(cell(IMAGE), IMAGE.replace("0123", "9999"))


FED = {"variant": {}, "preprocessing": "reference", "corruption": "none", "mistake": "none"}


def test_ways_of_feeding_are_named_and_names_can_be_typed() -> None:
    cells = [
        cell(key="a", **FED),
        cell(key="b", **{**FED, "preprocessing": "tensorflow,antialias=true,dct=fast"}),
        cell(key="c", **{**FED, "corruption": "blur:3"}),
        cell(key="d", **{**FED, "mistake": "bgr"}),
        cell(key="e", **{**FED, "variant": {"padding": "same", "stride": "first"}}),
    ]
    names = naming.names(cells)
    assert names["a"] == (
        "e-1, as built by the library, reference pixels, no corruption, no mistake"
    )
    assert "pixels by tensorflow+antialias=true+dct=fast" in names["b"]
    assert "padding=same stride=first" in names["e"]
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]


def test_what_is_not_known_of_a_cell_tells_nothing_apart() -> None:
    names = naming.names([cell(key="a", **FED), cell(key="b")])
    assert names == {"a": "e-1", "b": "e-1"}


def test_every_printed_name_selects_its_own_cell_and_no_other() -> None:
    cells = [
        cell(key="a"),
        cell(key="b", executor="docker"),
        cell(key="c", executor="docker", threads=2),
        cell(key="d", executor="docker", settings={"level": "all", "arena": True}),
        cell(key="e", backend="other", precision="default", batch=8, device="cuda"),
    ]
    names = naming.names(cells)
    assert names["b"] == "e-1, b, no settings, f32 precision, cpu, 1 thread, batch 1, docker"
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]


@pytest.mark.parametrize(
    ("selector", "fits"),
    [("e-1, docker", True), ("e-1, venv", False), ("e-1, ", False), ("e-1,docker", False)],
)
def test_a_part_of_a_name_is_enough(selector: str, fits: bool) -> None:
    assert naming.is_described(cell(executor="docker", threads=4), selector) is fits


OWN = {"opset": "own", "quantisation": "none", "folding": "own", "layout": "own"}


def routed(key: str, route: str, makers: str = "", **columns: Any) -> dict[str, Any]:
    """A cell at the end of a route whose steps are made in environments of one letter."""
    steps = [{"environment": maker} for maker in makers]
    return cell(key=key, route=route, **({"steps": steps} if makers else {}), **{**OWN, **columns})


def test_a_route_is_told_where_nothing_else_tells_cells_apart() -> None:
    cells = [
        routed("a", "weights>keras>onnx:tf2onnx", "tt"),
        routed("b", "weights>onnx", "t"),
        routed("c", "weights>torch", "t", backend="other"),
        routed("d", "weights>onnx", "t", environment="e-2"),
    ]
    names = naming.names(cells)
    assert names == {
        "a": "e-1, b, keras>onnx:tf2onnx",
        "b": "e-1, b, weights>onnx",
        "c": "e-1, other",
        "d": "e-2",
    }


def test_names_of_routes_and_of_what_was_asked_can_be_typed() -> None:
    cells = [
        routed("a", "onnx"),
        routed("b", "onnx>torch>onnx:x", "tx"),
        routed("c", "onnx>torch>onnx:x", "ty"),
        routed("d", "onnx>onnx:quantise", "q", quantisation="static"),
        routed("e", "onnx>onnx:fold", "q", folding=True),
        routed("f", "onnx>onnx:fold", "q", folding=False),
        routed("g", "onnx>tflite", "q", layout="nhwc", opset=17),
        routed("h", "onnx>tflite", "q", layout="nchw", opset=17),
    ]
    names = naming.names(cells)
    own = "own opset, not quantised, own folding, own layout"
    assert names["a"] == f"e-1, unconverted, {own}"
    assert names["b"] == f"e-1, torch>onnx:x@x, {own}"
    assert names["d"] == "e-1, own opset, static quantisation, own folding, own layout"
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]
    assert naming.is_described(cells[3], "e-1, onnx>onnx:quantise")


def test_a_route_of_one_step_is_never_taken_for_a_backend() -> None:
    cells = [
        routed("a", "weights>tflite", "t", backend="tflite"),
        routed("b", "weights>keras>tflite", "tt", backend="tflite"),
    ]
    names = naming.names(cells)
    assert names == {"a": "e-1, weights>tflite", "b": "e-1, keras>tflite"}
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]


def test_routes_of_old_stores_tell_nothing_of_where_they_were_made() -> None:
    cells = [routed("a", "weights>onnx"), routed("b", "weights>onnx", "t")]
    assert naming.names(cells) == {"a": "e-1", "b": "e-1"}
    old = {name: value for name, value in cells[0].items() if name not in OWN}
    assert not naming.is_described(old, "e-1, not folded")


def test_what_was_asked_reads_the_same_from_the_catalogue() -> None:
    for told in (True, False):
        here, there = (
            routed("a", "onnx", folding=told),
            routed("a", "onnx", folding=str(told).lower()),
        )
        assert naming.spoken(here, "folding") == naming.spoken(there, "folding")
    assert naming.spoken(there, "folding") == "not folded"


def levelled(key: str, level: str, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return cell(key=key, backend="null", level=level, settings=settings, **more)


def test_levels_are_named_in_place_of_the_settings_that_they_stand_for() -> None:
    cells = [
        levelled("a", "basic", {"offset": 1}),
        levelled("b", "default", {}),
        levelled("c", "own", {"offset": 5}),
    ]
    names = naming.names(cells)
    assert names == {"a": "e-1, level basic", "b": "e-1, level default", "c": "e-1, offset=5"}
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]


def test_what_is_given_beside_a_level_is_told_within_it() -> None:
    cells = [
        levelled("a", "basic", {"offset": 1}),
        levelled("b", "basic", {"offset": 1, "sleep": 2}),
        levelled("c", "default", {"sleep": 2}),
    ]
    names = naming.names(cells)
    assert names["a"] == "e-1, level basic, no settings"
    assert names["b"] == "e-1, level basic, sleep=2"
    assert names["c"] == "e-1, level default"
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]


def test_a_level_alone_is_no_part_of_a_name() -> None:
    assert naming.names([levelled("a", "default", {})]) == {"a": "e-1"}


def test_lists_of_names_are_words_that_can_be_typed_and_long_ones_are_cut() -> None:
    passes = [f"Pass{n}" for n in range(9)]
    settings = {"passes": [], "variables": {"B": "x, y", "A": 1}, "disabled_passes": passes[:2]}
    told = "disabled_passes=Pass0+Pass1 passes=none variables=A:1+B:x+y"
    assert naming.settings_text(settings) == told
    cells = [cell(key=str(n), settings={"passes": passes[n:]}) for n in range(9)]
    names = naming.names(cells)
    assert names["8"] == "e-1, passes=Pass8"
    assert names["0"].startswith("e-1, passes=Pass0+8-more~")
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]


def test_long_lists_that_begin_alike_have_names_of_their_own() -> None:
    passes = [f"Pass{n}" for n in range(9)]
    lists = [[one for one in passes if one != left] for left in passes[1:]]
    names = naming.names(cell(key=str(n), settings={"passes": x}) for n, x in enumerate(lists))
    assert len(set(names.values())) == len(lists)


def test_what_a_study_calls_a_point_stands_for_its_settings_and_its_optimiser() -> None:
    cells = [
        cell(key="a", called="all on", settings={"passes": ["x", "y"]}, optimise="none"),
        cell(key="b", called="only x", settings={"passes": ["x"]}, optimise="none"),
        cell(key="c", called="file by y", settings={}, optimise="onnxsim=y"),
    ]
    names = naming.names(cells)
    assert names == {"a": "e-1, all on", "b": "e-1, only x", "c": "e-1, file by y"}
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]
