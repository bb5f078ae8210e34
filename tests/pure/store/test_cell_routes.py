"""Routes as cells hold them."""

from __future__ import annotations

from harness.plan import wishes
from harness.store.cell_routes import AXIS_STEPS, asked_of, route_of


def test_the_steps_for_an_axis_are_those_that_a_plan_adds() -> None:
    added = {step.partition(">")[2]: axis for axis, step in wishes._AFTERWARDS.items()}
    added |= {step.partition(">")[2]: "optimise" for step in wishes.OPTIMISERS.values()}
    assert added == AXIS_STEPS


def test_a_step_for_an_axis_is_no_part_of_the_route() -> None:
    steps = [{"environment": "a"}, {"environment": "b"}, {"environment": "c"}]
    cell = {"route": "keras>onnx:x>onnx:opset>onnx:quantise", "opset": 17, "quantisation": "static"}
    found = route_of({**cell, "steps": steps})
    assert found is not None
    assert (found.text, found.makers, found.whole) == ("keras>onnx:x", ("a",), False)
    # Where nobody asked on the axis, somebody named the step.
    named = route_of({**cell, "quantisation": "none", "opset": "own"})
    assert named is not None
    assert (named.text, named.makers, named.whole) == (cell["route"], None, True)


def test_an_optimised_file_took_the_same_route_wherever_the_step_stands() -> None:
    steps = [{"environment": "a"}, {"environment": "b"}, {"environment": "c"}]
    cell = {"route": "keras>onnx:x>onnx:onnxsim>torch", "steps": steps}
    optimised = route_of({**cell, "optimise": "onnxsim=nop"})
    assert optimised is not None
    assert (optimised.text, optimised.makers) == ("keras>onnx:x>torch", ("a", "c"))
    assert not optimised.whole
    # Somebody named the step.
    named = route_of({**cell, "optimise": "none"})
    assert named is not None
    assert (named.text, named.whole) == (cell["route"], True)


def test_what_is_left_to_the_converters_was_not_asked() -> None:
    cell = {"opset": "own", "quantisation": "none", "folding": False, "layout": "nhwc"}
    assert asked_of(cell) == {"folding": False, "layout": "nhwc"}
    assert asked_of({}) == {}
    assert route_of({"route": None}) is None
