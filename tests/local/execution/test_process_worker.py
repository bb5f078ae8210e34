"""A worker that is a process: what it is started with, and how all that it left is ended."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from harness.errors import ExecutionError
from harness.execution import memory
from harness.execution.workers import ProcessWorker


def test_a_worker_gets_the_variables_asked_for_and_none_of_the_persons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_SECRET", "x")
    package = tmp_path / "fake" / "runner"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import json, os\n"
        "print(json.dumps({'event': 'seen', 'environment': dict(os.environ)}), flush=True)\n"
    )
    worker = ProcessWorker(
        Path(sys.executable),
        tmp_path / "fake",
        {"kind": "probe"},
        tmp_path / "work",
        tmp_path / "s",
        environment={"CUDA_VISIBLE_DEVICES": "GPU-1"},
    )
    seen = worker.event("seen", 240, lambda _: None)["environment"]
    worker.close()
    assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert seen["HOME"] == str(tmp_path / "work" / "home")
    assert "HARNESS_SECRET" not in seen


LEAVES_A_CHILD = """
import json, os, sys, time

if os.fork() == 0:
    parent = os.getpid()
    if os.fork() > 0:
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.01)
    if {regroup}:
        os.setpgid(0, 0)
    print(json.dumps({{"event": "left", "pid": os.getpid()}}), flush=True)
    held = bytearray({mib} << 20)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(300)
os.wait()
time.sleep(300)
"""


def leaving(tmp_path: Path, *, mib: int, regroup: bool, memory_mib: int | None) -> ProcessWorker:
    """A worker whose grandchild goes on without a parent."""
    package = tmp_path / "fake" / "runner"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(LEAVES_A_CHILD.format(mib=mib, regroup=regroup))
    return ProcessWorker(
        Path(sys.executable),
        tmp_path / "fake",
        {"kind": "probe"},
        tmp_path / "work",
        tmp_path / "s",
        memory_mib=memory_mib,
    )


def is_gone(pid: int) -> bool:
    """Whether a process ends within some seconds; one that nobody waits for stays a zombie."""
    for _ in range(100):
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.1)
                continue
        return True
    return False


@pytest.mark.parametrize("regroup", [False, True])
def test_a_process_that_outlives_its_parent_is_ended_with_the_worker(
    tmp_path: Path, regroup: bool
) -> None:
    worker = leaving(tmp_path, mib=1, regroup=regroup, memory_mib=None)
    left = int(worker.event("left", 60, lambda _: None)["pid"])
    assert left not in {child.pid for child in psutil.Process(worker.pid).children(recursive=True)}
    worker.kill()
    assert is_gone(left)


def test_a_process_that_outlives_its_parent_counts(tmp_path: Path) -> None:
    worker = leaving(tmp_path, mib=300, regroup=True, memory_mib=200)
    left = int(worker.event("left", 60, lambda _: None)["pid"])
    with pytest.raises(ExecutionError, match="more than the 200 MiB") as error:
        worker.event("never", 60, lambda _: None)
    worker.kill()
    assert error.value.kind == "out-of-memory"
    assert is_gone(left)


def test_a_look_that_fails_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    ended = threading.Event()
    errors = [psutil.AccessDenied(1), OSError(24, "Too many open files"), psutil.Error()]

    def resident(process: psutil.Process) -> int:
        looks.append(process.pid)
        if errors:
            raise errors.pop()
        return 2 << 20

    monkeypatch.setattr(memory, "_resident", resident)
    watch = memory.MemoryWatch(os.getpid(), 1, ended.set)
    assert ended.wait(10)
    assert (watch.exceeded_mib, len(looks)) == (2, 4)


def test_the_watch_ends_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def resident(process: psutil.Process) -> int:
        looks.append(process.pid)
        raise psutil.NoSuchProcess(process.pid)

    monkeypatch.setattr(memory, "_resident", resident)
    before = set(threading.enumerate())
    watch = memory.MemoryWatch(os.getpid(), 1, lambda: None)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()
    assert looks == [os.getpid()]
    assert watch.exceeded_mib is None
