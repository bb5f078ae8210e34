"""Every architecture as PyTorch's libraries have it: it builds, is seeded, and varies as said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.environment_python import run_inside

from runner import architectures

NAMES = architectures.names()
PROGRAM = Path(__file__).with_name("native_modules_in_torch.py")
WITH_ANOTHER = [name for name in NAMES if architectures.find(name).libraries[1:]]
VARIANTS = [(name, one) for name in NAMES for one in architectures.find(name).variants]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the program in the environment found."""
    document: dict[str, Any] = json.loads(run_inside("torch-2.13", PROGRAM).splitlines()[-1])
    return document


@pytest.mark.parametrize("name", NAMES)
def test_seeded_weights_spread_the_labels_and_the_margins(found: dict[str, Any], name: str) -> None:
    told = found[name]["told"]
    assert told["images"] == 12
    assert told["labels"] >= 5
    assert 2 < told["logit_std"] < 5
    assert told["margin_p95"] > 4 * told["margin_p5"] > 0


@pytest.mark.parametrize("name", ["mobilenet_v2", "vit_b_16", "squeezenet1_1"])
def test_seeding_twice_gives_the_same_and_another_seed_gives_other_weights(
    found: dict[str, Any], name: str
) -> None:
    assert found[name]["again"] is True
    assert found[name]["other"] == 0


@pytest.mark.parametrize(("name", "one"), VARIANTS, ids=lambda v: getattr(v, "key", v))
def test_a_variant_changes_the_answers_unless_it_is_the_librarys_own(
    found: dict[str, Any], name: str, one: architectures.Variant
) -> None:
    differences = {value: d for key, value, d in found[name]["variants"] if key == one.key}
    assert differences.pop(one.torch) == 0
    differences = {value: d for value, d in differences.items() if one.values or value == 0.1}
    assert differences
    if (name, one.key) != ("resnet101_v2", "max_pool"):
        assert min(differences.values()) > 0.01 * found[name]["spread"]


def test_resnet101_v2_can_pool_among_zeros_as_keras_does(found: dict[str, Any]) -> None:
    to_the_same, to_the_librarys_own = found["stem"]
    assert to_the_same == 0
    assert to_the_librarys_own > 0.01


@pytest.mark.parametrize("name", WITH_ANOTHER)
def test_timms_module_aligned_to_torchvisions_answers_alike_with_the_same_arrays(
    found: dict[str, Any], name: str
) -> None:
    assert found[name]["timm"] < 1e-3


NORMED = [
    (name, library)
    for name in NAMES
    for library in architectures.find(name).libraries
    if architectures.find(name).variant("batch_norm_epsilon")
]


@pytest.mark.parametrize(("name", "library"), NORMED)
def test_a_module_without_changes_has_the_epsilon_that_is_said_of_its_library(
    found: dict[str, Any], name: str, library: str
) -> None:
    said = architectures.effective(architectures.find(name), {}, library)
    assert found[name]["epsilons"][library] == [said["batch_norm_epsilon"]]


def test_timms_mobilenet_v3_has_another_epsilon_than_torchvisions(found: dict[str, Any]) -> None:
    assert found["mobilenet_v3_large"]["epsilons"] == {"torchvision": [1e-3], "timm": [1e-5]}


def test_an_exported_program_keeps_what_was_changed(found: dict[str, Any]) -> None:
    for difference, spread in found["exported"]:
        assert difference < 1e-4 < spread
