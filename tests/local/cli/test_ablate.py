"""`harness ablate passes` with a real ONNX Runtime: optimizers one by one, by their own names."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import Harness
from support.small_model import write_inputs, write_model

COMMAND = ("--env", "onnxruntime-1.31", "--no-timing", "--store", "results")


@pytest.fixture
def asked(tmp_path: Path) -> tuple[object, ...]:
    model = write_model(tmp_path / "m.onnx", seed=3)
    inputs = write_inputs(tmp_path / "x.npy", 16)
    return ("ablate", "passes", model, "--inputs", inputs, *COMMAND)


def test_a_fusion_is_told_from_an_optimizer_with_nothing_to_do(
    harness: Harness, asked: tuple[object, ...]
) -> None:
    chosen = ("--pass", "MatMulAddFusion", "--pass", "ConstantFolding")
    made = harness(*asked, *chosen, "--json")
    assert made.status == 0, made.err
    assert made.json["complete"] is True
    effects = {one["name"]: one["effect"] for one in made.json["passes"]}
    assert effects == {"ConstantFolding": "inert", "MatMulAddFusion": "acts"}
    rows = {row["label"]: row for row in made.json["rows"]}
    fused = rows["only MatMulAddFusion"]["operators_changed"]
    assert {kind.split()[0]: number for kind, number in fused.items()} == {
        "Add": -1,
        "Gemm": 1,
        "MatMul": -1,
    }
    assert rows["only ConstantFolding"]["pair"] is None

    again = harness(*asked, *chosen, "--json")
    assert {row["status"] for row in again.json["rows"]} == {"resumed"}
    assert again.json["counts"] == made.json["counts"]

    status = harness("status", "--store", "results")
    assert made.json["headline"] in status.out


def test_the_passes_are_listed_and_an_unknown_one_is_refused(
    harness: Harness, asked: tuple[object, ...]
) -> None:
    listed = harness(*asked, "--list", "--json")
    assert listed.status == 0, listed.err
    assert {"ConstantFolding", "MatMulAddFusion"} <= set(listed.json)
    refused = harness(*asked, "--pass", "MatMulAddFuzion")
    assert refused.status == 2
    assert "MatMulAddFusion" in refused.err
