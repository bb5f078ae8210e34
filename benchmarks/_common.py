"""What the benchmarks share: the data, environments, members that are timed, the last line."""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scipy import stats

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.environments.uv import run_uv
from harness.environments.variables import runner_variables
from harness.execution.workers import ProcessWorker
from harness.paths import runner_tree, shipped
from harness.progress import SilentProgress

REPOSITORY = shipped("runner").parent
LOOPS = Path(__file__).parent / "loops"
_TIMEOUT_S = 300.0


def quick() -> bool:
    """Whether to do as little as shows that a benchmark works: HARNESS_BENCHMARK_QUICK is set."""
    return bool(os.environ.get("HARNESS_BENCHMARK_QUICK"))


def data(name: str) -> Path:
    """A file or folder of the test data: HARNESS_TEST_DATA, by default ../shared."""
    found = Path(os.environ.get("HARNESS_TEST_DATA", REPOSITORY.parent / "shared")) / name
    if not found.exists():
        sys.exit(f"There is no {found}: name the folder that holds {name} with HARNESS_TEST_DATA.")
    return found


def interpreter(environment: str) -> Path:
    """The Python of an environment that ships, built if it is not there yet."""
    return Path(provision(resolve(environment), SilentProgress()).python)


def install(package: str, python: Path, folder: Path) -> None:
    """Install a package for an interpreter into a folder beside it, without what it depends on.

    Raises:
        UvError: it cannot be had.
    """
    wanted = ["--python", str(python), "--target", str(folder), "--no-deps", package]
    run_uv(["pip", "install", *wanted])


@dataclass(frozen=True)
class Estimate:
    """A ratio with its 95 % interval."""

    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.4f} ({self.low:.4f} to {self.high:.4f})"


def estimate(log_ratios: Sequence[float]) -> Estimate:
    """The geometric mean of ratios, with a t interval on its logarithm.

    Args:
        log_ratios: natural logarithms, one a round, independent of each other; at least two.
    """
    count = len(log_ratios)
    if count < 2:
        msg = f"an interval takes at least two rounds, not {count}"
        raise ValueError(msg)
    centre = statistics.fmean(log_ratios)
    quantile = float(stats.t.ppf(0.975, count - 1))
    half = quantile * statistics.stdev(log_ratios) / math.sqrt(count)
    return Estimate(*(math.exp(value) for value in (centre, centre - half, centre + half)))


class Report:
    """What a benchmark says: lines for a person, and one for a program at the end.

    Args:
        name: of the benchmark.
        only_json: whether standard output holds that last line and nothing else; the lines for a
            person go to standard error then.
    """

    def __init__(self, name: str, *, only_json: bool) -> None:
        self._name, self._only_json = name, only_json

    def say(self, text: str) -> None:
        """Write a line for a person."""
        print(text, file=sys.stderr if self._only_json else sys.stdout, flush=True)

    def end(self, found: Estimate, unit: str) -> None:
        """Write the result: a ratio without a dimension, `unit` says of what to what."""
        document = {
            "name": self._name,
            "ratio": found.ratio,
            "low": found.low,
            "high": found.high,
            "unit": unit,
        }
        self.say(f"{self._name}: {found}, {unit}")
        if self._only_json:
            print(json.dumps(document), flush=True)


def begin(name: str, about: str | None) -> Report:
    """Read the command line, which has one option."""
    return Report(name, only_json=_parser(name, about).parse_args().json)


def begin_repeated(
    name: str, about: str | None, repetitions: int, switches: Mapping[str, str]
) -> tuple[Report, argparse.Namespace]:
    """Read the command line of a benchmark that can be told how often to repeat.

    Args:
        name: of the benchmark.
        about: its docstring.
        repetitions: how often unless told; once with HARNESS_BENCHMARK_QUICK.
        switches: its own options without values, each with what it does.

    Returns:
        The report, and `repetitions` with the switches under their names.
    """
    parser = _parser(name, about)
    usual = 1 if quick() else repetitions
    parser.add_argument(
        "--repetitions", type=int, default=usual, help=f"how often (default {repetitions})"
    )
    for switch, does in switches.items():
        parser.add_argument(switch, action="store_true", help=does)
    given = parser.parse_args()
    if given.repetitions < 1:
        parser.error("--repetitions is 1 or more")
    return Report(name, only_json=given.json), given


def _parser(name: str, about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=(about or "").splitlines()[0]
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result alone, as one line of JSON"
    )
    return parser


class Loop:
    """A program of `loops/` in a process of its own; between its turns it waits for a line.

    Args:
        python: the interpreter that runs it.
        program: the file's name.
        arguments: what it is told.
        work: a folder of its own.
        cores: what it is pinned to.
        beside: a folder with more packages, or None.
    """

    def __init__(
        self,
        python: Path,
        program: str,
        arguments: Mapping[str, Any],
        work: Path,
        cores: Sequence[int],
        beside: Path | None = None,
    ) -> None:
        work.mkdir(parents=True)
        self._log = work / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), str(LOOPS / program), json.dumps(arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=work,
                # The variables of a cell: what is compared is not how libraries are configured.
                env=runner_variables(work, beside or work),
            )
        os.sched_setaffinity(self._process.pid, cores)

    def loaded(self) -> dict[str, Any]:
        """Wait until it is ready, and give what it says of itself."""
        return self._read()

    def times(self, iterations: int, warmup: int) -> dict[str, Any]:
        """A turn: `durations_ns` of each iteration, and what else the program tells."""
        assert self._process.stdin is not None
        asked = json.dumps({"iterations": iterations, "warmup": warmup})
        self._process.stdin.write(asked.encode() + b"\n")
        self._process.stdin.flush()
        return self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            msg = f"{self._process.args!r} ended with status {status}:\n{said}"
            raise RuntimeError(msg)
        found: dict[str, Any] = json.loads(line)
        return found


class Runner:
    """The runner in a process of its own, started and asked as a sweep does.

    Args:
        python: the interpreter that runs it.
        job: its `infer` document, without `work` and `socket`.
        work: a folder of its own.
        sockets: where its socket is made; a short path.
        cores: what it is pinned to.
    """

    def __init__(
        self, python: Path, job: Mapping[str, Any], work: Path, sockets: Path, cores: Sequence[int]
    ) -> None:
        socket = sockets / f"{work.name}.sock"
        self._worker = ProcessWorker(python, runner_tree()[0], job, work, socket, cores)

    def loaded(self) -> dict[str, Any]:
        """Wait until it is ready, and give its event `loaded`."""
        return self._worker.event("loaded", _TIMEOUT_S, lambda _: None)

    def times(self, iterations: int, warmup: int) -> dict[str, Any]:
        """A turn: the reply to the command `round`."""
        command = {"command": "round", "iterations": iterations, "warmup": warmup}
        return self._worker.command(command, _TIMEOUT_S, lambda _: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._worker.kill()


Timed = Loop | Runner
Start = Callable[[Path], Timed]
"""Starts a member that is timed, with a folder of its own."""
