"""Real weights in PyTorch's own modules answer as their ONNX files do, and seeding is repeatable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.environment_python import run_inside

PROGRAM = Path(__file__).with_name("weights_in_torch.py")
IMAGES = 24


@pytest.fixture(scope="module")
def found(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program in the environment found."""
    images = sorted((real_data / "data" / "imagenet-sample" / "val").glob("*/*.JPEG"))[::20]
    work = tmp_path_factory.mktemp("weights")
    said = run_inside("torch-2.13", PROGRAM, real_data / "models", *images[:IMAGES], work)
    document: dict[str, Any] = json.loads(said.splitlines()[-1])
    return document


def difference(found: dict[str, Any], name: str, variant: dict[str, Any]) -> float:
    (one,) = [d for n, v, d, _ in found["differences"] if (n, v) == (name, variant)]
    return float(one)


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("mobilenet_v2", {"padding": "same"}),
        ("mobilenet_v2", {"padding": "same", "batch_norm_epsilon": 1e-3}),
        ("resnet50", {"stride": "first", "max_pool": "ceil"}),
        ("squeezenet1_1", {}),
    ],
)
def test_the_right_variant_answers_as_the_onnx_file(
    found: dict[str, Any], name: str, variant: dict[str, Any]
) -> None:
    assert difference(found, name, variant) < 1e-3


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("mobilenet_v2", {"padding": "symmetric"}),
        ("mobilenet_v2", {}),
        ("resnet50", {"stride": "first"}),
        ("resnet50", {}),
    ],
)
def test_the_librarys_own_module_runs_and_answers_otherwise(
    found: dict[str, Any], name: str, variant: dict[str, Any]
) -> None:
    assert 0.1 < difference(found, name, variant) < 50


def test_the_exported_program_is_the_transplanted_module(found: dict[str, Any]) -> None:
    said, to_onnx = found["converted"]
    assert to_onnx < 1e-3
    assert list(said["files"]) == ["mobile.pt2"]
    assert said["versions"].keys() == {"torch", "torchvision", "numpy"}
    assert said["probe_max_abs_diff"] < 1e-4
    assert (said["input_axes"], said["output_axes"]) == (None, None)


def test_files_that_pytorch_writes_hold_the_same_arrays(found: dict[str, Any]) -> None:
    assert found["state_dicts"] == [True, True, True]


def test_what_can_not_be_converted_is_refused_by_name(found: dict[str, Any]) -> None:
    expected = [
        ("model", "no weights of resnet50: the array of the logits, fc.weight, is not there"),
        ("unsupported", "mobilenet_v2 has no variant 'stride'"),
        ("unsupported", "timm has no squeezenet1_1; torchvision does"),
        ("unsupported", "square images whose side 16 divides, not 48x40"),
        ("model", "151 missing: class_token, conv_proj.weight, conv_proj.bias"),
        ("unsupported", "squeezenet1_1 can't take images of 8x8 pixels"),
    ]
    assert len(found["refused"]) == len(expected)
    for (kind, message), (wanted, words) in zip(found["refused"], expected, strict=True):
        assert kind == wanted
        assert words in message


def test_seeded_weights_are_a_function_of_the_seed_and_the_images(found: dict[str, Any]) -> None:
    one, again, other = found["seeds"]["digests"]
    assert one == again != other


def test_seeded_weights_are_canonical_and_spread_the_labels(found: dict[str, Any]) -> None:
    seeds = found["seeds"]
    assert seeds["names"] is True
    assert seeds["dtypes"] == ["float32"]
    assert seeds["shape"] == [IMAGES, 30]
    assert seeds["labels"] > IMAGES / 2
    assert 2 < seeds["spread"] < 4
