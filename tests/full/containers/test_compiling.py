"""Compiling in real containers: variables, the cell's cache, and costs, as in a process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.containers import TIMEOUT_S, Open, ignore

from harness.containers.limits import Limits
from harness.errors import ExecutionError

Job = Callable[..., dict[str, Any]]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cell's folder, as the conductor makes it."""
    folder = tmp_path / "caches" / "ab" / "batch-1"
    folder.mkdir(parents=True)
    return folder


def test_variables_reach_a_container_and_are_told(open_worker: Open, null_job: Job) -> None:
    variables = {"HARNESS_SAID": "it's; $HOME", "OTHER": ""}
    job = {**null_job(), "settings": {"variables": variables}}
    loaded = open_worker(job, variables=variables).event("loaded", TIMEOUT_S, ignore)
    assert loaded["ran"]["settings"]["variables"] == variables


def test_a_cache_outlives_its_container_and_is_warm_in_the_next(
    open_worker: Open, null_job: Job, cache: Path
) -> None:
    job = {**null_job(compiling={"keeps": True}), "cache": str(cache)}
    states = []
    for _ in range(2):
        worker = open_worker(job)
        states.append(worker.event("loaded", TIMEOUT_S, ignore)["compile_cache"])
        worker.close()
    assert states == ["cold", "warm"]
    assert (cache / "kept").read_text() == "compiled"


def test_what_a_container_keeps_counts_with_what_it_writes(
    open_worker: Open, null_job: Job, cache: Path
) -> None:
    (cache / "large").write_bytes(bytes(3 << 20))
    job = {**null_job(compiling={"fault": "hang"}), "cache": str(cache)}
    worker = open_worker(job, limits=Limits(output_bytes=2 << 20))
    with pytest.raises(ExecutionError) as caught:
        worker.event("loaded", TIMEOUT_S, ignore)
    assert caught.value.kind == "output-limit"


def test_a_fingerprint_is_that_of_a_process(open_worker: Open, null_job: Job) -> None:
    job = {**null_job(), "fingerprint": True}
    found = [open_worker(job).event("loaded", TIMEOUT_S, ignore)["compiled"] for _ in range(2)]
    assert found[0] == found[1]
    assert found[0]["operators"] == {"linear": 1}
