"""Which cells are compared with which, and the gate over them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.comparison import choose, compare_cells
from harness.analysis.gate import parse
from harness.errors import StoreError, UsageError

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
    assert found["pairs"][0]["axes"] == ["model", "environment"]
