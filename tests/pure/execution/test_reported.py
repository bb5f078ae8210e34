"""What a runner says of a conversion is looked at before it is used."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import ExecutionError
from harness.execution.reported import accumulated, require_sound

GRAPH = {
    "changed": True,
    "sha256_before": "a" * 64,
    "sha256_after": "b" * 64,
    "passes": ["fuse"],
    "operators_before": {"Conv": 2, "Add": 1},
    "operators_after": {"Conv": 2},
}
SOUND = {
    "event": "converted",
    "files": {"model.tflite": "ab"},
    "versions": {"tool": "1.0"},
    "probe_max_abs_diff": 0.5,
    "input_axes": [0, 2, 3, 1],
    "output_axes": [None, [0, 1]],
    "graph": GRAPH,
}


def test_a_sound_report_passes() -> None:
    require_sound(SOUND, "model.tflite")
    bare = {"files": {"model.x/a/b.bin": "ab", "model.x/c": "cd"}, "versions": {}}
    require_sound(bare, "model.x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("files", None),
        ("files", {}),
        ("files", ["model.tflite"]),
        ("files", {"model.tflite": 1}),
        ("files", {"artifact.json": "ab"}),
        ("files", {"../model.tflite": "ab"}),
        ("files", {"/model.tflite": "ab"}),
        ("files", {"model.tflite/a\0b": "ab"}),
        ("files", {"model.tflite/\ud800": "ab"}),
        ("versions", None),
        ("versions", {"tool": None}),
        ("probe_max_abs_diff", "small"),
        ("probe_max_abs_diff", True),
        ("probe_max_abs_diff", float("nan")),
        ("graph", []),
        ("graph", {**GRAPH, "changed": 1}),
        ("graph", {**GRAPH, "sha256_after": "b"}),
        ("graph", {**GRAPH, "passes": None}),
        ("graph", {**GRAPH, "operators_after": {"Conv": True}}),
        ("input_axes", []),
        ("input_axes", "0231"),
        ("input_axes", [1, 0]),
        ("input_axes", [0, 2]),
        ("input_axes", [0, 1, 1]),
        ("input_axes", [False, 1]),
        ("input_axes", [0, 1.0]),
        ("input_axes", [0, None]),
        ("output_axes", []),
        ("output_axes", {"0": [0, 1]}),
        ("output_axes", [0, 1]),
        ("output_axes", [[0, 1], [1, 0]]),
    ],
)
def test_anything_else_is_a_failed_conversion(field: str, value: Any) -> None:
    with pytest.raises(ExecutionError, match=f"reports .* as `{field}`, which is not") as caught:
        require_sound({**SOUND, field: value}, "model.tflite")
    assert caught.value.kind == "conversion"
    assert caught.value.message.isascii()


def test_transpositions_add_up_along_a_chain() -> None:
    first = {"input_axes": [0, 2, 3, 1], "output_axes": [None, [0, 2, 1]]}
    again = {"input_axes": [0, 2, 3, 1], "output_axes": [[0, 2, 1], None]}
    assert accumulated({}, first) == first
    assert accumulated(first, {}) == first
    assert accumulated(first, again) == {
        "input_axes": [0, 3, 1, 2],
        "output_axes": [[0, 2, 1], [0, 2, 1]],
    }


@pytest.mark.parametrize(
    ("before", "own"),
    [
        ({"input_axes": [0, 2, 1]}, {"input_axes": [0, 2, 3, 1]}),
        ({"input_axes": [0, 2, 3, 1]}, {"input_axes": [0, 2, 1]}),
        ({"output_axes": [None, [0, 1]]}, {"output_axes": [[0, 1]]}),
        ({"output_axes": [[0, 2, 1]]}, {"output_axes": [[0, 1]]}),
    ],
)
def test_transpositions_that_do_not_fit_are_a_failed_conversion(
    before: dict[str, Any], own: dict[str, Any]
) -> None:
    [field] = own
    with pytest.raises(ExecutionError, match=f"as `{field}`, which does not fit its") as caught:
        accumulated(before, own)
    assert caught.value.kind == "conversion"
