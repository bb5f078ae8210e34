"""What a sweep does not import before its first cell is at work."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        # It begins anew for each group, and who waits for it are the cells.
        ("harness.execution.conductor", ("docker", "duckdb", "pynvml", "scipy")),
        ("harness.execution.sweep", ("scipy.stats", "scipy.io", "tflite", "cyclonedx")),
    ],
)
def test_what_is_heavy_waits_until_cells_are_at_work(module: str, heavy: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print(*[n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_what_a_sweep_ends_with_is_imported_once_its_first_group_was_started() -> None:
    program = """
import sys
from pathlib import Path
from types import SimpleNamespace
from harness.cli.sweep import _import_the_end
from harness.execution.groups import Groups

class Executor:
    def submit(self, group):
        print("submitted", "scipy.stats" in sys.modules)
        return "group"
    def poll(self, name, timeout_s):
        print("polled", "scipy.stats" in sys.modules)
        return SimpleNamespace(running=False, events=())
    def fetch(self, name):
        return Path()

run = Groups(None, None, None, SimpleNamespace(stacks=SimpleNamespace(ready={})), None, Executor(), _import_the_end)
class Listener:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def ended(self, document, log): pass
run._follow(None, Listener())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["submitted False", "polled True"]
