"""What resuming saves: the quick sweep in a fresh store against the same command again.

    python benchmarks/resume.py [ROUNDS]

Prints the ratio of the two wall-clock times (geometric mean over rounds, 95 % t interval on its
logarithm). Environments are built before the first round, so that only running and timing count.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scipy import stats


def timed(store: Path) -> float:
    """Seconds that one `harness sweep --store STORE` takes."""
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "harness.cli.main", "sweep", "--json", "--store", str(store)],
        check=True,
        capture_output=True,
    )
    return time.monotonic() - started


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    logs = []
    with tempfile.TemporaryDirectory() as folder:
        timed(Path(folder) / "warm")
        for number in range(rounds):
            store = Path(folder) / str(number)
            first, again = timed(store), timed(store)
            logs.append(math.log(first / again))
            print(f"round {number}: first {first:.1f} s, again {again:.1f} s")
    centre = statistics.fmean(logs)
    half = 0.0
    if rounds > 1:
        quantile = float(stats.t.ppf(0.975, rounds - 1))
        half = quantile * statistics.stdev(logs) / math.sqrt(rounds)
    low, high = math.exp(centre - half), math.exp(centre + half)
    print(f"first / again: {math.exp(centre):.1f} (95 % interval {low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
