"""Routes as the environment folders that ship have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.small_onnx import conv

from harness.environments.registry import find, folders
from harness.errors import ModelError, UsageError
from harness.execution import route_search
from harness.execution.route_search import Subject
from harness.paths import shipped
from harness.plan.parts import Workshop
from harness.plan.routes import find_routes
from harness.plan.wishes import Wishes
from harness.spec.load import load_spec
from harness.spec.models import ModelEntry

FAMILIES = {
    "torch": "PyTorch",
    "keras": "Keras",
    "savedmodel": "TensorFlow",
    "graphdef": "TensorFlow",
    "tflite": "TFLite",
}


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_IMAGES", raising=False)


THROUGH_KERAS = {"weights>keras", "weights>tflite", "weights>graphdef"}


def test_an_edge_names_who_offers_it_and_what_may_be_chosen() -> None:
    edges = {edge.converter: edge for edge in route_search.edges(folders())}
    assert edges["torch>onnx:dynamo"].environments["torch-2.13"] == ("opset", "folding")
    assert (edges["torch>onnx:dynamo"].source, edges["onnx>torch"].target) == ("pt2", "pt2")
    assert {"tensorflow-2.21", "tensorflow-2.15"} <= set(edges["keras>tflite"].environments)


def test_a_model_is_known_by_its_file_or_its_name(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(conv(channels=3).model().SerializeToString())
    assert route_search.subject_of(ModelEntry(path=path)) == Subject("onnx")
    named = {"mobilenet_v2@seeded": set(), "vit_b_16@timm": THROUGH_KERAS}
    for name, barred in named.items():
        found = route_search.subject_of(ModelEntry(checkpoint=name))
        assert found == Subject("weights", frozenset(barred))
    with pytest.raises(ModelError, match="There is no checkpoint named 'nobody'"):
        route_search.subject_of(ModelEntry(checkpoint="nobody"))


def reached(model: Subject, *, every: bool = False) -> list[route_search.Reached]:
    known = folders()
    readers, others = route_search.readers_of(known, model), route_search.makers_of(known, model)
    return route_search.reached(model, readers, others, every=every)


def test_each_format_is_reached_by_the_shortest_way() -> None:
    routes = {one.format: one for one in route_search.shortest_of(reached(Subject("onnx")))}
    assert routes["tflite"].route.name == "onnx>tflite"
    assert routes["onnx"].environment == "onnxruntime-1.31"
    assert routes["keras"].route.name == "onnx>keras"
    assert len(routes["graphdef"].route.steps) == 2


def test_all_ways_are_shown_once_and_the_short_ones_first() -> None:
    found = route_search.by_format(reached(Subject("weights"), every=True))
    tflite = [one.route for one in found if one.format == "tflite"]
    assert tflite[0].name == "weights>tflite"
    assert [len(one.steps) for one in tflite] == sorted(len(one.steps) for one in tflite)
    names = [one.name for one in tflite]
    assert len(names) == len(set(names))
    assert "weights>torch>onnx:dynamo>tflite" in names


def test_a_network_that_keras_lacks_takes_no_way_through_it() -> None:
    found = reached(Subject("weights", frozenset(THROUGH_KERAS)), every=True)
    steps = {step.converter for one in found for step in one.route.steps}
    assert "weights>torch" in steps
    assert not steps & THROUGH_KERAS


def test_a_format_is_meant_by_either_word_and_close_ones_are_told() -> None:
    known = folders()
    assert route_search.check_format("torch", known) == "pt2"
    assert route_search.check_format("pt2", known) == "pt2"
    with pytest.raises(UsageError, match="'tflit'") as caught:
        route_search.check_format("tflit", known)
    assert "Did you mean tflite?" in caught.value.remedy


READER = Workshop("reader", "", "venv", {}, {"b": ("tflite",)})
DIRECT = Workshop("direct", "", "venv", {"onnx>tflite": ()})
ROUND = Workshop("round", "", "venv", {"onnx>keras": (), "keras>tflite": ("quantisation",)})


def chosen(wishes: Wishes, asked: str = "auto") -> str:
    readers = [READER, Workshop(ROUND.name, "", "venv", ROUND.converters, {"k": ("tflite",)})]
    _, route = route_search.choose(
        Subject("onnx"), "tflite", asked, readers, [DIRECT, ROUND], wishes
    )
    return route.name


def test_the_shortest_way_that_can_do_what_is_wanted_is_taken() -> None:
    assert chosen(Wishes()) == "onnx>tflite"
    assert chosen(Wishes(quantisation="dynamic")) == "onnx>keras>tflite"
    with pytest.raises(UsageError, match="none of the conversions of onnx>tflite can be asked"):
        chosen(Wishes(layout="nchw"))
    with pytest.raises(UsageError, match="can be asked for quantisation dynamic"):
        chosen(Wishes(quantisation="dynamic"), "onnx>tflite")


def test_the_sweep_of_conversions_holds_the_twelve_and_their_sources() -> None:
    spec = load_spec(shipped("sweeps") / "conversions.yaml", {"data": {"path": "/images"}})
    known = folders()
    model = Subject("weights")
    others = route_search.makers_of(known, model)
    pairs: set[tuple[str, str]] = set()
    sources: set[str] = set()
    for entry in spec.environments:
        [name], [backend] = entry.names, entry.backends or ()
        file = find(name).file
        own = Workshop(name, "", "venv", file.converters, file.backends)
        for route in entry.route or ():
            found = find_routes(model.format, file.backends[backend], own, others, route)
            assert not isinstance(found, str), (route, found)
            formats = [node.partition(":")[0] for node in found[0].name.split(">")]
            own_forms = [one for one in formats if one in FAMILIES]
            assert own_forms[-1] == formats[-1]
            if len(formats) == 2 or formats in (
                ["weights", "keras", "savedmodel"],
                ["weights", "keras", "tflite"],
            ):
                sources.add(FAMILIES[formats[-1]])
            target = FAMILIES[own_forms[-1]]
            before = [FAMILIES[one] for one in own_forms if FAMILIES[one] != target]
            if before:
                pairs.add((before[-1], target))
    named = set(FAMILIES.values())
    assert sources == named
    assert pairs == {(a, b) for a in named for b in named if a != b}


def test_the_sweep_of_tvm_takes_every_format_that_it_imports() -> None:
    spec = load_spec(shipped("sweeps") / "tvm.yaml", {"data": {"path": "/images"}})
    known = folders()
    others = route_search.makers_of(known, Subject("weights"))
    file = find("tvm-0.27").file
    own = Workshop("tvm-0.27", "", "venv", file.converters, file.backends)
    [entry] = [one for one in spec.environments if one.names == ("tvm-0.27",)]
    taken: set[str] = set()
    for route in entry.route or ():
        found = find_routes("weights", file.backends["tvm"], own, others, route)
        assert not isinstance(found, str), (route, found)
        *_, source, target = (node.partition(":")[0] for node in found[0].name.split(">"))
        taken.add(source if target == "relax" else target)
    imported = {
        name.partition(">")[0]
        for folder in known
        for name in folder.file.converters
        if name.partition(">")[2].startswith("relax")
    }
    assert taken == imported == {"onnx", "torch", "tflite"}
