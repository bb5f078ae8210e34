"""What a runner says of what it compiled: kept where it is a fingerprint, else absent with why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.execution.bundles import answers_folder, is_whole, seal
from harness.execution.compiled_forms import add_form, costs_of, form_of, has_form

FORM = {
    "form": "onnx",
    "sha256": "ab" * 32,
    "operators": {"Conv": 3, "Relu": 1},
    "passes": ["FuseConv"],
    "code_bytes": 120,
}
KEY = "cd" * 32


def test_a_fingerprint_is_kept_as_it_is() -> None:
    assert form_of(FORM) == FORM
    assert form_of({**FORM, "passes": None, "code_bytes": None})["passes"] is None
    assert "more" not in form_of({**FORM, "more": "of it"})


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (None, "told nothing"),
        ({"absent": "TensorRT shows no graph"}, "TensorRT shows no graph"),
        ({**FORM, "form": 3}, "no form"),
        ({**FORM, "sha256": "AB" * 32}, "no SHA-256"),
        ({**FORM, "sha256": "ab"}, "no SHA-256"),
        ({**FORM, "operators": ["Conv"]}, "no table of operators"),
        ({**FORM, "operators": {"Conv": -1}}, "without a count"),
        ({**FORM, "operators": {"Conv\x1b[31m": 1}}, "without a count"),
        ({**FORM, "operators": {str(n): 1 for n in range(6000)}}, "no table"),
        ({**FORM, "passes": [1]}, "no list of passes"),
        ({**FORM, "code_bytes": 1.5}, "no size"),
    ],
)
def test_what_is_no_fingerprint_is_absent_with_the_reason(told: Any, why: str) -> None:
    found = form_of(told)
    assert list(found) == ["absent"]
    assert why in found["absent"]


def test_costs_that_are_no_numbers_are_not_known() -> None:
    told = {"compile_peak_mib": 12.5, "compile_cache": "warm"}
    assert costs_of(told) == told
    unknown = {"compile_peak_mib": None, "compile_cache": None}
    assert costs_of({}) == unknown
    assert costs_of({"compile_peak_mib": "much", "compile_cache": "hot"}) == unknown


def test_a_form_is_added_to_answers_of_before_and_the_bundle_stays_whole(tmp_path: Path) -> None:
    folder = answers_folder(tmp_path, KEY)
    folder.mkdir(parents=True)
    (folder / "answers.json").write_text(json.dumps({"load_ns": 7}))
    (folder / "log.txt").write_text("said")
    seal(folder)
    assert not has_form(tmp_path, KEY)
    add_form(tmp_path, KEY, FORM)
    assert has_form(tmp_path, KEY)
    assert is_whole(folder, deep=True)
    kept = json.loads((folder / "answers.json").read_text())
    assert kept == {"load_ns": 7, "compiled": FORM}
    assert sorted(path.name for path in folder.parent.iterdir()) == [KEY]


def test_answers_that_are_not_there_have_no_form(tmp_path: Path) -> None:
    assert not has_form(tmp_path, KEY)
