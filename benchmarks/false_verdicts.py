"""How often a difference is claimed where there is none: the same cell twice, many times over.

    python -m benchmarks.false_verdicts [--json] [--repetitions 200] [--fresh-processes]

The cell: SqueezeNet in ONNX Runtime 1.31, one photograph a call, one thread. It is there twice under
two names (`loops/paced.py`), and a third time as the control, which is always there. Each repetition
is a session of its own: three fresh processes, warm-up, 16 balanced rounds of about 60 ms a cell,
shorter than by default, which makes a round's median less certain. Sessions are run by
`harness sweep`, ten to a sweep: ten copies of the model that differ in a word of documentation.
With `--fresh-processes` each round has three fresh processes of its own.

A false verdict is "faster" or "slower". A session that is INVALID says nothing, and is counted as a
repetition without a false verdict; how many there were is told beside, with the rate over the VALID
ones alone. How widely the ratios of equal cells scatter is told too, for the second cell and for the
control: processes of the same program differ for as long as they live.

The result is false verdicts by repetitions, with its Clopper-Pearson interval of 95 %. Their number
is 40 unless told otherwise, which takes about six minutes; with as few, the interval is wide.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from scipy import stats

from benchmarks import _common, _pairs

REPETITIONS = 40
_TOGETHER = 10
_TIMING = {"rounds": 16, "round_seconds": 0.06, "min_seconds": 0.96}
_CLAIMS = ("faster", "slower")
_SWITCHES = {"--fresh-processes": "time each round in processes of its own"}


def rate(found: int, of: int) -> _common.Estimate:
    """A share with its Clopper-Pearson interval of 95 %."""
    interval = stats.binomtest(found, of).proportion_ci(0.95, method="exact")
    return _common.Estimate(found / of, float(interval.low), float(interval.high))


def scatter(ratios: Sequence[float]) -> str:
    """How far ratios are from 1, in words."""
    apart = sorted(math.expm1(abs(math.log(ratio))) for ratio in ratios)
    often = apart[math.ceil(0.95 * len(apart)) - 1]
    return f"median {statistics.median(apart):.2%} from 1, 95 % within {often:.2%}, all within {apart[-1]:.2%}"


def repeated(
    python: Path, repetitions: int, top: Path, *, fresh: bool
) -> Iterator[list[_pairs.Said]]:
    """What is said of the same cell twice, sweep by sweep."""
    timing = {**_TIMING, **(_pairs.QUICK if _common.quick() else {}), "fresh_processes": fresh}
    done = 0
    while done < repetitions:
        folder = top / str(done)
        folder.mkdir()
        count = min(_TOGETHER, repetitions - done)
        sweep = _pairs.sweep_of(_pairs.paced(python, "again"), timing, folder, copies=count)
        yield _pairs.run(sweep, folder)
        done += count


def main() -> None:
    """Measure and print."""
    report, given = _common.begin_repeated("false_verdicts", __doc__, REPETITIONS, _SWITCHES)
    repetitions = given.repetitions
    found: list[_pairs.Said] = []
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        python = _pairs.paced_interpreter(top / "paced")
        for said in repeated(python, repetitions, top, fresh=given.fresh_processes):
            found += said
            claims = sum(one.verdict in _CLAIMS for one in found)
            report.say(f"{len(found)} of {repetitions}: {claims} false verdicts")
            for one in said:
                if one.verdict in _CLAIMS or not one.valid:
                    report.say(f"  {one}")
    valid = [one for one in found if one.valid]
    claims = sum(one.verdict in _CLAIMS for one in found)
    report.say(f"the second against the first: {scatter([one.estimate.ratio for one in found])}")
    report.say(f"noise floors: up to {max(one.floor for one in found):.1%}")
    report.say(f"INVALID: {len(found) - len(valid)} of {len(found)}")
    if valid:
        report.say(f"false verdicts by VALID sessions: {rate(claims, len(valid))}")
    report.end(rate(claims, len(found)), "false verdicts / repetitions of the same cell twice")


if __name__ == "__main__":
    main()
