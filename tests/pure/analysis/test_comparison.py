"""Which cells are compared with which, and the gate over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.choice import choose
from harness.analysis.comparison import compare_cells
from harness.analysis.gate import parse
from harness.errors import StoreError, UsageError
from harness.report.verdict import comparison_verdict

OLD, NEW = "onnxruntime-1.17", "onnxruntime-1.31"


def pairs(store: Path, a: str, b: str, **options: str) -> set[tuple[str, str]]:
    return {(x.key, y.key) for x, y in choose(store, a, b, **options).pairs}


def test_one_cell_each_is_one_pair(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(9)
    a = factory.cell(inputs, [logits(9, 37)], environment=OLD)
    b = factory.cell(inputs, [logits(9, 37)], environment=NEW)
    assert pairs(tmp_path, OLD, NEW) == {(a, b)}
    assert pairs(tmp_path, a[:8], b[:8]) == {(a, b)}
    assert pairs(tmp_path, b[:8], OLD) == {(b, a)}


def test_like_is_compared_with_like(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    expected = set()
    for model in ("m", "n"):
        for level in ("all", "basic"):
            of = {"model": model, "settings": {"level": level}}
            a = factory.cell(inputs, x, environment=OLD, **of)
            expected.add((a, factory.cell(inputs, x, environment=NEW, **of)))
    assert pairs(tmp_path, OLD, NEW) == expected
    assert len(pairs(tmp_path, OLD, NEW, model="m")) == 2


def test_quantised_cells_are_compared_with_quantised_ones(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    expected = set()
    for quantisation in ("none", "static", "dynamic"):
        of = {"route": "keras>tflite", "quantisation": quantisation}
        a = factory.cell(inputs, x, environment=OLD, **of)
        expected.add((a, factory.cell(inputs, x, environment=NEW, **of)))
    assert pairs(tmp_path, OLD, NEW) == expected


def test_backends_of_other_names_are_matched_by_precision(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    a = factory.cell(inputs, x, environment=OLD)
    b = factory.cell(inputs, x, environment="openvino-2026.4", backend="openvino")
    c = factory.cell(
        inputs, x, environment="openvino-2026.4", backend="openvino", precision="default"
    )
    chosen = choose(tmp_path, OLD, "openvino-2026.4")
    assert [(p.key, q.key) for p, q in chosen.pairs] == [(a, b)]
    assert [r.key for r in chosen.candidate_only] == [c]


def test_what_is_not_clear_is_refused_with_the_keys(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    a = factory.cell(inputs, x, environment=OLD)
    many = [
        factory.cell(inputs, x, environment="torch-2.13", backend=f"torch.{kind}")
        for kind in ("eager", "compile")
    ]
    with pytest.raises(UsageError, match="not clear") as caught:
        choose(tmp_path, OLD, "torch-2.13")
    assert all(key[:12] in caught.value.message for key in (a, *many))
    assert pairs(tmp_path, OLD, "torch-2.13/torch.eager") == {(a, many[0])}


def test_cells_of_one_environment_may_be_compared_by_key(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    a, b = (factory.cell(inputs, x, settings={"level": v}) for v in ("all", "basic"))
    assert pairs(tmp_path, a[:10], b[:10]) == {(a, b)}
    with pytest.raises(UsageError, match="same cell"):
        choose(tmp_path, a, a[:10])


def test_other_images_are_refused(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    a = factory.cell(factory.inputs(9), [logits(9, 5)], environment=OLD)
    b = factory.cell(factory.inputs(9, seed="x"), [logits(9, 5)], environment=NEW)
    with pytest.raises(UsageError, match="different images"):
        choose(tmp_path, OLD, NEW)
    with pytest.raises(UsageError, match="cannot be compared"):
        compare_cells(tmp_path, choose(tmp_path, a, b))


def test_the_same_images_are_compared_whoever_made_their_pixels(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    own = factory.inputs(6, images_key="i")
    opencv = factory.inputs(6, salt="opencv", images_key="i")
    other = factory.inputs(6, salt="other", seed="other", images_key="j")
    x = [logits(6, 4)]
    a = factory.cell(own, x, environment=OLD, preprocessing="reference")
    b = factory.cell(opencv, x, environment=NEW, preprocessing="opencv")
    assert pairs(tmp_path, OLD, NEW) == {(a, b)}
    c = factory.cell(opencv, x, environment=OLD, preprocessing="opencv")
    # Like with like first: pixels of the same maker.
    assert pairs(tmp_path, OLD, NEW) == {(c, b)}
    named = (f"{OLD}, reference pixels", f"{OLD}, pixels by opencv")
    assert pairs(tmp_path, *named) == {(a, c)}
    factory.cell(other, x, environment="third-1", preprocessing="reference")
    with pytest.raises(UsageError, match="different images"):
        choose(tmp_path, NEW, "third-1")


def test_the_newest_sweep_with_both_sides_counts(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    few, many, x = factory.inputs(4), factory.inputs(9), logits(9, 5)
    keys = {
        (env, size): factory.cell(inputs, [x[:size]], environment=env)
        for env in (OLD, NEW)
        for inputs, size in ((few, 4), (many, 9))
    }
    small, large = ([keys[OLD, n], keys[NEW, n]] for n in (4, 9))
    factory.sweep(small, sweep_id="z-first", created="2026-01-01T00:00:00Z")
    factory.sweep(large, sweep_id="a-second", created="2026-01-02T00:00:00Z")
    chosen = choose(tmp_path, OLD, NEW)
    assert [(p.key, q.key) for p, q in chosen.pairs] == [tuple(large)]
    assert "a-second" in chosen.notes[0]
    assert pairs(tmp_path, OLD, NEW, sweep="z-first") == {tuple(small)}
    with pytest.raises(UsageError, match="no sweep nothing"):
        choose(tmp_path, OLD, NEW, sweep="nothing")


def test_unknown_names_and_models_without_common_are_refused(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs = factory.inputs(9)
    factory.cell(inputs, [logits(9, 5)], environment=OLD, model="m")
    factory.cell(inputs, [logits(9, 5)], environment=NEW, model="n")
    with pytest.raises(UsageError, match="no model is common"):
        choose(tmp_path, OLD, NEW)
    with pytest.raises(StoreError, match=NEW):
        choose(tmp_path, OLD, "onnxruntime-9")


def test_the_gate_decides_and_names_the_images(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(100), logits(100, 37)
    factory.cell(inputs, [x], environment=OLD)
    factory.cell(inputs, [flip_first(x, 2)], environment=NEW)
    chosen = choose(tmp_path, OLD, NEW)
    refused = compare_cells(tmp_path, chosen, [parse("flips > 1%")])
    assert refused["allowed"] is False
    (violation,) = refused["pairs"][0]["violations"]
    assert [i["name"] for i in violation["images"]] == ["images/00000.png", "images/00001.png"]
    assert compare_cells(tmp_path, chosen, [parse("flips > 2%")])["allowed"] is True
    assert compare_cells(tmp_path, chosen)["allowed"] is None


def test_a_baseline_cell_without_a_counterpart_is_never_a_pass(tmp_path: Path) -> None:
    """A candidate that failed on one of two models must not be allowed by the other."""
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    for env, model in ((OLD, "m"), (OLD, "n"), (NEW, "m")):
        factory.cell(inputs, x, environment=env, model=model)
    found = compare_cells(tmp_path, choose(tmp_path, OLD, NEW), [parse("flips > 0")])
    assert found["allowed"] is False
    assert len(found["baseline_only"]) == 1


def test_a_1001_class_model_and_a_1000_class_model_are_compared_in_one_space(
    tmp_path: Path,
) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(6), logits(6, 1001)
    a = factory.cell(inputs, [x], class_offset=1, model="tf")
    b = factory.cell(inputs, [x[:, 1:].copy()], model="tf_to_tflite", environment="litert-2.3")
    found = compare_cells(tmp_path, choose(tmp_path, a, b))
    assert found["pairs"][0]["flips"] == 0
    assert found["pairs"][0]["identical"]
    assert found["pairs"][0]["axes"] == ["model", "environment", "class_offset"]


def failed(factory: StoreFactory, like: str, **other: object) -> dict[str, Any]:
    """A cell like one that has answers, as a sweep lists it whose run of it failed."""
    return {**factory.cells[like], "key": "f" * 64, **other}


def reasons(key: str = "f" * 64) -> list[dict[str, str]]:
    return [{"key": key, "kind": "timeout", "message": "took too long"}]


def two_swept(root: Path) -> tuple[StoreFactory, str, str, list[np.ndarray]]:
    factory = StoreFactory(root)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    a, b = (factory.cell(inputs, x, environment=env) for env in (OLD, NEW))
    factory.sweep([a, b], sweep_id="first", created="2026-01-01T00:00:00Z")
    return factory, a, b, x


@pytest.mark.parametrize("together", [True, False])
def test_a_candidate_that_failed_in_the_newest_sweep_is_never_passed_on_old_answers(
    tmp_path: Path, together: bool
) -> None:
    factory, a, b, _ = two_swept(tmp_path)
    factory.sweep(
        [a] if together else [],
        sweep_id="second",
        created="2026-01-02T00:00:00Z",
        failed=[failed(factory, b)],
        failures=reasons(),
    )
    choice = choose(tmp_path, OLD, NEW)
    found = compare_cells(tmp_path, choice, [parse("flips > 0")])
    assert (found["pairs"], found["allowed"]) == ([], False)
    (unmeasured,) = found["unmeasured"]
    assert (unmeasured["a"], unmeasured["b"]) == (a, "f" * 64)
    assert "timeout: took too long" in unmeasured["reason"]
    said = comparison_verdict(found)
    assert said.headline.startswith("Not allowed: could not be measured: ffffffffffff mobilenet")
    said = comparison_verdict(compare_cells(tmp_path, choice))
    assert (said.state, "took too long" in said.headline) == ("unknown", True)
    assert said.headline.startswith("Could not be measured")
    assert pairs(tmp_path, OLD, NEW, sweep="first") == {(a, b)}


def test_a_cell_found_finished_that_failed_later_counts_as_failed(tmp_path: Path) -> None:
    factory, a, b, _ = two_swept(tmp_path)
    again = failed(factory, b, key=b)
    factory.sweep(
        [a], sweep_id="2", created="2026-01-02T00:00:00Z", failed=[again], failures=reasons(b)
    )
    assert pairs(tmp_path, OLD, NEW) == set()
    assert pairs(tmp_path, a, b) == {(a, b)}  # named by their keys, there is nothing to mistake


def test_an_environment_that_only_ever_failed_is_unmeasured_and_not_unknown(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    a = factory.cell(factory.inputs(9), [logits(9, 5)], environment=OLD)
    new = failed(factory, a, environment=NEW)
    factory.sweep([a], failed=[new], failures=reasons())
    found = compare_cells(tmp_path, choose(tmp_path, OLD, NEW), [parse("flips > 0")])
    assert found["allowed"] is False
    assert len(found["unmeasured"]) == 1


def test_answers_gone_since_are_unmeasured(tmp_path: Path) -> None:
    factory, a, b, _ = two_swept(tmp_path)
    factory.damage(b)
    found = compare_cells(tmp_path, choose(tmp_path, OLD, NEW), [parse("flips > 0")])
    assert found["allowed"] is False
    assert "missing or damaged" in found["unmeasured"][0]["reason"]
    assert found["unmeasured"][0]["a"] == a


def test_environments_swept_apart_are_compared_by_their_newest_answers(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    older, old = (
        factory.cell(inputs, x, environment=OLD, identity={"environment": lock}) for lock in "pq"
    )
    other = factory.cell(inputs, x, environment=OLD, sha256="0" * 64)
    new = factory.cell(inputs, x, environment=NEW)
    for day, key in enumerate((older, old, other, new), 1):
        factory.sweep([key], sweep_id=f"sweep-{day}", created=f"2026-01-0{day}T00:00:00Z")
    chosen = choose(tmp_path, OLD, NEW)
    assert [(p.key, q.key) for p, q in chosen.pairs] == [(old, new)]
    assert chosen.baseline_only == ()
    assert chosen.notes == (f"swept apart: {NEW} in sweep sweep-4, {OLD} in sweep sweep-2",)
    assert pairs(tmp_path, NEW, OLD) == {(new, old)}


def test_environments_swept_apart_over_other_images_are_refused(tmp_path: Path) -> None:
    factory, *_ = two_swept(tmp_path)
    alone = factory.cell(factory.inputs(9, seed="x"), [logits(9, 5)], environment=NEW)
    factory.sweep([alone], sweep_id="second", created="2026-01-02T00:00:00Z")
    with pytest.raises(UsageError, match="answered the same images") as caught:
        choose(tmp_path, OLD, NEW)
    assert "--sweep" in caught.value.remedy


def test_environments_swept_apart_take_the_labels_of_the_newest_sweep(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    x = logits(9, 5)
    right = [int(c) for c in x.argmax(axis=1)]
    old = factory.cell(factory.inputs(9), [x], environment=OLD)
    factory.sweep([old], sweep_id="first", created="2026-01-01T00:00:00Z")
    new = factory.cell(factory.inputs(9, right), [flip_first(x, 2)], environment=NEW)
    factory.sweep([new], sweep_id="second", created="2026-01-02T00:00:00Z")
    for a, b in ((OLD, NEW), (NEW, OLD)):
        (pair,) = compare_cells(tmp_path, choose(tmp_path, a, b))["pairs"]
        assert {pair["agreement"]["top1_a"], pair["agreement"]["top1_b"]} == {1.0, 7 / 9}


@pytest.mark.parametrize("by_key", [True, False])
def test_labels_are_those_of_the_sweep_that_was_chosen(tmp_path: Path, by_key: bool) -> None:
    factory, a, b, (x,) = two_swept(tmp_path)
    sides = (a, b) if by_key else (OLD, NEW)
    before = compare_cells(tmp_path, choose(tmp_path, *sides))
    assert before["pairs"][0]["agreement"]["top1_a"] is None
    labelled = factory.inputs(9, [int(c) for c in x.argmax(axis=1)])
    factory.sweep([a, b], sweep_id="second", created="2026-01-02T00:00:00Z", inputs_key=labelled)
    found = compare_cells(tmp_path, choose(tmp_path, *sides))
    assert found["pairs"][0]["agreement"]["top1_a"] == 1.0
    assert {cell["inputs_key"] for cell in found["cells"]} == {labelled}


def both_executors(root: Path) -> tuple[str, str]:
    factory = StoreFactory(root)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    a, b = (factory.cell(inputs, x, executor=place) for place in ("venv", "docker"))
    factory.sweep([a, b])
    return a, b


def test_the_same_environment_in_two_places_is_compared_by_the_names_that_are_printed(
    tmp_path: Path,
) -> None:
    a, b = both_executors(tmp_path)
    with pytest.raises(UsageError, match="not clear") as caught:
        choose(tmp_path, OLD, OLD)
    listed = caught.value.message.splitlines()[1:]
    assert sorted(listed) == sorted(
        [f"  {a[:12]} mobilenet {OLD}, venv", f"  {b[:12]} mobilenet {OLD}, docker"]
    )
    for place in ("venv", "docker"):
        assert f"'{OLD}, {place}'" in caught.value.remedy
    assert pairs(tmp_path, f"{OLD}, venv", f"{OLD}, docker") == {(a, b)}
    assert pairs(tmp_path, f"{OLD}, docker", f"{OLD}, venv") == {(b, a)}


def test_a_name_is_compared_with_what_else_its_environment_has(tmp_path: Path) -> None:
    a, b = both_executors(tmp_path)
    assert pairs(tmp_path, OLD, f"{OLD}, docker") == {(a, b)}
    assert pairs(tmp_path, f"{OLD}, docker", OLD) == {(b, a)}
    assert pairs(tmp_path, a[:12], OLD) == {(a, b)}


def test_images_and_interpreters_are_compared_by_their_whole_names(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    inputs, x = factory.inputs(9), [logits(9, 5)]
    image, python = "image:some/place@sha256:0123456789ab", "python:/opt/bin/python"
    a, b = (factory.cell(inputs, x, environment=env) for env in (image, python))
    assert pairs(tmp_path, image, python) == {(a, b)}
    assert pairs(tmp_path, image + "f" * 52, f"{python}/onnxruntime") == {(a, b)}


def test_the_cell_without_answers_is_named_with_its_place_and_reason(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    a = factory.cell(factory.inputs(9), [logits(9, 5)], environment=OLD)
    said = [{"key": "f" * 64, "kind": "timeout", "message": "Too slow.\n  Use a smaller batch."}]
    factory.sweep([a], failed=[failed(factory, a, executor="docker")], failures=said)
    found = compare_cells(tmp_path, choose(tmp_path, f"{OLD}, venv", f"{OLD}, docker"))
    assert found["unmeasured"][0]["reason"] == (
        f"ffffffffffff mobilenet {OLD}, docker has no answers "
        "(timeout: Too slow. Use a smaller batch)"
    )
