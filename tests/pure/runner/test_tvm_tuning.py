"""Tuning TVM's kernels with a made-up tuner: the budget, what is kept, and a tuner that crashes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.support.tvm_tuner import per_round, population

# Measures candidates as TVM's tuner does: each is a line of the database at once.
TUNER = """
import json, os, signal, sys
order = json.load(open(sys.argv[1]))
assert json.load(open(order["module"])) == "module"
os.makedirs(order["database"], exist_ok=True)
faults = os.path.join(os.path.dirname(__file__), "faults.json")
after, fault = json.load(open(faults)) if os.path.exists(faults) else (None, None)
with open(os.path.join(order["database"], "records.json"), "a") as file:
    for index in range(order["trials"]):
        if index == after:
            file.flush()
            print("the tuner's last words")
            os.kill(os.getpid(), signal.SIGSEGV) if fault == "crash" else sys.exit(3)
        seconds = [1e10] if index == 1 or fault == "slow" else [0.001, 0.002]
        file.write(json.dumps([0, [["trace"], seconds, {}, []]]) + chr(10))
json.dump({"tasks": 2, "faults": ["first\\nTimeout"]}, open(order["done"], "w"))
"""

Tune = Callable[..., tuple[Any, dict[str, Any]]]


class Database:
    """What TVM looks into, while it is open."""

    def __init__(self, **paths: str) -> None:
        self.paths = paths

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


@contextmanager
def target() -> Iterator[None]:
    yield


@pytest.fixture
def tune(
    with_framework: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Tune:
    """Tune a module: `tune(trials)`; the made-up tuner and its faults lie in `tmp_path`."""
    tvm: Any = ModuleType("tvm")
    tvm.ir = SimpleNamespace(save_json=json.dumps)
    relax: Any = ModuleType("tvm.relax")
    relax.transform = SimpleNamespace(
        MetaScheduleApplyDatabase=lambda: lambda module: f"tuned {module}"
    )
    database: Any = ModuleType("tvm.s_tir.meta_schedule.database")
    database.JSONDatabase = Database
    found: Any = with_framework(
        "runner.support.tvm_tuning",
        tvm=tvm,
        tvm__relax=relax,
        tvm__s_tir__meta_schedule__database=database,
        tvm__s_tir__tensor_intrin=ModuleType("tvm.s_tir.tensor_intrin"),
    )
    program = tmp_path / "tuner.py"
    program.write_text(TUNER)
    monkeypatch.setattr(found, "_PROGRAM", (str(program),))
    budget = found.Budget

    def begin(trials: int) -> tuple[Any, dict[str, Any]]:
        given: tuple[Any, dict[str, Any]] = found.tune(
            "module", target(), budget(trials, 2, str(tmp_path / "cache"))
        )
        return given

    return begin


def test_a_budget_is_spent_once_and_the_database_taken_from_then_on(tune: Tune) -> None:
    module, cold = tune(5)
    assert module == "tuned module"
    assert (cold["records"], cold["records_failed"], cold["records_found"]) == (5, 1, 0)
    assert (cold["trials"], cold["kernels"]) == (5, 2)
    _, warm = tune(5)
    assert (warm["records"], warm["records_found"]) == (5, 5)
    assert warm["database_sha256"] == cold["database_sha256"]


def test_a_larger_budget_goes_on_from_what_was_measured(tune: Tune) -> None:
    tune(5)
    _, larger = tune(8)
    assert (larger["records_found"], larger["records"]) == (5, 8)


def test_a_tuner_that_crashes_is_named_with_what_it_left_and_goes_on_when_asked_again(
    tune: Tune, tmp_path: Path
) -> None:
    (tmp_path / "faults.json").write_text(json.dumps([3, "crash"]))
    with pytest.raises(RunnerError, match=r"ended by SIGSEGV; 3 of 8 trials") as caught:
        tune(8)
    assert caught.value.kind == "signal"
    (tmp_path / "faults.json").unlink()
    _, again = tune(8)
    assert (again["records_found"], again["records"]) == (3, 8)


def test_a_record_that_a_killed_tuner_wrote_half_of_is_dropped(tune: Tune, tmp_path: Path) -> None:
    tune(5)
    records = tmp_path / "cache" / "metaschedule" / "records.json"
    whole = records.read_text()
    records.write_text(whole + whole.splitlines()[0][:9])
    _, larger = tune(8)
    assert (larger["records_found"], larger["records"]) == (5, 8)


def test_a_tuner_that_fails_is_told_by_its_last_words(tune: Tune, tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text(json.dumps([0, "exit"]))
    with pytest.raises(RunnerError, match=r"ended with 3: the tuner's last words") as caught:
        tune(8)
    assert caught.value.kind == "backend"
    assert not (tmp_path / "cache" / "metaschedule" / "done.json").exists()


def test_a_tuner_whose_candidates_all_failed_says_why_and_its_database_is_not_taken(
    tune: Tune, tmp_path: Path
) -> None:
    (tmp_path / "faults.json").write_text(json.dumps([None, "slow"]))
    with pytest.raises(RunnerError, match=r"none of the 4 candidates .* ran: Timeout") as caught:
        tune(4)
    assert caught.value.kind == "backend"
    (tmp_path / "faults.json").unlink()
    _, again = tune(4)
    assert (again["records_found"], again["records"]) == (0, 4)


@pytest.mark.parametrize(("each", "thought_of"), [(1, 32), (8, 128), (64, 512)])
def test_a_round_thinks_of_no_more_candidates_than_its_measurements_are_worth(
    each: int, thought_of: int
) -> None:
    assert population(each) == thought_of


@pytest.mark.parametrize(("trials", "tasks", "each"), [(256, 30, 8), (10, 30, 1), (10_000, 30, 64)])
def test_each_kernel_has_its_turn_before_one_has_a_second(
    trials: int, tasks: int, each: int
) -> None:
    assert per_round(trials, tasks) == each
