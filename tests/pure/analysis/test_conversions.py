"""What conversions did: steps read back, blame, and what a converted cell is compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.converted_cells import MAKER, artifact, convert, failed, steps_of
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.conversion_steps import FAULT_SHARE, planned_steps
from harness.analysis.conversions import OTHER, SOURCE, UNQUANTISED, Compared, find_conversions
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


def test_the_largest_jump_above_the_threshold_is_to_blame(store: Store) -> None:
    noisy = store.add(CHAIN, (FAULT_SHARE, FAULT_SHARE / 2))
    jumpy = store.add("weights>torch>onnx>tflite", (2e-3, 0.3, 0.1))
    found = store.found()
    assert (found[noisy]["fault"], found[noisy]["at_fault"]) == (None, None)
    assert found[jumpy]["fault"] == 1


def test_below_the_threshold_a_step_is_to_blame_only_where_labels_flipped(store: Store) -> None:
    store.add("weights>keras", (0.0,))
    quiet = store.add(CHAIN, (0.0, 2e-4))
    flipped = store.add(f"{CHAIN}>torch", (0.0, 2e-4, 1e-4), flips=1)
    unknown = store.add(f"{CHAIN}>tflite", (0.0, 2e-4, None), flips=1)
    equal = store.add(f"{CHAIN}>jax", (0.0, 2e-4, 0.0), flips=1)
    found = store.found()
    # The second step lies before the source that the labels flipped from.
    assert found[flipped]["against"] == quiet
    assert [found[k]["fault"] for k in (quiet, flipped, unknown, equal)] == [None, 2, None, None]
    assert found[flipped]["at_fault"] == (
        f"step 3, onnx>torch in {MAKER}, moves outputs by no more than 0.01 % of their range (the "
        "threshold is 0.1 %), but labels changed, and no other step since its source moves them more"
    )


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


@pytest.mark.parametrize(
    ("end", "columns"),
    [
        (">onnx:opset", {"opset": 17}),
        (">onnx:fold", {"folding": True}),
        ("", {"opset": 17}),
        ("", {"layout": "nhwc", "folding": False}),
    ],
)
def test_less_asked_of_the_same_route_is_the_source(
    store: Store, end: str, columns: dict[str, Any]
) -> None:
    store.add("weights>keras", flips=3)
    plain = store.add(CHAIN)
    key = store.add(f"{CHAIN}{end}", flips=1, **columns)
    found = store.found()
    assert (found[key]["against"], found[key]["relation"]) == (plain, SOURCE)
    assert (found[key]["flips"], found[key]["axes"]) == (1, [])
    # The plain cell has no source in it.
    assert found[plain]["flips"] == 3


def test_a_quantised_cell_is_compared_with_what_lacks_its_quantisation_alone(store: Store) -> None:
    store.add(CHAIN)
    store.add(CHAIN, opset=13)
    same = store.add(CHAIN, opset=17)
    key = store.add(f"{CHAIN}>onnx:quantise", opset=17, quantisation="static")
    one = store.found()[key]
    assert (one["against"], one["relation"], one["axes"]) == (same, UNQUANTISED, [])


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("precision", "f16"),
        ("device", "cuda"),
        ("threads", 4),
        ("batch", 8),
        ("settings", {"level": "all"}),
    ],
)
def test_what_was_run_alike_comes_before_a_longer_beginning(
    store: Store, axis: str, value: Any
) -> None:
    near = store.add(CHAIN)
    alike = store.add("weights>keras", **{axis: value})
    key = store.add(f"{CHAIN}>torch", **{axis: value})
    lone = store.add(f"{CHAIN}>tflite")
    found = store.found()
    assert (found[key]["against"], found[key]["axes"]) == (alike, [])
    assert found[lone]["against"] == near
    # Without one that was run alike, the axis is said.
    assert (found[near]["against"], found[near]["axes"]) == (alike, [axis])


def test_settings_of_another_backend_are_no_other_run(store: Store) -> None:
    store.add("weights>keras")
    near = store.add(CHAIN, backend="onnxruntime", settings={"level": "all"})
    key = store.add(f"{CHAIN}>torch", backend="torch.eager", environment="torch-2")
    one = store.found()[key]
    assert (one["against"], one["axes"]) == (near, ["environment", "backend", "settings"])


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
    assert (one["paper"], one["paper_against"]) == ("Keras to PyTorch", keras)
    assert (one["paper_flips"], one["paper_images"]) == (3, 10)
    by = "onnxruntime"
    assert [(p["framework"], p["backend"]) for p in one["paper_foreign"]] == [
        ("Keras", by),
        ("PyTorch", by),
    ]
    assert (one["against"], one["flips"]) == (onnx, 2)
    assert "100 %" in one["paper_finding"]
    assert (found[onnx]["paper"], found[onnx]["paper_finding"]) == (None, None)


def test_a_pair_begins_where_the_framework_ran_itself_and_alike(store: Store) -> None:
    store.add("keras", backend="openvino")
    store.add("keras", backend="keras.predict", precision="f16")
    own = store.add("keras", backend="keras.predict", environment="keras-3")
    key = store.add("keras>tflite", backend="tflite")
    one = store.found()[key]
    assert (one["paper_against"], one["paper_foreign"]) == (own, [])


def test_two_cells_are_compared_once(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def compare(a: str, b: str) -> Compared:
        asked.append((a, b))
        return Compared(flips=0, images=4, max_abs_diff=0.0)

    keras = {"key": "a", "model": "m", "route": "keras", "backend": "keras.predict"}
    lite = {"key": "b", "model": "m", "route": "keras>tflite", "backend": "tflite"}
    (one,) = find_conversions(tmp_path, [keras, lite], {"a": 1.0, "b": 1.0}, [], compare)
    assert (one["against"], one["paper_against"], asked) == ("a", "a", [("a", "b")])


def test_cells_of_old_stores_tell_their_route_alone() -> None:
    cell = {"route": "weights>onnx:x>tflite", "converted_in": "e-1"}
    cell["identity"] = {"artifact": {"conversion": "c" * 64}}
    first, last = planned_steps(cell)
    assert (first["converter"], first.get("environment")) == ("weights>onnx:x", None)
    assert (last["converter"], last["environment"], last["key"]) == ("onnx>tflite", "e-1", "c" * 64)
    assert planned_steps({"route": "onnx"}) == []
    assert planned_steps({}) == []
