"""Damaged weights, images that are too small, and pixels that can't be used, are refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.environment_python import run_inside

PROGRAM = Path(__file__).with_name("refused_weights_in_torch.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program in the environment found."""
    said = run_inside("torch-2.13", PROGRAM, tmp_path_factory.mktemp("refused"))
    document: dict[str, Any] = json.loads(said.splitlines()[-1])
    return document


@pytest.mark.parametrize("converter", ["weights>torch", "weights>onnx"])
def test_damaged_weights_are_told_before_they_are_exported(
    found: dict[str, Any], converter: str
) -> None:
    said = found[f"{converter} damaged"]
    assert said["kind"] == "model"
    assert said["message"].startswith(f"{converter}: the model gives NaN or infinity")
    assert "its weights are damaged or make no sense" in said["message"]


@pytest.mark.parametrize("name", ["weights>torch small", "weights>onnx small", "tiny"])
def test_images_that_are_too_small_are_told_with_their_size(
    found: dict[str, Any], name: str
) -> None:
    assert found[name]["kind"] == "unsupported"
    said = "squeezenet1_1 can't take images of 8x12 pixels; it was made for 224x224: "
    assert found[name]["message"].startswith(said)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("grey", "normalise.channels must be rgb or bgr, not 'grey'"),
        ("channel_list", "normalise.channels must be rgb or bgr, not ['rgb']"),
        ("not_a_number", "normalise.divide is nan and must be a finite number or three, none"),
        ("zero", "normalise.divide is [1, 0, 1] and must be a finite number or three, none of"),
        ("infinite", "normalise.subtract is [0, 0, inf] and must be a finite number or three"),
        ("word", "normalise.subtract is 'mean'"),
        ("truth", "normalise.divide_after is True"),
        ("two", "normalise.divide_after is [1, 2]"),
        ("archive", "are an archive (.npz)"),
        ("one", "hold 1 rows, and at least 2 are needed"),
    ],
)
def test_pixels_and_steps_that_can_not_be_used_are_the_jobs_fault(
    found: dict[str, Any], name: str, words: str
) -> None:
    assert found[name]["kind"] == "job"
    assert words in found[name]["message"]


def test_seventeen_images_in_batches_of_sixteen_seed_a_network(found: dict[str, Any]) -> None:
    assert list(found["seventeen"].get("files", found["seventeen"])) == ["target"]
