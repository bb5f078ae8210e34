"""What conversions did: steps read back, blame, and what a converted cell is compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.converted_cells import MAKER, artifact, convert, failed, steps_of
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.conversion_steps import FAULT_SHARE, planned_steps
from harness.analysis.conversions import OTHER, SOURCE, UNQUANTISED
from harness.analysis.sweep_result import sweep_result

CHAIN = "weights>keras>onnx:tf2onnx"


class Store:
    """A store with converted cells over ten images."""

    def __init__(self, root: Path) -> None:
        self.factory = StoreFactory(root)
        self.x = logits(10, 6)
        self.inputs = self.factory.inputs(10, [int(c) for c in self.x.argmax(axis=1)])
        self.keys: list[str] = []

    def add(self, route: str, checks: tuple[Any, ...] = (), flips: int = 0, **columns: Any) -> str:
        scores = flip_first(self.x, flips)
        key = convert(self.factory, self.inputs, scores, route, checks, **columns)
        self.keys.append(key)
        return key

    def found(self, **sweep: Any) -> dict[str, dict[str, Any]]:
        self.factory.sweep(self.keys, **sweep)
        listed = sweep_result(self.factory.root, "sweep-1")["conversions"]
        return {one["key"]: one for one in listed}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_steps_carry_what_their_checks_found(store: Store) -> None:
    key = store.add(CHAIN, (None, 0.02), opset=17)
    one = store.found()[key]
    first, second = one["steps"]
    assert (first["converter"], first["environment"], first["status"]) == (
        *("weights>keras", MAKER),
        "made",
    )
    assert first["note"] == "nothing runs its source by itself"
    assert (second["share"], second["max_abs_diff"], second["tolerance"]) == (0.02, 0.2, 0.01)
    assert (one["fault"], one["unchecked"], one["opset"]) == (1, [0], 17)
    assert one["at_fault"] == (
        f"step 2, keras>onnx:tf2onnx in {MAKER}, moves outputs by up to 2 % of their range"
    )
    assert json.loads(json.dumps(one, allow_nan=False)) == one


def test_the_largest_jump_is_to_blame_and_noise_is_not(store: Store) -> None:
    noisy = store.add(CHAIN, (FAULT_SHARE, FAULT_SHARE / 2))
    jumpy = store.add("weights>torch>onnx>tflite", (2e-4, 0.3, 0.1))
    found = store.found()
    assert (found[noisy]["fault"], found[noisy]["at_fault"]) == (None, None)
    assert found[jumpy]["fault"] == 1


def test_what_was_never_checked_or_is_gone_says_so(store: Store) -> None:
    steps = steps_of(CHAIN)
    artifact(store.factory, steps[0], {"max_abs_diff": 0.0, "share": 0.0})
    folder = store.factory.root / "artifacts" / steps[0]["key"][:2] / steps[0]["key"]
    document = json.loads((folder / "artifact.json").read_text())
    (folder / "artifact.json").write_text(json.dumps({**document, "check": None}))
    key = store.add(CHAIN)
    notes = [step["note"] for step in store.found()[key]["steps"]]
    assert notes == ["not run beside its source", "its artifact is not in the store any more"]


def failing(store: Store, kind: str, message: str, checks: tuple[Any, ...]) -> dict[str, Any]:
    broken = failed(store.factory, store.inputs, f"{CHAIN}>torch", checks)
    reason = {"key": broken["key"], "kind": kind, "message": message}
    return store.found(failed=[broken], failures=[reason])[broken["key"]]


def test_a_step_that_failed_is_named_by_the_message(store: Store) -> None:
    source = store.add(CHAIN, (None, 1e-6))
    message = f"step 2, keras>onnx:tf2onnx in {MAKER}: no such operator"
    one = failing(store, "conversion", message, (None, 1e-6))
    assert [step["status"] for step in one["steps"]] == ["made", "failed", "not reached"]
    assert one["steps"][1]["note"] == "no such operator"
    assert one["at_fault"] == f"step 2, keras>onnx:tf2onnx in {MAKER}, failed"
    assert (one["against"], one["relation"], one["flips"]) == (source, SOURCE, None)
    assert (one["kind"], one["top1"], one["top1_source"]) == ("conversion", None, 1.0)


@pytest.mark.parametrize(
    ("kind", "message", "checks", "statuses"),
    [
        # The message names no step: the first that left nothing is the one.
        ("timeout", "took too long", (None, 1e-6), ["made", "made", "failed"]),
        # All were made: what runs the model failed.
        ("timeout", "took too long", (None, 1e-6, 1e-6), ["made", "made", "made"]),
        ("environment", "cannot be built", (None,), ["made", "not reached", "not reached"]),
    ],
)
def test_a_failure_without_a_step_is_found_by_what_is_missing(
    store: Store, kind: str, message: str, checks: tuple[Any, ...], statuses: list[str]
) -> None:
    one = failing(store, kind, message, checks)
    assert [step["status"] for step in one["steps"]] == statuses
    assert (one["at_fault"] is not None) == ("failed" in statuses)


def test_a_cell_is_compared_with_the_longest_beginning_of_its_route(store: Store) -> None:
    store.add("weights>keras")
    middle = store.add(CHAIN, environment="e-2")
    key = store.add(f"{CHAIN}>torch", flips=3)
    found = store.found()
    one = found[key]
    assert (one["against"], one["relation"]) == (middle, SOURCE)
    assert (one["flips"], one["images"], one["top1"], one["top1_source"]) == (3, 10, 0.7, 1.0)
    assert one["max_abs_diff"] > 0.5
    assert found[middle]["max_abs_diff"] == 0.0


def test_without_a_beginning_it_is_the_shortest_other_route(store: Store) -> None:
    long = store.add("weights>torch>onnx")
    short = store.add("weights>tflite", flips=1)
    longer = store.add("weights>torch>onnx>torch:x")
    found = store.found()
    assert (found[long]["against"], found[long]["relation"]) == (short, OTHER)
    assert found[short]["against"] == long
    assert (found[longer]["against"], found[longer]["relation"]) == (long, SOURCE)


def test_what_goes_on_from_a_cell_is_no_source_of_it(store: Store) -> None:
    first = store.add("weights>keras")
    then = store.add(CHAIN)
    found = store.found()
    assert (found[first]["against"], found[first]["flips"]) == (None, None)
    assert found[then]["against"] == first


def test_a_file_read_as_it_is_comes_first_and_is_no_conversion(store: Store) -> None:
    plain = store.add("onnx")
    store.add("onnx>torch")
    key = store.add("onnx>tflite:x")
    found = store.found()
    assert plain not in found
    assert found[key]["against"] == plain


def test_a_quantised_cell_is_compared_with_its_route_unquantised(store: Store) -> None:
    store.add("weights>onnx", environment="e-1")
    whole = store.add(CHAIN)
    quantised = store.add(
        f"{CHAIN}>onnx:quantise",
        (None, 1e-6, 0.2),
        flips=2,
        quantisation="static",
        options={"quantisation": "static"},
    )
    found = store.found()
    one = found[quantised]
    assert (one["against"], one["relation"], one["flips"]) == (whole, UNQUANTISED, 2)
    assert one["at_fault"].endswith("20 % of their range, where static quantisation was asked for")
    # A quantised cell is nobody's source.
    assert found[whole]["against"] != quantised


def test_cells_that_were_fed_otherwise_are_no_sources(store: Store) -> None:
    store.add("weights>keras", corruption="fog:3")
    key = store.add(CHAIN, corruption="none")
    assert store.found()[key]["against"] is None


def test_the_papers_pairs_are_counted_from_where_they_begin(store: Store) -> None:
    keras = store.add("weights>keras")
    onnx = store.add(CHAIN, flips=1)
    key = store.add(f"{CHAIN}>torch", flips=3)
    found = store.found()
    one = found[key]
    assert (one["paper"], one["paper_against"], one["paper_flips"]) == (
        *("Keras to PyTorch", keras),
        3,
    )
    assert (one["against"], one["flips"]) == (onnx, 2)
    assert "100 %" in one["paper_finding"]
    assert (found[onnx]["paper"], found[onnx]["paper_finding"]) == (None, None)


def test_cells_of_old_stores_tell_their_route_alone() -> None:
    cell = {"route": "weights>onnx:x>tflite", "converted_in": "e-1"}
    cell["identity"] = {"artifact": {"conversion": "c" * 64}}
    first, last = planned_steps(cell)
    assert (first["converter"], first.get("environment")) == ("weights>onnx:x", None)
    assert (last["converter"], last["environment"], last["key"]) == ("onnx>tflite", "e-1", "c" * 64)
    assert planned_steps({"route": "onnx"}) == []
    assert planned_steps({}) == []
