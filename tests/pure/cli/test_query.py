"""`harness query`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from support.store_factory import StoreFactory, flip_first, logits
from typer.testing import CliRunner, Result

from harness.cli import query
from harness.errors import UsageError

app = typer.Typer()
app.command()(query.command)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    factory = StoreFactory(tmp_path)
    x = logits(10, 4)
    inputs = factory.inputs(10, [int(c) for c in x.argmax(axis=1)])
    factory.cell(inputs, [x])
    factory.cell(inputs, [flip_first(x, 3)], environment="openvino-2026.4")
    return tmp_path


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--store", str(store)])


def test_rows_as_a_table_that_is_not_cut(store: Path) -> None:
    result = run(store, "SELECT environment, top1, cell FROM accuracy")
    assert "openvino-2026.4" in result.stdout
    assert "0.7" in result.stdout


def test_rows_as_json(store: Path) -> None:
    result = run(store, "SELECT flips, flip_share, NULL AS n FROM pairs", "--json")
    assert json.loads(result.stdout) == {
        "columns": ["flips", "flip_share", "n"],
        "rows": [[3, 0.3, None]],
    }


def test_values_that_json_lacks(store: Path) -> None:
    sql = "SELECT 'nan'::FLOAT, 1.5::DECIMAL(4, 1), DATE '2026-01-02', [1, 2], {'a': 1}"
    (row,) = json.loads(run(store, sql, "--json").stdout)["rows"]
    assert row == [None, 1.5, "2026-01-02", [1, 2], {"a": 1}]


def test_without_sql_the_tables_are_listed(store: Path) -> None:
    result = run(store)
    assert "accuracy" in result.stdout
    assert "t_quantiles" not in result.stdout


def test_writing_is_refused(store: Path) -> None:
    assert isinstance(run(store, "DROP TABLE cells").exception, UsageError)
