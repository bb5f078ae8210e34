"""What cells are called, and that what is printed can be typed."""

from __future__ import annotations

from typing import Any

import pytest

from harness.store import naming

IMAGE = "image:some/place:5000/torch@sha256:0123456789ab"
PYTHON = "python:/opt/my venv/bin/python"


def cell(environment: str = "e-1", **columns: Any) -> dict[str, Any]:
    base = {"key": "a", "model": "m", "environment": environment, "backend": "b", "settings": {}}
    base |= {"precision": "f32", "device": "cpu", "threads": 1, "batch": 1}
    return {**base, "executor": "venv", "role": "cell", **columns}


@pytest.mark.parametrize("environment", [IMAGE, PYTHON, "onnxruntime-1.31"])
def test_an_environment_is_its_whole_name_whatever_slashes_it_has(environment: str) -> None:
    assert naming.is_environment(cell(environment), environment)
    assert not naming.is_environment(cell(environment), environment[:-1])
    assert naming.is_described(cell(environment), f"{environment}/b")
    assert not naming.is_described(cell(environment), f"{environment}/other")
    assert naming.is_described(cell(environment), f"{environment}/b, venv")


def test_a_pin_and_a_whole_digest_mean_the_environment_made_of_them() -> None:
    assert naming.is_environment(cell("onnxruntime-1.25.1"), "onnxruntime==1.25.1")
    assert naming.is_environment(cell(IMAGE), f"{IMAGE}{'c' * 52}")
    assert not naming.is_environment(cell(IMAGE), IMAGE.replace("0123", "9999"))


FED = {"variant": {}, "preprocessing": "reference", "corruption": "none", "mistake": "none"}


def test_ways_of_feeding_are_named_and_names_can_be_typed() -> None:
    cells = [
        cell(key="a", **FED),
        cell(key="b", **{**FED, "preprocessing": "tensorflow,antialias=true,dct=fast"}),
        cell(key="c", **{**FED, "corruption": "blur:3"}),
        cell(key="d", **{**FED, "mistake": "bgr"}),
        cell(key="e", **{**FED, "variant": {"padding": "same", "stride": "first"}}),
    ]
    names = naming.names(cells)
    assert names["a"] == (
        "e-1, as built by the library, reference pixels, no corruption, no mistake"
    )
    assert "pixels by tensorflow+antialias=true+dct=fast" in names["b"]
    assert "padding=same stride=first" in names["e"]
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]


def test_what_is_not_known_of_a_cell_tells_nothing_apart() -> None:
    names = naming.names([cell(key="a", **FED), cell(key="b")])
    assert names == {"a": "e-1", "b": "e-1"}


def test_every_printed_name_selects_its_own_cell_and_no_other() -> None:
    cells = [
        cell(key="a"),
        cell(key="b", executor="docker"),
        cell(key="c", executor="docker", threads=2),
        cell(key="d", executor="docker", settings={"level": "all", "arena": True}),
        cell(key="e", backend="other", precision="default", batch=8, device="cuda"),
    ]
    names = naming.names(cells)
    assert names["b"] == "e-1, b, no settings, f32 precision, cpu, 1 thread, batch 1, docker"
    for key, name in names.items():
        assert [c["key"] for c in cells if naming.is_described(c, name)] == [key]


@pytest.mark.parametrize(
    ("selector", "fits"),
    [("e-1, docker", True), ("e-1, venv", False), ("e-1, ", False), ("e-1,docker", False)],
)
def test_a_part_of_a_name_is_enough(selector: str, fits: bool) -> None:
    assert naming.is_described(cell(executor="docker", threads=4), selector) is fits
