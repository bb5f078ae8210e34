"""Each benchmark runs to its last line, with as little work as it can do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.environment_python import interpreter

_REPOSITORY = Path(__file__).resolve().parents[3]


def run(
    name: str, data: Path | None = None, least: float = sys.float_info.min
) -> tuple[dict[str, Any], str]:
    """Its last line, and what it said to a person."""
    environment = dict(os.environ, HARNESS_BENCHMARK_QUICK="1")
    if data is not None:
        environment["HARNESS_TEST_DATA"] = str(data)
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=_REPOSITORY,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = done.stdout.splitlines()
    told: dict[str, Any] = json.loads(line)
    assert list(told) == ["name", "ratio", "low", "high", "unit"]
    assert told["name"] == name
    assert least <= told["low"] <= told["ratio"] <= told["high"]
    return told, done.stderr


def test_a_query_that_does_nothing() -> None:
    _, said = run("null_query")
    for what in ("recorded", "computing", "in all", "empty call", "empty call, unclocked"):
        assert f"{what}: " in said


def test_the_runner_beside_a_bare_loop(real_data: Path) -> None:
    interpreter("onnxruntime-1.31")
    _, said = run("runner_overhead", real_data)
    assert "SqueezeNet, batch 1: " in said
    assert "  runner: " in said
    if "Polygraphy is left out: " not in said:
        assert "  polygraphy: " in said
        assert "  polygraphy, by its own clock: " in said


def test_a_sweep_beside_its_parts(real_data: Path) -> None:
    interpreter("onnxruntime-1.31")
    told, said = run("orchestration", real_data)
    # The parts are inside the wall time, whatever the machine does.
    assert told["ratio"] > 1
    for part in ("start and import", "load", "answers", "warm up", "measuring"):
        seconds = float(said.partition(f"  {part}: ")[2].split()[0])
        assert seconds > 0, part


def test_the_same_cell_twice(real_data: Path) -> None:
    interpreter("onnxruntime-1.31")
    told, said = run("false_verdicts", real_data, least=0)
    assert "1 of 1: 0 false verdicts" in said
    # Two rounds are too few for any verdict.
    assert "INVALID: 1 of 1" in said
    assert "the second against the first: median " in said
    assert (told["ratio"], told["low"]) == (0, 0)


def test_known_slowdowns(real_data: Path) -> None:
    interpreter("onnxruntime-1.31")
    _, said = run("known_slowdowns", real_data)
    for name in ("3 % longer", "without graph optimisations", "two threads"):
        assert f"{name}: " in said
    assert said.count("  said:  unknown, ") == 3
    assert said.count("  truth: ") == 3


def test_a_busy_machine(real_data: Path) -> None:
    interpreter("onnxruntime-1.31")
    _, said = run("busy_machine", real_data)
    for where in ("on the timed core", "on any core"):
        assert f"with a program {where} the ratio is " in said
    assert said.count("INVALID (") == 6


def test_the_originals_way_beside_ours(real_data: Path) -> None:
    interpreter("onnxruntime-1.31")
    _, said = run("original_way", real_data)
    for way in ("the original's way", "ours, answers only", "ours with times"):
        assert said.count(f"{way}: ") >= 2, way
    assert "4 images; answers only: " in said


def test_a_sweep_with_a_budget(real_data: Path) -> None:
    interpreter("onnxruntime-1.31")
    _, said = run("budget", real_data)
    assert "all of it would take" in said
    assert "of 500 images" in said
