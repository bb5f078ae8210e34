"""Faults that are planted are found, and shown again where nothing else is installed."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command import Harness
from support.planted_models import write_folded_norm, write_not_a_number


def _swept(
    harness: Harness, folder: Path, made: tuple[Path, Path], environment: str, *settings: dict
) -> list[str]:
    """Sweep a model with several settings; the keys of the cells, in order."""
    spec: dict[str, Any] = {
        "models": [{"path": str(made[0]), "output": "logits"}],
        "inputs": {"path": str(made[1])},
        "environments": [{"name": environment, "settings": list(settings)}],
        "timing": {"enabled": False},
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    done = harness("sweep", path, "--json")
    if "cannot be reached" in done.err or "uv could not bring one" in done.err:
        pytest.skip(f"{environment} can't be installed here")
    assert done.status == 0, done.err
    by_settings = {json.dumps(c["settings"], sort_keys=True): c["key"] for c in done.json["cells"]}
    return [by_settings[json.dumps(one, sort_keys=True)] for one in settings]


def test_fast_math_is_named_and_its_reproducer_shows_it_in_a_fresh_environment(harness, tmp_path):
    right = {"fast_math": False, "mcpu": "generic", "pipeline": "default_build"}
    wrong = {"fast_math": True, "mcpu": "host", "pipeline": "default"}
    a, b = _swept(harness, tmp_path, write_not_a_number(tmp_path), "tvm-0.27", right, wrong)

    found = harness("bisect", "passes", a, b, "--no-refine", "--json")
    assert found.status == 0, found.err
    assert found.json["guilty"] == ["fast_math: False → True"]
    assert found.json["without"] == "absent"
    assert len(found.json["changes"]) == 3
    again = harness("bisect", "passes", a, b, "--no-refine", "--json")
    assert again.json["guilty"] == found.json["guilty"]
    assert all(trial["status"] == "resumed" for trial in again.json["trials"])

    part = harness("bisect", "operators", a, b, "--verify", "--out", tmp_path / "report", "--json")
    assert part.status == 0, part.err
    document = part.json
    assert "IsNaN" in {one["type"] for one in document["operators"]}
    assert len(document["operators"]) < document["of"]
    assert document["reproducer"]["verified"] is True, document["reproducer"]
    text = (tmp_path / "report" / "reproduce.py").read_text(encoding="utf-8")
    ast.parse(text)
    assert "import runner" not in text
    assert "tvm.compile" in text
    assert set(document["reproducer"]["files"]) == {
        "README.md",
        "input.npy",
        "reproduce.py",
        "requirements.txt",
        "subgraph.onnx",
    }

    listed = harness("status", "--json")
    assert listed.status == 0, listed.err


def test_behind_a_level_of_onnx_runtime_the_one_optimizer_is_named(harness, tmp_path):
    a, b = _swept(
        harness,
        tmp_path,
        write_folded_norm(tmp_path),
        "onnxruntime-1.31",
        {"graph_optimization_level": "disabled"},
        # What lays channels out in blocks rounds otherwise too, where the processor has it.
        {"graph_optimization_level": "all", "disabled_passes": ["NchwcTransformer"]},
    )
    found = harness("bisect", "passes", a, b, "--json")
    assert found.status == 0, found.err
    assert found.json["guilty"] == ["graph_optimization_level: disabled → all"]
    assert found.json["without"] == "absent"
    assert found.json["needed"]["passes"] == ["ConvBNFusion"]


def test_the_same_cell_twice_and_cells_of_several_environments_are_refused(harness, tmp_path):
    model, inputs = write_folded_norm(tmp_path)
    swept = harness(
        "sweep", "--model", model, "--inputs", inputs, "--env", "onnxruntime-1.31",
        "--env", "openvino-2026.4", "--no-timing", "--json",
    )  # fmt: skip
    assert swept.status == 0, swept.err
    a, b = (cell["key"] for cell in swept.json["cells"])
    same = harness("bisect", "passes", a, a)
    assert same.status == 2
    assert "same cell" in same.err
    apart = harness("bisect", "passes", a, b)
    assert apart.status == 2
    assert "differ in environment" in apart.err
    assert "bisect operators" in apart.err
