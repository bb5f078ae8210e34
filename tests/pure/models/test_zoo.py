"""The zoo's facts agree with each other and with the runner's networks."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from harness.datasets.recipes import geometry
from harness.errors import ModelError
from harness.models.zoo import (
    NUMBER,
    architecture_facts,
    architectures,
    check_variant,
)

# The short side in pixels that each library resizes to, as its own code computes it.
RESIZED = {
    "mobilenet_v2@torchvision": 232,
    "mobilenet_v2@torchvision-v1": 256,
    "mobilenet_v2@timm": 256,
    "mobilenet_v2@keras": 256,
    "resnet101_v2@timm": 235,
    "resnet101_v2@keras": 256,
    "densenet121@torchvision": 256,
    "inception_v3@torchvision": 342,
    "inception_v3@timm": 341,
    "inception_v3@keras": 342,
    "resnet50@torchvision": 232,
    "resnet50@timm": 235,
    "convnext_tiny@torchvision": 236,
    "vit_b_16@timm": 248,
    "squeezenet1_1@torchvision": 256,
}


def every_file():
    return [
        (f"{name}@{key}", architecture_facts(name), file)
        for name in architectures()
        for key, file in architecture_facts(name).pretrained.items()
    ]


def test_there_are_the_ten_architectures():
    assert architectures() == (
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "inception_v3",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "resnet101_v2",
        "resnet50",
        "squeezenet1_1",
        "vit_b_16",
    )


def test_each_library_resizes_to_its_own_short_side():
    found = {
        name: geometry(file.recipe, facts.size, facts.size).resize_height
        for name, facts, file in every_file()
        if name in RESIZED
    }
    assert found == RESIZED


@pytest.mark.parametrize("name", architectures())
def test_variants_are_those_that_the_runner_builds(name):
    network = import_module(f"runner.architectures.{name}").ARCHITECTURE
    facts = architecture_facts(name)
    ours = {
        key: ((() if NUMBER in one.values else one.values), one.torch, one.keras)
        for key, one in facts.variants.items()
    }
    assert ours == {one.key: (one.values, one.torch, one.keras) for one in network.variants}
    builders = (
        f"{network.library}:{network.builder}",
        *([f"timm:{network.timm}"] if network.timm and network.library != "timm" else []),
    )
    assert facts.torch == builders
    assert facts.keras == network.keras
    assert facts.size == network.size
    assert facts.heads[0] == f"{network.head}.weight"
    assert {network.alias(head) for head in facts.heads if head != "fc.weight"} <= {
        f"{network.head}.weight"
    }


def test_the_hash_of_a_torchvision_file_is_in_its_name():
    prefixes = {
        name: file.sha256_prefix for name, _, file in every_file() if file.library == "torchvision"
    }
    assert prefixes["resnet50@torchvision"] == "11ad3fa6"
    assert prefixes["mobilenet_v2@torchvision-v1"] == "b0353104"
    for name, _, file in every_file():
        if file.library == "torchvision":
            assert file.filename.endswith(f"-{prefixes[name]}.pth")


def test_every_file_is_had_over_https_and_names_its_licence():
    for name, _, file in every_file():
        assert file.url.startswith("https://"), name
        assert file.url.endswith(f"/{file.filename}"), name
        assert file.licence, name
        assert file.classes == 1000, name


def test_inception_gets_the_same_values_from_every_library():
    recipes = architecture_facts("inception_v3").pretrained
    for key in ("torchvision", "timm", "keras"):
        recipe = recipes[key].recipe
        for mean, std in zip(recipe.mean, recipe.std, strict=True):
            assert [(x / recipe.divide - mean) / std for x in (0, 255)] == [-1.0, 1.0]


def test_networks_that_normalise_themselves_say_how():
    inside = {name: file.recipe_in_model for name, _, file in every_file() if file.recipe_in_model}
    assert set(inside) == {
        "efficientnet_b0@keras",
        "mobilenet_v3_large@keras",
        "convnext_tiny@keras",
    }
    assert inside["mobilenet_v3_large@keras"].divide == 127.5
    assert inside["convnext_tiny@keras"].std == (0.229, 0.224, 0.225)
    for name in inside:
        architecture = name.split("@")[0]
        assert architecture_facts(architecture).recipes["keras"].is_identity


def test_an_unknown_architecture_is_refused_with_close_names():
    with pytest.raises(ModelError, match="no architecture 'mobilenetv2'") as caught:
        architecture_facts("mobilenetv2")
    assert "Did you mean mobilenet_v2" in caught.value.remedy


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ({"paddding": "same"}, "no variant 'paddding'"),
        ({"padding": "valid"}, "cannot be 'valid'"),
        ({"batch_norm_epsilon": "small"}, "is a number, not 'small'"),
        ({"batch_norm_epsilon": -1.0}, "is a number, not -1.0"),
    ],
)
def test_a_variant_that_does_not_exist_is_refused(variant, said):
    with pytest.raises(ModelError, match=said):
        check_variant("mobilenet_v2", variant)


def test_variants_that_exist_are_taken():
    check_variant("mobilenet_v2", {"padding": "same", "batch_norm_epsilon": 0.001})
    check_variant("vit_b_16", {})


def test_no_two_architectures_are_told_by_the_same_array():
    tells = [tell for name in architectures() for tell in architecture_facts(name).tell]
    assert len(tells) == len(set(tells))


def test_the_page_on_models_lists_every_variant():
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    for name in architectures():
        for key, one in architecture_facts(name).variants.items():
            assert f"| `{name}` | `{key}` |" in page
            assert f"| {one.torch} | {one.keras} |" in page
