"""Committing answers: what is accepted, what is refused, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from support.cells import CELL

from harness.errors import ExecutionError
from harness.execution.bundles import answers_folder, validate
from harness.execution.commit import class_mismatch, commit_answers, commit_inputs

LOADED = {
    "load_ns": 1,
    "compile_ns": 2,
    "first_inference_ns": 3,
    "input": {"name": "x"},
    "ran": {"threads": 1},
}


def commit(
    tmp_path: Path, arrays: list[np.ndarray[Any, Any]], *, classes: int | None = None, **cell: Any
) -> tuple[Path, dict[str, Any]]:
    made = tmp_path / "made"
    made.mkdir()
    outputs = []
    for index, array in enumerate(arrays):
        np.save(made / f"output_{index}.npy", array)
        outputs.append({"index": index, "name": f"o{index}", "file": f"output_{index}.npy"})
    wanted = replace(CELL, **cell)
    commit_answers(
        tmp_path,
        wanted,
        made=made,
        loaded=LOADED,
        reply={"outputs": outputs, "nonfinite": 0, "duration_ns": 9},
        environment={"schema_version": 1},
        count=len(arrays[0]),
        classes=classes,
    )
    folder = answers_folder(tmp_path, wanted.key)
    validate(folder, deep=True)
    return folder, json.loads((folder / "answers.json").read_text())


def test_scores_become_logits_and_top_k_after_the_class_offset(tmp_path: Path) -> None:
    scores = np.array([[9, 1, 2, 3], [0, 5, 5, 4]], np.float32)
    folder, answers = commit(tmp_path, [scores], class_offset=1, classes=3)
    assert answers["kind"] == "logits"
    assert answers["kind_source"] == "detected"
    np.testing.assert_array_equal(np.load(folder / "logits.npy"), scores)
    rows = duckdb.sql(f"FROM '{folder}/topk.parquet' ORDER BY image, \"rank\"").fetchall()
    assert [(image, rank, label) for image, rank, label, _ in rows] == [
        *((0, 0, 2), (0, 1, 1), (0, 2, 0)),
        *((1, 0, 0), (1, 1, 1), (1, 2, 2)),  # the tie stands in the order of the classes
    ]


def test_probabilities_are_told_from_logits_and_a_declaration_wins(tmp_path: Path) -> None:
    soft = np.full((3, 4), 0.25, np.float32)
    _, answers = commit(tmp_path, [soft])
    assert answers["kind"] == "probabilities"
    (tmp_path / "again").mkdir()
    _, answers = commit(tmp_path / "again", [soft], output="logits")
    assert (answers["kind"], answers["kind_source"]) == ("logits", "declared")


def test_an_eight_bit_softmax_is_told_from_logits_though_rounding_took_part_of_it(
    tmp_path: Path,
) -> None:
    rows = np.array([[136, 0, 0, 4], [252, 1, 1, 0]], np.float32) / 256
    _, answers = commit(tmp_path, [rows])
    assert answers["kind"] == "probabilities"
    (tmp_path / "again").mkdir()
    _, answers = commit(tmp_path / "again", [rows + np.float32(0.001)])
    assert answers["kind"] == "logits"


def test_what_scores_are_is_decided_over_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row in steps of 1/256 makes no 8-bit softmax of the others, however rows are read."""
    rows = np.array([[128, 64, 32, 0], [100.3, 100.4, 55.3, 0]], np.float32) / 256
    for values in (4, 1000):
        monkeypatch.setattr("harness.execution.commit._CHUNK_VALUES", values)
        (tmp_path / str(values)).mkdir()
        _, answers = commit(tmp_path / str(values), [rows])
        assert answers["kind"] == "logits"


def test_several_outputs_are_kept_and_feature_maps_are_values(tmp_path: Path) -> None:
    maps = np.zeros((2, 3, 4, 4), np.float32)
    ids = np.array([[1], [2]])
    folder, answers = commit(tmp_path, [maps, ids])
    assert answers["scores"] is None
    assert answers["kind"] == "values"
    assert [o["shape"] for o in answers["outputs"]] == [[2, 3, 4, 4], [2, 1]]
    assert not (folder / "topk.parquet").exists()


def test_scores_with_single_trailing_axes_are_flattened(tmp_path: Path) -> None:
    folder, _ = commit(tmp_path, [np.zeros((2, 5, 1, 1), np.float32)])
    assert np.load(folder / "logits.npy").shape == (2, 5)


@pytest.mark.parametrize(
    ("array", "cell", "classes", "said"),
    [
        (np.full((2, 3), np.nan, np.float32), {}, None, "are NaN"),
        (np.zeros((2, 1001), np.float32), {}, 1000, "--class-offset 1"),
        (np.zeros((2, 1000), np.float32), {"class_offset": 1}, 1000, "--class-offset 0"),
        (np.zeros((2, 37), np.float32), {}, 1000, "--synsets FILE"),
        (np.zeros((2, 3, 4), np.float32), {"output": "logits"}, None, "--output values"),
    ],
)
def test_what_does_not_fit_is_a_failure_with_a_remedy(
    tmp_path: Path, array: Any, cell: dict[str, Any], classes: int | None, said: str
) -> None:
    with pytest.raises(ExecutionError, match=said) as caught:
        commit(tmp_path, [array], classes=classes, **cell)
    assert caught.value.kind == "invalid-output"
    assert not (tmp_path / "answers").exists() or not list((tmp_path / "answers").glob("*/*"))


def test_a_model_with_as_many_scores_as_classes_fits() -> None:
    assert class_mismatch(1000, 0, 1000) is None
    assert class_mismatch(1001, 1, 1000) is None
    assert class_mismatch(37, 0, None) is None


def test_a_runner_cannot_make_a_file_from_elsewhere_part_of_the_answers(tmp_path: Path) -> None:
    outside = tmp_path / "secret.npy"
    np.save(outside, np.zeros((2, 3), np.float32))
    reply = {"outputs": [{"index": 0, "name": "o", "file": str(outside)}], "nonfinite": 0}
    (tmp_path / "made").mkdir()
    with pytest.raises(ExecutionError, match="cannot be read"):
        commit_answers(
            tmp_path,
            CELL,
            made=tmp_path / "made",
            loaded=LOADED,
            reply={**reply, "duration_ns": 1},
            environment={},
            count=2,
            classes=None,
        )


def test_a_softmax_in_bfloat16_is_still_told_from_logits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((20, 1000)) * 3
    soft = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    coarse = (soft.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    assert np.abs(coarse.sum(axis=1) - 1).max() > 1e-3
    _, answers = commit(tmp_path, [coarse])
    assert answers["kind"] == "probabilities"


def test_inputs_keep_names_hashes_and_missing_labels(tmp_path: Path) -> None:
    commit_inputs(
        tmp_path,
        "abcd",
        {"count": 2},
        {
            "name": np.array(["é.png", "b.png"], dtype=object),
            "sha256": np.array(["1", "2"], dtype=object),
            "label": np.array([3, None], dtype=object),
        },
    )
    file = tmp_path / "inputs" / "ab" / "abcd" / "images.parquet"
    assert duckdb.sql(f"FROM '{file}'").fetchall() == [
        (0, "é.png", "1", 3),
        (1, "b.png", "2", None),
    ]
