"""Fixtures for all rings."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.side_by_side import (
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
    pytest_xdist_make_scheduler,
)

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_xdist_make_scheduler",
    "real_data",
]

REPOSITORY = Path(__file__).resolve().parent.parent

# What a shell starts in the background ignores interrupts, and so would all that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with `data/` and `models/`; the test is skipped where there is none."""
    named = os.environ.get("HARNESS_TEST_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared"
    if not (folder / "models").is_dir() or not (folder / "data").is_dir():
        reason = f"no data/ and models/ in {folder}: set HARNESS_TEST_DATA"
        if os.environ.get("CI"):
            pytest.fail(f"{reason} (nothing is skipped in CI)")
        pytest.skip(reason)
    return folder.resolve()
