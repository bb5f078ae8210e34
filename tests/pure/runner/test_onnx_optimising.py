"""Which passes a converter that optimises ONNX files runs."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import onnx_optimising

THERE = ("fold", "fuse", "rename", "split")
UNASKED = ("fold", "fuse")


def chosen(**options: Any) -> tuple[str, ...]:
    job = ConvertJob("w", "onnx>onnx:tool", "s.onnx", "onnx", "t.onnx", options)
    return onnx_optimising.chosen(job, "onnx>onnx:tool", THERE, UNASKED)


def test_without_a_word_those_run_that_the_tool_runs_by_itself() -> None:
    assert chosen() == UNASKED


def test_passes_run_alone_in_the_order_asked_for() -> None:
    assert chosen(passes=["split", "fold"]) == ("split", "fold")
    assert chosen(passes=[]) == ()
    assert chosen(disabled_passes=["fold"]) == ("fuse",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"passes": ["fusee"]}, "has no 'fusee'; did you mean fuse"),
        ({"passes": ["fold", "fold"]}, "names 'fold' twice"),
        ({"passes": "fold"}, "a list of names"),
        ({"disabled_passes": ["split"]}, "disabled_passes has no 'split'"),
        ({"passes": [], "disabled_passes": []}, "give one of the two"),
    ],
)
def test_what_the_tool_would_ignore_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RunnerError, match=words) as told:
        chosen(**options)
    assert told.value.kind == "unsupported"
