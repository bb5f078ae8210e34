"""Queries read the store and reach nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.store_factory import StoreFactory, logits

from harness.errors import StoreError, UsageError
from harness.store.query import run_query


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    factory = StoreFactory(root)
    factory.cell(factory.inputs(4, [0, 1, 2, 0]), [logits(4, 3)])
    return root


def test_columns_and_rows(store: Path) -> None:
    found = run_query(store, "SELECT environment, images + 1 AS more FROM cells")
    assert (found.columns, found.rows) == (("environment", "more"), [("onnxruntime-1.17", 5)])


@pytest.mark.parametrize("sql", ["DESCRIBE cells", "SHOW TABLES", "FROM pairs", "SUMMARIZE cells"])
def test_looking_around_is_allowed(store: Path, sql: str) -> None:
    run_query(store, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM query('COPY cells TO ''out.csv''')",
        "SELECT getenv('HOME')",
        "WITH x AS (INSERT INTO problems VALUES ('a', 'b') RETURNING *) SELECT * FROM x",
    ],
)
def test_a_select_that_reaches_outside_is_refused(store: Path, sql: str) -> None:
    with pytest.raises(UsageError):
        run_query(store, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY cells TO 'out.csv'",
        "EXPORT DATABASE 'out'",
        "ATTACH 'other.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "CREATE TABLE t AS SELECT 1",
        "CREATE TEMP TABLE t AS SELECT 1",
        "DELETE FROM cells",
        "DROP TABLE cells",
        "CHECKPOINT",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY cells TO 'out.csv'",
        "",
    ],
)
def test_what_is_not_one_select_is_refused(store: Path, sql: str) -> None:
    before = sorted(p.name for p in store.rglob("*"))
    with pytest.raises(UsageError, match="Only one SELECT"):
        run_query(store, sql)
    after = sorted(p.name for p in store.rglob("*") if p.name != "catalogue.duckdb")
    assert after == before


def test_the_store_s_other_files_are_out_of_reach_too(store: Path) -> None:
    document = next(store.rglob("cell.json"))
    with pytest.raises(UsageError):
        run_query(store, f"FROM read_text('{document}')")


def test_variables_of_the_program_are_out_of_reach(store: Path) -> None:
    secret = [1]
    with pytest.raises(UsageError):
        run_query(store, "SELECT * FROM secret")
    assert secret == [1]


def test_an_error_says_what_duckdb_said_and_which_tables_there_are(store: Path) -> None:
    with pytest.raises(UsageError, match="nothing_here") as caught:
        run_query(store, "SELECT * FROM nothing_here")
    named = set(caught.value.remedy.replace(".", ",").replace("are", ",").split(", "))
    assert {"pairs", "flips", "accuracy", "failures"} <= {name.strip() for name in named}
    assert not {"files", "meta", "t_quantiles"} & named
    with pytest.raises(UsageError, match="syntax error"):
        run_query(store, "SELEC 1")


def test_an_absent_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no results folder"):
        run_query(tmp_path / "nothing", "SELECT 1")


def test_queries_may_run_at_once(store: Path) -> None:
    first = run_query(store, "SELECT count(*) FROM images")
    assert first.rows == run_query(store, "SELECT count(*) FROM images").rows == [(4,)]
