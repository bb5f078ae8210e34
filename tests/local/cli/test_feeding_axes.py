"""Preprocessing, corruption and mistakes as axes, on really trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.command import Harness

COUNT = 12


def mobilenet(data: Path, *more: object) -> tuple[object, ...]:
    return (
        *("sweep", "--model", data / "models/mobilenet_v2_1.0_224_tf.onnx", "--recipe", "tf"),
        *("--class-offset", 1, "--data", data / "data/imagenet-sample/val", "--limit", COUNT),
        *("--env", "onnxruntime-1.31", "--executor", "venv", "--no-timing", "--json", *more),
    )


def pairs_by(result: dict[str, Any], axis: str) -> dict[str, dict[str, Any]]:
    """Pairs with the cell that is as usual, by what the other one is on an axis."""
    cells = {cell["key"]: cell for cell in result["cells"]}
    return {
        cells[pair["b"]][axis]: pair for pair in result["pairs"] if pair["agreement"] is not None
    }


def test_who_decodes_is_an_axis(harness: Harness, real_data: Path) -> None:
    done = harness(
        *mobilenet(real_data, "--preprocessing", "reference", "--preprocessing", "pillow"),
        *("--preprocessing", "opencv", "--preprocessing", "native"),
    )
    assert done.status == 0, done.err
    found = pairs_by(done.json, "preprocessing")
    assert {pair["axes"][0] for pair in found.values()} == {"preprocessing"}
    # The same library by the same rule, in another process: the same bits.
    assert found["pillow"]["identical"]
    assert found["opencv"]["max_abs_diff"] > 0.01
    assert {cell["prepared_in"] for cell in done.json["cells"]} == {None, "imaging-13.0"}
    [skipped] = done.json["skipped"]
    assert "brings nothing that decodes images" in skipped["reason"]


def test_a_corruption_is_an_axis_and_the_same_each_time(harness: Harness, real_data: Path) -> None:
    asked = mobilenet(real_data, "--corruption", "none", "--corruption", "gaussian_noise:4")
    done = harness(*asked)
    assert done.status == 0, done.err
    [pair] = done.json["pairs"]
    assert pair["axes"] == ["corruption"]
    assert pair["flips"] > 0
    again = harness(*asked)
    assert [cell["status"] for cell in again.json["cells"]] == ["resumed", "resumed"]


def test_mistakes_made_on_purpose_cost_what_they_cost(harness: Harness, real_data: Path) -> None:
    named = ("none", "bgr", "squashed", "transposed", "double-softmax")
    done = harness(*mobilenet(real_data, *(w for name in named for w in ("--mistake", name))))
    assert done.status == 0, done.err
    found = pairs_by(done.json, "mistake")
    assert set(found) == set(named[1:])
    assert all(pair["axes"] == ["mistake"] for pair in found.values())
    assert found["transposed"]["flips"] > 0
    # Softmax keeps the order of the classes, twice as well as once.
    assert found["double-softmax"]["flips"] == 0
    softened = next(c for c in done.json["cells"] if c["mistake"] == "double-softmax")
    assert softened["kind"] == "probabilities"


def test_what_cannot_be_prepared_is_told(harness: Harness, real_data: Path) -> None:
    done = harness(*mobilenet(real_data, "--preprocessing", "photoshop"))
    assert done.status == 2
    assert "no environment offers the preprocessor photoshop; there are:" in done.err
    done = harness(*mobilenet(real_data, "--corruption", "rain:2"))
    assert done.status == 2
    assert "rain" in done.err
