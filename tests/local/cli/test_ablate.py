"""`harness ablate passes` with a real ONNX Runtime: optimizers one by one, by their own names."""

from __future__ import annotations

from pathlib import Path

import onnx
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
    given = asked.index("--inputs")
    bare = (*asked[:given], *asked[given + 2 :], "--recipe", "torch", "--list", "--json")
    assert harness(*bare).json == listed.json
    refused = harness(*asked, "--pass", "MatMulAddFuzion")
    assert refused.status == 2
    assert "MatMulAddFusion" in refused.err


def test_passes_over_the_file_are_told_apart_by_what_they_do_to_it(
    harness: Harness, tmp_path: Path
) -> None:
    model = with_identity(write_model(tmp_path / "m.onnx", seed=3))
    inputs = write_inputs(tmp_path / "x.npy", 16)
    names = ("eliminate_identity", "eliminate_unused_initializer", "split_init")
    made = harness(
        *("ablate", "passes", model, "--inputs", inputs, *COMMAND, "--arm", "alone"),
        *("--optimise", "onnxoptimizer", "--setting", "graph_optimization_level=disabled"),
        *(one for name in names for one in ("--pass", name)),
        *("--first-look", 4, "--json"),
    )
    assert made.status == 3, made.err
    assert (made.json["complete"], made.json["images"], made.json["first_look"]) == (True, 16, 4)
    rows = {row["label"]: row for row in made.json["rows"]}
    eliminated = rows["only eliminate_identity"]
    assert (eliminated["file_changed"], eliminated["images"]) == (True, 16)
    assert eliminated["operators_changed"] == {"Identity": -1}
    idle = rows["only eliminate_unused_initializer"]
    assert (idle["said"], idle["images"]) == ("changes nothing: same file", 4)
    broken = rows["only split_init"]
    assert (broken["status"], broken["kind"]) == ("failed", "conversion")
    told = next((tmp_path / "results" / "studies").glob("*/study.md")).read_text("utf-8")
    assert "Inert here (1): eliminate" in told


def with_identity(path: Path) -> Path:
    """The model with an Identity behind its scores."""
    model = onnx.load(path)
    scores = next(node for node in model.graph.node if "scores" in node.output)
    scores.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Identity", ["before"], ["scores"]))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
