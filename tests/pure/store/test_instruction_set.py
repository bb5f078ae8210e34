"""Ceilings on instruction sets in the catalogue, in words, and in what a comparison sets side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.choice import choose
from harness.analysis.store_status import store_status
from harness.report import words
from harness.store.query import run_query


@pytest.fixture
def swept(tmp_path: Path) -> tuple[Path, list[str]]:
    """A store with a cell from before the axis, and the same environments held to avx2 and not."""
    factory, x = StoreFactory(tmp_path), logits(20, 6)
    inputs = factory.inputs(20, None, classes=list("abcdef"))
    old = factory.cell(inputs, [x], environment="a-1")
    held = factory.cell(inputs, [flip_first(x, 2)], environment="a-1", instruction_set="avx2")
    others = [
        factory.cell(inputs, [flip_first(x, n)], environment="b-1", instruction_set=one)
        for n, one in enumerate(("own", "avx2"), start=3)
    ]
    factory.sweep([old, held, *others])
    return tmp_path, [old, held, *others]


def test_it_is_a_column_of_cells_accuracy_pairs_and_status(swept: tuple[Path, list[str]]) -> None:
    store, keys = swept
    found = dict(run_query(store, "SELECT key, instruction_set FROM cells").rows)
    assert found == dict(zip(keys, ("own", "avx2", "own", "avx2"), strict=True))
    sql = "SELECT instruction_set_a, instruction_set_b, flips FROM pairs"
    both = "environment_a = 'a-1' AND environment_b = 'a-1'"
    [row] = run_query(store, f"{sql} WHERE {both}").rows
    assert set(row) == {"own", "avx2", 2}
    listed = {
        str(cell["key"]): cell["instruction_set"] for cell in store_status(store)["cells_listed"]
    }
    assert listed == found


def test_a_comparison_sets_like_ceilings_side_by_side(swept: tuple[Path, list[str]]) -> None:
    store, (old, held, own, other) = swept
    pairs = choose(store, "a-1", "b-1").pairs
    assert {(a.key, b.key) for a, b in pairs} == {(old, own), (held, other)}


def test_a_ceiling_is_said_beside_the_backend_and_none_is_not() -> None:
    cell = {"backend": "torch.eager", "instruction_set": "own"}
    assert words.backend(cell) == "torch.eager"
    assert words.backend({**cell, "instruction_set": "avx2"}) == "torch.eager · up to avx2"
