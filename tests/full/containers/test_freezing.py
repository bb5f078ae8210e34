"""Real containers that are paused: they stand still, go on, end, and never outlive their owner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from support.containers import PYTHON, TIMEOUT_S, Open, exists, ignore

from harness.containers import strays
from harness.containers.engine import Engine
from harness.containers.limits import Limits
from harness.containers.strays import Place, remove_strays
from harness.errors import ExecutionError
from harness.execution.container_worker import ContainerWorker
from harness.paths import runner_tree

Job = Callable[..., dict[str, Any]]
Runner = Callable[[str], Path]

COUNTS = """
import json, os
print(json.dumps({"event": "loaded"}), flush=True)
count = 0
while True:
    count += 1
    if count % 20_000 == 0:
        with open("/work/part", "w") as file: file.write(str(count))
        os.replace("/work/part", "/work/count")
"""


def count_of(worker: ContainerWorker) -> int:
    deadline = time.monotonic() + TIMEOUT_S
    while not (worker.work / "count").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return int((worker.work / "count").read_text())


def grows(worker: ContainerWorker, beyond: int) -> bool:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if count_of(worker) > beyond:
            return True
        time.sleep(0.05)
    return False


def test_a_frozen_container_stands_still_and_goes_on(
    open_worker: Open, null_job: Job, fake_runner: Runner, engine: Engine
) -> None:
    worker = open_worker(null_job(), runner=fake_runner(COUNTS))
    worker.event("loaded", TIMEOUT_S, ignore)
    count_of(worker)
    worker.freeze()
    worker.freeze()
    assert engine.client.api.inspect_container(worker.id)["State"]["Paused"]
    before = count_of(worker)
    time.sleep(0.5)
    assert count_of(worker) == before
    worker.thaw()
    worker.thaw()
    assert grows(worker, before)


@pytest.mark.parametrize("how", ["kill", "close"])
def test_a_frozen_container_is_ended_and_gone(
    how: str, open_worker: Open, null_job: Job, fake_runner: Runner, engine: Engine
) -> None:
    worker = open_worker(null_job(), runner=fake_runner(COUNTS))
    worker.event("loaded", TIMEOUT_S, ignore)
    worker.freeze()
    getattr(worker, how)()
    assert not exists(engine, worker.id)
    assert worker.left_behind == ""
    worker.freeze()
    worker.thaw()


def test_a_frozen_container_answers_a_command_and_finishes_when_it_is_closed(
    open_worker: Open, null_job: Job, engine: Engine
) -> None:
    worker = open_worker(null_job())
    worker.event("loaded", TIMEOUT_S, ignore)
    for _ in range(3):
        worker.freeze()
        reply = worker.command({"command": "round", "iterations": 3}, TIMEOUT_S, ignore)
        assert len(reply["durations_ns"]) == 3
    worker.freeze()
    worker.close()
    assert not exists(engine, worker.id)


def test_a_container_that_ended_by_itself_is_not_frozen_and_says_why_it_ended(
    open_worker: Open, null_job: Job, engine: Engine
) -> None:
    worker = open_worker(null_job())
    worker.event("loaded", TIMEOUT_S, ignore)
    engine.client.api.kill(worker.id, signal="SIGTERM")
    engine.client.api.wait(worker.id)
    worker.freeze()
    worker.thaw()
    with pytest.raises(ExecutionError) as caught:
        worker.event("never", TIMEOUT_S, ignore)
    assert caught.value.signal == signal.SIGTERM
    assert not exists(engine, worker.id)


def test_the_peak_of_a_container_holds_what_it_has_given_back(
    open_worker: Open, null_job: Job, fake_runner: Runner, engine: Engine
) -> None:
    code = (
        "import json, time\n"
        "held = bytearray(b'x') * (200 << 20)\n"
        "del held\n"
        "print(json.dumps({'event': 'loaded'}), flush=True)\n"
        "time.sleep(3600)\n"
    )
    worker = open_worker(null_job(), runner=fake_runner(code), limits=Limits(memory_mib=1024))
    worker.event("loaded", TIMEOUT_S, ignore)
    peak = worker.peak_mib()
    if peak is None:
        pytest.skip(
            f"neither the control groups of this machine (version {engine.info.cgroup_version}) "
            "nor the engine says what a container used at most"
        )
    assert 200 <= peak < 400
    worker.freeze()
    assert worker.peak_mib() == pytest.approx(peak, rel=0.2)


CONDUCTOR = """
import json, os, signal, sys, time
from pathlib import Path
from harness.containers import strays
from harness.containers.engine import connect
from harness.errors import ExecutionError
from harness.execution.container_worker import ContainerWorker
from harness.execution.guardian import GUARDIAN

plan = json.loads(sys.argv[1])
strays.here = lambda: strays.Place(**plan["place"])
worker = ContainerWorker(
    connect(), image=plan["image"], python=plan["python"], runner=Path(plan["runner"]),
    job=plan["job"], work=Path(plan["folder"]) / "w", socket_folder=Path(plan["folder"]) / "s",
    labels=strays.owner_labels(), name="frozen",
)
worker.event("loaded", 240.0, lambda _: None)
worker.freeze()
if not plan["guarded"]:
    os.kill(GUARDIAN._process.pid, signal.SIGKILL)
print(json.dumps(worker.id), flush=True)
time.sleep(3600)
"""


@pytest.fixture
def killed_conductor(
    engine: Engine,
    image: str,
    null_job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[bool], str]]:
    """Starts a conductor that freezes a container, kills it, and says the container's id."""
    # A machine of this test's own: another run beside it takes nothing of it.
    place: Place = replace(strays.here(), machine=os.urandom(8).hex(), boot=os.urandom(8).hex())
    monkeypatch.setattr(strays, "here", lambda: place)
    containers: list[str] = []

    def run(guarded: bool) -> str:
        plan = {
            "image": image,
            "python": PYTHON,
            "runner": str(runner_tree()[0]),
            "job": null_job(),
            "folder": str(tmp_path / "c"),
            "place": asdict(place),
            "guarded": guarded,
        }
        with subprocess.Popen(
            [sys.executable, "-c", CONDUCTOR, json.dumps(plan)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            containers.append(json.loads(process.stdout.readline()))
            state = engine.client.api.inspect_container(containers[0])["State"]
            assert state["Status"] == "paused"
            os.killpg(process.pid, signal.SIGKILL)
        return containers[0]

    yield run
    for number in containers:
        if exists(engine, number):
            engine.client.api.remove_container(number, v=True, force=True)


def test_a_frozen_container_of_a_conductor_that_was_killed_is_removed_at_once(
    killed_conductor: Callable[[bool], str], engine: Engine
) -> None:
    number = killed_conductor(True)
    deadline = time.monotonic() + TIMEOUT_S
    while exists(engine, number) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not exists(engine, number)


def test_one_that_no_guardian_removes_is_removed_by_the_next_start(
    killed_conductor: Callable[[bool], str], engine: Engine
) -> None:
    number = killed_conductor(False)
    assert engine.client.api.inspect_container(number)["State"]["Status"] == "paused"
    assert remove_strays(engine) == [f"frozen ({number[:12]}, paused)"]
    assert not exists(engine, number)
