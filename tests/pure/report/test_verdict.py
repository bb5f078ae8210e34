"""The verdict: one sentence that is right in every case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.choice import choose
from harness.analysis.comparison import compare_cells
from harness.analysis.gate import parse
from harness.analysis.sweep_result import sweep_result
from harness.report.verdict import Verdict, comparison_verdict, verdict


def judged(
    root: Path, *candidates: np.ndarray, scores: int | None = 0, kinds: tuple[str, ...] = ()
) -> Verdict:
    factory = StoreFactory(root)
    inputs, x = factory.inputs(20), logits(20, 6)
    kind = "logits" if scores is not None else "values"
    keys = [factory.cell(inputs, [x], scores=scores, kind=kind)]
    for number, values in enumerate(candidates):
        other = kinds[number] if kinds else kind
        keys.append(
            factory.cell(inputs, [values], environment=f"new-{number}", scores=scores, kind=other)
        )
    factory.sweep(keys)
    return verdict(sweep_result(root, "sweep-1"))


X = logits(20, 6)


def test_equal_bits(tmp_path: Path) -> None:
    found = judged(tmp_path, X, X)
    assert found.state == "same"
    assert found.headline == "Same answers: none of 20 labels changed in any of 2 comparisons."
    assert found.detail == "Every output is equal bit for bit."


def test_equal_labels(tmp_path: Path) -> None:
    found = judged(tmp_path, X + np.float32(0.5))
    assert (found.state, found.headline) == ("same", "Same answers: none of 20 labels changed.")
    assert "0.5, in new-0" in found.detail


def test_one_changed(tmp_path: Path) -> None:
    found = judged(tmp_path, flip_first(X, 3))
    assert found.state == "differs"
    assert found.headline == (
        "Answers changed: 3 of 20 labels (15.0 %) from onnxruntime-1.17 to new-0."
    )


def test_several_changed(tmp_path: Path) -> None:
    found = judged(tmp_path, flip_first(X, 3), X, flip_first(X, 5))
    assert found.headline == (
        "Answers changed in 2 of 3 comparisons, most in new-2: 5 of 20 labels (25.0 %)."
    )
    assert found.detail == "Changed: new-0 (3); new-2 (5). Unchanged: new-1."


def test_nan_is_never_called_the_same(tmp_path: Path) -> None:
    broken = np.full_like(X, np.nan)
    found = judged(tmp_path, broken)
    assert found.state == "unknown"
    assert "new-0 gives NaN or infinity for 20 of 20 images" in found.headline


def test_unlike_kinds(tmp_path: Path) -> None:
    found = judged(tmp_path, X, kinds=("probabilities",))
    assert found.state == "same"
    assert "unlike kinds" in found.detail


def test_values_only(tmp_path: Path) -> None:
    found = judged(tmp_path, X + np.float32(2), scores=None)
    assert found.state == "differs"
    assert found.headline.startswith("Outputs differ by up to 2")


def test_one_cell_by_itself_is_no_alarm(tmp_path: Path) -> None:
    found = judged(tmp_path)
    assert (found.state, found.headline) == ("alone", "Answered. onnxruntime-1.17: 20 images.")


def test_one_cell_by_itself_says_its_accuracy(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(20, [int(c) for c in X.argmax(axis=1)])
    factory.sweep([factory.cell(inputs, [X])])
    found = verdict(sweep_result(tmp_path, "sweep-1"))
    assert found.headline == "Answered. onnxruntime-1.17: 20 images, top-1 accuracy 1.000."


def test_one_cell_by_itself_with_nan_is_an_alarm(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    factory.sweep([factory.cell(factory.inputs(20), [np.full_like(X, np.nan)])])
    found = verdict(sweep_result(tmp_path, "sweep-1"))
    assert found.state == "unknown"
    assert found.headline == (
        "Broken answers: onnxruntime-1.17 gives 120 values of NaN or infinity."
    )


def test_one_cell_beside_a_failed_one_is_an_alarm(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    a = factory.cell(factory.inputs(20), [X])
    failed = {**factory.cells[a], "key": "f" * 64, "executor": "docker"}
    factory.sweep([a], failed=[failed], failures=[{"key": "f" * 64, "kind": "k", "message": "m"}])
    found = verdict(sweep_result(tmp_path, "sweep-1"))
    assert (found.state, found.headline) == ("unknown", "Nothing to compare: 1 cell failed.")


@pytest.mark.parametrize(
    ("rule", "start"),
    [
        ("flips > 20%", "Allowed. Answers changed: 3 of 20"),
        ("flips > 1%", "Not allowed: flips is 3 of 20, 15 % (rule: flips > 1%)."),
        ("time_ratio > 2", "Not allowed: time_ratio could not be measured"),
    ],
)
def test_with_a_rule_the_decision_comes_first(tmp_path: Path, rule: str, start: str) -> None:
    judged(tmp_path, flip_first(X, 3))
    found = compare_cells(tmp_path, choose(tmp_path, "onnxruntime-1.17", "new-0"), [parse(rule)])
    assert comparison_verdict(found).headline.startswith(start)


def across(root: Path, candidate: np.ndarray, kind: str = "logits") -> Verdict:
    factory = StoreFactory(root)
    inputs = factory.inputs(20, [int(c) for c in X.argmax(axis=1)])
    factory.sweep(
        [
            factory.cell(inputs, [X], model="float32"),
            factory.cell(inputs, [candidate], model="int8", environment="litert-2.3", kind=kind),
        ]
    )
    return verdict(sweep_result(root, "sweep-1"))


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_models_with_one_cell_each_are_set_against_each_other(tmp_path: Path, kind: str) -> None:
    found = across(tmp_path, flip_first(X, 3), kind)
    assert found.state == "differs"
    assert found.headline == "Labels differ between models: 3 of 20 (15.0 %)."
    assert found.detail.startswith(
        "float32 in onnxruntime-1.17 against int8 in litert-2.3. 3 broke a right answer"
    )


def test_models_that_agree(tmp_path: Path) -> None:
    found = across(tmp_path, X, "probabilities")
    assert (found.state, found.headline) == ("same", "No label differs between models: none of 20.")
    assert "unlike kinds" in found.detail
