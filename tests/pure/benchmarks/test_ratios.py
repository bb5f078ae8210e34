"""What the benchmarks compute from what they measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import pytest

from benchmarks import null_query, orchestration, original_way, runner_overhead
from benchmarks._common import Estimate


def noted(at_s: float, event: str, **fields: Any) -> dict[str, Any]:
    return {"at_s": at_s, "event": {"event": event, **fields}}


LOADED = {
    "load_ns": 100_000_000,
    "compile_ns": 200_000_000,
    "first_inference_ns": 50_000_000,
    "prove_ns": 30_000_000,
}


def test_parts_are_what_cells_did_and_nothing_between_them() -> None:
    events = [
        noted(10.0, "opening", key="a"),
        noted(10.1, "worker", key="a", pid=1),
        noted(12.0, "answering", key="a"),
        noted(15.0, "answered", key="a", loaded=LOADED, reply={"duration_ns": 2_500_000_000}),
        noted(20.0, "opening", key="b"),
        noted(20.1, "worker", key="b", pid=2),
        noted(21.0, "compiled", key="b"),
        noted(29.0, "timing"),
    ]
    session = {
        "warmup": {"a": {"command_ns": 400_000_000}, "b": {"command_ns": 600_000_000}},
        "turns": [
            {"slices": [[0, 250_000_000]]},
            {"slices": [[300_000_000, 550_000_000]]},
        ],
        "stages": {
            "a": {"stages": {"compute": {"samples_ns": [10_000_000, 20_000_000]}}},
            "b": {"stages": {}, "failed": "no"},
        },
    }
    found = orchestration.parts_of(events, [session])
    assert found.load == pytest.approx(0.35)
    assert found.start_and_import == pytest.approx(2.0 + 1.0 - 0.35 - 0.03)
    assert found.answers == pytest.approx(2.5)
    assert found.warm_up == pytest.approx(1.0)
    assert found.measuring == pytest.approx(0.53)
    # Proving is inside the opening, and no part.
    assert found.total == pytest.approx(3.0 - 0.03 + 2.5 + 1.0 + 0.53)


def test_the_sweep_has_twelve_cells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HARNESS_BENCHMARK_QUICK", raising=False)
    monkeypatch.setattr("benchmarks._common.data", lambda name: tmp_path / name)
    document = orchestration.spec()
    (environment,) = document["environments"]
    assert len(document["models"]) * len(environment["settings"]) == 12
    assert len({str(one) for one in environment["settings"]}) == 6


def test_the_worst_ratio_is_furthest_from_one_to_either_side() -> None:
    near, slower, faster = (Estimate(r, r, r) for r in (1.001, 1.02, 1 / 1.03))
    assert runner_overhead.worst([near, slower, faster]) == faster
    assert runner_overhead.worst([near, slower]) == slower


def test_what_is_compared_is_the_median_over_neighbouring_turns_of_a_round() -> None:
    case = runner_overhead.Case("x", {})
    case.medians_ns = {
        "bare": [[100.0, 300.0, 100.0], [200.0, 200.0, 200.0]],
        "runner": [[102.0, 306.0, 500.0], [204.0, 204.0, 100.0]],
    }
    assert case.against_bare("runner").ratio == pytest.approx(1.02)
    assert case.against_bare("runner").high == pytest.approx(1.02)


class Planted:
    """A member whose calls take what they are said to."""

    def __init__(self, work: Path, duration_ns: int, log: list[str]) -> None:
        self._name, self._duration_ns, self._log = work.name, duration_ns, log

    def __enter__(self) -> Self:
        self._log.append(f"start {self._name}")
        return self

    def __exit__(self, *_: object) -> None:
        self._log.append(f"end {self._name}")

    def loaded(self) -> dict[str, Any]:
        return {}

    def times(self, iterations: int, warmup: int) -> dict[str, Any]:
        self._log.append(f"{self._name} {iterations} {warmup}")
        return {"durations_ns": [self._duration_ns] * iterations}


def test_a_round_starts_anew_and_gives_turns_in_balanced_orders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HARNESS_BENCHMARK_QUICK", raising=False)
    log: list[str] = []
    case = runner_overhead.Case(
        "x",
        {
            "bare": lambda work: Planted(work, 20_000_000, log),  # type: ignore[dict-item, return-value]
            "runner": lambda work: Planted(work, 22_000_000, log),  # type: ignore[dict-item, return-value]
        },
    )
    runner_overhead.take_round(case, [1, 0], tmp_path)
    # A turn is of 0.1 s: five calls of the member that was started first.
    there, back = ("runner 5 1", "bare 5 1"), ("bare 5 1", "runner 5 1")
    turns = (*there, *back, *back, *there, *there, *back)
    assert log == [
        *("start runner", "start bare"),
        *("runner 1 1", "runner 5 0", "bare 1 1", "bare 5 0"),
        *turns,
        *("end bare", "end runner"),
    ]
    assert case.medians_ns == {"runner": [[22_000_000] * 6], "bare": [[20_000_000] * 6]}


def test_a_query_is_told_by_its_median_its_computing_and_its_whole() -> None:
    reply = {"durations_ns": [90, 100, 100, 102, 5_000], "cpu_ns": 4_000}
    assert null_query.of_runner(reply, 4, 8_000) == {
        "recorded": 100,
        "recorded, middle half": pytest.approx(302 / 3),
        "computing": 1_000,
        "in all": 2_000,
    }
    told = null_query.of_loop({"durations_ns": [50, 60, 70, 80], "loop_ns": 200})
    assert told == {
        "empty call": 65,
        "empty call, middle half": 65,
        "empty call, unclocked": 50,
    }


def test_a_cache_without_pixels_has_all_else(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in ("pixels", "venvs", "runner"):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_text(name)
    made = original_way.without_pixels(cache, tmp_path / "made")
    assert sorted(path.name for path in made.iterdir()) == ["runner", "venvs"]
    assert (made / "venvs" / "file").read_text() == "venvs"


def test_the_original_is_compared_by_wall_time() -> None:
    found = original_way._ratio([40.0, 90.0], [10.0, 10.0])
    assert found.ratio == pytest.approx(math.sqrt(4 * 9))
