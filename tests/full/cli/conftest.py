"""Running the `harness` command with the real engine and the user's own caches.

Images and wheels are made once for all runs of the tests on a machine; what an environment holds
is checked by its identity, so nothing stale is used.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command import Harness, harness_in

from harness.containers.engine import Engine


@pytest.fixture
def harness(engine: Engine, tmp_path: Path) -> Harness:
    """`harness ARGUMENTS…` in a folder of the test's own, where an engine answers."""
    surroundings = {k: v for k, v in os.environ.items() if k != "HARNESS_EXECUTOR"}
    return harness_in(tmp_path, {**surroundings, "COLUMNS": "160"})
