"""Freezing real processes: all of a worker stands still, goes on, and never outlives its owner."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.errors import ExecutionError
from harness.execution import guardian as guardian_module
from harness.execution.cores import keep_off
from harness.execution.freezing import stop_family
from harness.execution.guardian import GUARDIAN, Guardian
from harness.execution.workers import ProcessWorker
from harness.paths import runner_tree

TIMEOUT_S = 120.0

# It and three others count on for ever: a child, one that left the group, one with a session of
# its own.
SPINS = """
import json, os, threading
from pathlib import Path

here = Path(os.environ["TMPDIR"])

def spin(name):
    path = here / name
    count = 0
    while True:
        count += 1
        if count % 20_000 == 0:
            path.with_suffix(".part").write_text(str(count))
            os.replace(path.with_suffix(".part"), path)

pids = {"leader": os.getpid()}
for name in ("child", "group", "session"):
    pid = os.fork()
    if pid == 0:
        if name == "group":
            os.setpgid(0, 0)
        if name == "session":
            os.setsid()
        spin(name)
    pids[name] = pid
threading.Thread(target=spin, args=("thread",), daemon=True).start()
for name in ("child", "group", "session", "thread"):
    while not (here / name).exists():
        pass
print(json.dumps({"event": "spinning", "pids": pids}), flush=True)
spin("leader")
"""


def runner_of(folder: Path, code: str) -> Path:
    """A package `runner` of one's own code."""
    package = folder / "fake" / "runner"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(code)
    return folder / "fake"


def spinning(tmp_path: Path) -> tuple[ProcessWorker, dict[str, int]]:
    worker = ProcessWorker(
        Path(sys.executable),
        runner_of(tmp_path, SPINS),
        {"kind": "probe"},
        tmp_path / "work",
        tmp_path / "s",
    )
    return worker, worker.event("spinning", TIMEOUT_S, lambda _: None)["pids"]


def counts(tmp_path: Path) -> dict[str, int]:
    folder = tmp_path / "work" / "tmp"
    names = ("leader", "thread", "child", "group", "session")
    return {name: int((folder / name).read_text()) for name in names if (folder / name).exists()}


def cpu_seconds(pids: dict[str, int]) -> dict[str, float]:
    times = {name: psutil.Process(pid).cpu_times() for name, pid in pids.items()}
    return {name: time.user + time.system for name, time in times.items()}


def until(what: Any) -> bool:
    """Whether something comes true within a minute."""
    for _ in range(600):
        if what():
            return True
        time.sleep(0.1)
    return False


def is_gone(pid: int) -> bool:
    """Whether a process has ended with all its threads; one that nobody waits for stays a zombie.

    The first thread is one already while another still ends. Only then does the kernel hang up on
    groups that the process leaves behind stopped.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    return True


@pytest.fixture
def infer_job(tmp_path: Path) -> dict[str, Any]:
    """A job of the null backend."""
    inputs = tmp_path / "x.npy"
    np.save(inputs, np.random.default_rng(0).random((4, 8), dtype=np.float32))
    model = tmp_path / "model.json"
    model.write_text(json.dumps({"classes": 5}))
    return {
        "schema_version": 1,
        "kind": "infer",
        "backend": "null",
        "model": {"path": str(model), "format": "json"},
        "inputs": {
            "kind": "array",
            "path": str(inputs),
            "count": 4,
            "normalise": None,
            "layout": None,
        },
    }


@pytest.fixture
def loaded(tmp_path: Path, infer_job: dict[str, Any]) -> Iterator[ProcessWorker]:
    worker = ProcessWorker(
        Path(sys.executable), runner_tree()[0], infer_job, tmp_path / "w", tmp_path / "w.s"
    )
    worker.event("loaded", TIMEOUT_S, lambda _: None)
    yield worker
    worker.kill()


def test_nothing_of_a_frozen_worker_runs_and_all_of_it_goes_on(tmp_path: Path) -> None:
    worker, pids = spinning(tmp_path)
    try:
        worker.freeze()
        worker.freeze()
        before, spent = counts(tmp_path), cpu_seconds(pids)
        assert {"thread", "child", "group", "session"} <= set(before)
        time.sleep(0.5)
        assert counts(tmp_path) == before
        assert cpu_seconds(pids) == spent
        worker.thaw()
        worker.thaw()

        def all_counted() -> bool:
            now = counts(tmp_path)
            return len(now) == 5 and all(now[name] > count for name, count in before.items())

        assert until(all_counted)
    finally:
        worker.kill()
    assert until(lambda: all(is_gone(pid) for pid in pids.values()))


def test_a_frozen_worker_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    worker, pids = spinning(tmp_path)
    worker.freeze()
    worker.kill()
    assert until(lambda: all(is_gone(pid) for pid in pids.values()))


def test_a_process_that_ends_while_it_is_frozen_harms_nothing(tmp_path: Path) -> None:
    worker, pids = spinning(tmp_path)
    try:
        worker.freeze()
        os.kill(pids["child"], signal.SIGKILL)
        worker.thaw()
        before = counts(tmp_path)["group"]
        assert until(lambda: counts(tmp_path)["group"] > before)
        # Those that the first process leaves behind are still found, by its session.
        os.kill(pids["leader"], signal.SIGKILL)
        assert until(lambda: is_gone(pids["leader"]))
        worker.freeze()
        assert psutil.Process(pids["group"]).status() == psutil.STATUS_STOPPED
        for name in ("group", "session"):
            os.kill(pids[name], signal.SIGKILL)
        with pytest.raises(ExecutionError) as caught:
            worker.event("never", TIMEOUT_S, lambda _: None)
        assert caught.value.signal == signal.SIGKILL
    finally:
        worker.kill()
    assert until(lambda: all(is_gone(pid) for pid in pids.values()))
    worker.freeze()
    worker.thaw()


def test_a_frozen_worker_is_thawed_by_a_command_and_by_closing(loaded: ProcessWorker) -> None:
    loaded.freeze()
    assert psutil.Process(loaded.pid).status() == psutil.STATUS_STOPPED
    reply = loaded.command({"command": "round", "iterations": 3}, TIMEOUT_S, lambda _: None)
    assert len(reply["durations_ns"]) == 3
    loaded.freeze()
    started = time.monotonic()
    loaded.close()
    # Asked to finish, it does: nobody waited for the time after which it is killed.
    assert time.monotonic() - started < 9
    assert loaded._process.returncode == 0


def test_a_process_has_no_peak_of_its_own(loaded: ProcessWorker) -> None:
    assert loaded.peak_mib() is None


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="this process may use one core only",
)
def test_a_worker_that_is_not_pinned_has_all_cores_also_while_the_harness_keeps_off_some(
    tmp_path: Path, infer_job: dict[str, Any]
) -> None:
    usable = os.sched_getaffinity(0)
    with keep_off([max(usable)]):
        worker = ProcessWorker(
            Path(sys.executable), runner_tree()[0], infer_job, tmp_path / "w", tmp_path / "w.s"
        )
        try:
            worker.event("loaded", TIMEOUT_S, lambda _: None)
            assert os.sched_getaffinity(worker.pid) == usable
        finally:
            worker.kill()


def test_stopping_finds_what_is_started_meanwhile(tmp_path: Path) -> None:
    """A chain of processes that each start the next and end, faster than any look finds them."""
    code = (
        "import os, sys, time\n"
        "print('up', flush=True)\n"
        "while True:\n"
        "    if os.fork() > 0:\n"
        "        os._exit(0) if os.getpid() != int(sys.argv[1]) else time.sleep(3600)\n"
    )
    wrapper = f"import os, sys\nsys.argv = ['x', str(os.getpid())]\nexec({code!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", wrapper], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        stop_family(process.pid)
        left = session_states(process.pid)
        assert set(left.values()) <= {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        time.sleep(0.3)
        # None is new and none goes on; a zombie may have been waited for meanwhile.
        later = session_states(process.pid)
        assert later.items() <= left.items()
        assert {pid for pid in left if left[pid] == psutil.STATUS_STOPPED} <= set(later)
    finally:
        while session_states(process.pid).keys() - {process.pid}:
            for pid in session_states(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
        process.stdout.close()


def session_states(leader: int) -> dict[int, str]:
    found = {}
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) == leader:
                found[pid] = psutil.Process(pid).status()
    return found


CONDUCTOR = """
import json, sys, time
from pathlib import Path
from harness.execution.guardian import GUARDIAN
from harness.execution.workers import ProcessWorker

folder, runner = Path(sys.argv[1]), Path(sys.argv[2])
worker = ProcessWorker(
    Path(sys.executable), runner, {"kind": "probe"}, folder / "work", folder / "s"
)
pids = worker.event("spinning", 120, lambda _: None)["pids"]
if sys.argv[3] == "frozen":
    worker.freeze()
pids["guardian"] = GUARDIAN._process.pid if GUARDIAN._process else 0
print(json.dumps(pids), flush=True)
if sys.argv[4] == "guarded":
    time.sleep(3600)
import os, signal
os.kill(pids["guardian"], signal.SIGKILL)
print("alone", flush=True)
time.sleep(3600)
"""


@contextlib.contextmanager
def conductor(
    tmp_path: Path, code: str, *, frozen: bool = True, guarded: bool = True
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, int]]]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            CONDUCTOR,
            str(tmp_path),
            str(runner_of(tmp_path, code)),
            "frozen" if frozen else "runs",
            "guarded" if guarded else "alone",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    pids: dict[str, int] = {}
    try:
        pids.update(json.loads(process.stdout.readline()))
        if not guarded:
            assert process.stdout.readline() == b"alone\n"
        yield process, pids
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)


def test_a_frozen_worker_of_a_conductor_that_was_killed_is_ended_with_all_that_it_started(
    tmp_path: Path,
) -> None:
    """None of them asks for a death signal, so it is the guardian that ends them."""
    with conductor(tmp_path, SPINS) as (process, pids):
        others = {pid for name, pid in pids.items() if name != "guardian"}
        states = {psutil.Process(pid).status() for pid in others}
        assert states == {psutil.STATUS_STOPPED}
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert until(lambda: all(is_gone(pid) for pid in pids.values()))


def test_the_kernels_death_signal_reaches_a_frozen_runner_also_where_the_guardian_is_gone(
    tmp_path: Path,
) -> None:
    real = (runner_tree()[0] / "runner" / "lifeline.py").read_text()
    code = (
        f"{real}\n"
        "import json, time\n"
        "hold_on_to_stdin()\n"
        "die_with_parent()\n"
        "print(json.dumps({'event': 'spinning', 'pids': {'leader': os.getpid()}}), flush=True)\n"
        "time.sleep(3600)\n"
    )
    with conductor(tmp_path, code, guarded=False) as (process, pids):
        assert psutil.Process(pids["leader"]).status() == psutil.STATUS_STOPPED
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert until(lambda: is_gone(pids["leader"]))


def test_a_conductor_that_freezes_nothing_has_no_guardian(tmp_path: Path) -> None:
    with conductor(tmp_path, SPINS, frozen=False) as (_, pids):
        assert pids["guardian"] == 0


def test_a_guardian_leaves_alone_what_was_released_or_is_another_process() -> None:
    spared = [
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) for _ in range(2)
    ]
    held = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    guardian = Guardian()
    try:
        created = psutil.Process(held.pid).create_time()
        guardian.hold_processes("released", [(spared[0].pid, created)])
        guardian.hold_processes("another", [(spared[1].pid, created - 100)])
        guardian.hold_processes("held", [(held.pid, created)])
        guardian.release("released")
        guardian.close()
        assert held.wait(60) == -signal.SIGKILL
        assert [process.poll() for process in spared] == [None, None]
    finally:
        for process in (*spared, held):
            process.kill()
            process.wait()


def test_a_guardian_that_was_killed_is_started_anew_with_all_that_it_held() -> None:
    held = [
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) for _ in range(2)
    ]
    guardian = Guardian()
    try:
        for number, process in enumerate(held):
            created = psutil.Process(process.pid).create_time()
            guardian.hold_processes(str(number), [(process.pid, created)])
            assert guardian._process is not None
            if number == 0:
                guardian._process.kill()
                assert until(lambda: is_gone(guardian._process.pid))
        guardian.close()
        assert [process.wait(60) for process in held] == [-signal.SIGKILL] * 2
    finally:
        for process in held:
            process.kill()
            process.wait()


def test_where_no_guardian_can_be_started_nothing_is_frozen(
    loaded: ProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    GUARDIAN.close()
    monkeypatch.setattr(guardian_module, "_start", refuse)
    with pytest.raises(ExecutionError, match="temporarily unavailable") as caught:
        loaded.freeze()
    assert caught.value.kind == "environment"
    assert psutil.Process(loaded.pid).status() != psutil.STATUS_STOPPED
    loaded.command({"command": "round", "iterations": 1}, TIMEOUT_S, lambda _: None)
