"""What resuming saves: the quick sweep in a fresh store against the same command again.

    python -m benchmarks.resume [--json]

The ratio of the two wall-clock times: the geometric mean over three rounds, with a t interval.
Environments are built before the first round, so that only running and timing count.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import _common

ROUNDS = 3


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
    report = _common.begin("resume", __doc__)
    logs = []
    with tempfile.TemporaryDirectory() as folder:
        timed(Path(folder) / "warm")
        for number in range(2 if _common.quick() else ROUNDS):
            store = Path(folder) / str(number)
            first, again = timed(store), timed(store)
            logs.append(math.log(first / again))
            report.say(f"round {number}: first {first:.1f} s, again {again:.1f} s")
    report.end(_common.estimate(logs), "wall time of a first sweep / of the same again")


if __name__ == "__main__":
    main()
