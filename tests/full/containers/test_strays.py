"""What an orchestrator that was killed leaves, and that the next start removes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from support.containers import PYTHON, exists

from harness.containers import strays
from harness.containers.engine import Engine
from harness.containers.strays import OWNER, Place, owner_labels, remove_strays
from harness.paths import runner_tree

ORCHESTRATOR = """
import json, sys, time
from pathlib import Path
from harness.containers import strays
from harness.containers.engine import connect
from harness.execution.container_worker import ContainerWorker

plan = json.loads(sys.argv[1])
strays.here = lambda: strays.Place(**plan["place"])
engine = connect()
workers = []
for number, (runner, job) in enumerate(plan["workers"]):
    worker = ContainerWorker(
        engine, image=plan["image"], python=plan["python"], runner=Path(runner), job=job,
        work=Path(plan["folder"]) / str(number), socket_folder=Path(plan["folder"]) / f"s{number}",
        labels=strays.owner_labels(), name=f"stray {number}",
    )
    worker.event("loaded", 240.0, lambda _: None)
    workers.append(worker)
print(json.dumps([worker.id for worker in workers]), flush=True)
time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    """A machine of this test's own: another run beside it takes nothing of it, nor it of theirs."""
    own = replace(strays.here(), machine=uuid.uuid4().hex, boot=uuid.uuid4().hex)
    monkeypatch.setattr(strays, "here", lambda: own)
    return own


@pytest.fixture
def orchestrator(
    engine: Engine,
    image: str,
    place: Place,
    tmp_path: Path,
    null_job: Callable[..., dict[str, Any]],
) -> Iterator[Callable[[list[Path]], tuple[subprocess.Popen[str], list[str]]]]:
    started: list[subprocess.Popen[str]] = []
    containers: list[str] = []

    def start(runners: list[Path]) -> tuple[subprocess.Popen[str], list[str]]:
        plan = {
            "image": image,
            "python": PYTHON,
            "folder": str(tmp_path),
            "place": asdict(place),
            "workers": [(str(runner), null_job()) for runner in runners],
        }
        process = subprocess.Popen(
            [sys.executable, "-c", ORCHESTRATOR, json.dumps(plan)],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        containers.extend(json.loads(process.stdout.readline()))
        return process, containers

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    for number in containers:
        if exists(engine, number):
            engine.client.api.remove_container(number, v=True, force=True)


def with_lifeline(folder: Path, code: str) -> Path:
    """A runner that holds on to its standard input as the real one does, then does as told."""
    real = runner_tree()[0] / "runner"
    package = folder / "runner"
    package.mkdir(parents=True)
    (package / "lifeline.py").write_text((real / "lifeline.py").read_text())
    (package / "__main__.py").write_text(
        "import json, re, time\n"
        "from runner.lifeline import hold_on_to_stdin\n"
        "hold_on_to_stdin()\n"
        "print(json.dumps({'event': 'loaded'}), flush=True)\n" + code
    )
    return folder


def states(engine: Engine, containers: list[str]) -> list[tuple[str, int]]:
    found = [engine.client.api.inspect_container(number)["State"] for number in containers]
    return [(state["Status"], state["ExitCode"]) for state in found]


def test_three_containers_of_a_killed_orchestrator_end_by_themselves_and_are_removed(
    engine: Engine, orchestrator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = with_lifeline(tmp_path / "loop", "while True: pass\n")
    native = with_lifeline(tmp_path / "native", "while True: sum(range(10**7))\n")
    process, containers = orchestrator([runner_tree()[0], loop, native])
    assert states(engine, containers) == [("running", 0)] * 3
    assert remove_strays(engine) == [], "a living owner's containers are not touched"

    process.send_signal(signal.SIGKILL)
    process.wait()
    for number in containers:
        engine.client.api.wait(number)
    left = states(engine, containers)
    removed = remove_strays(engine)
    with capsys.disabled():
        print(f"\nleft by a killed orchestrator: {left}\nremoved: {removed}", file=sys.stderr)
    assert left == [("exited", 130)] * 3
    assert len(removed) == 3
    assert not any(exists(engine, number) for number in containers)
    assert remove_strays(engine) == []


def test_a_container_that_no_lifeline_reaches_is_removed_at_the_next_start(
    engine: Engine, orchestrator: Any, tmp_path: Path
) -> None:
    deaf = tmp_path / "deaf"
    (deaf / "runner").mkdir(parents=True)
    (deaf / "runner" / "__main__.py").write_text(
        "import json, time\nprint(json.dumps({'event': 'loaded'}), flush=True)\ntime.sleep(3600)\n"
    )
    process, containers = orchestrator([deaf])
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert states(engine, containers) == [("running", 0)]
    assert remove_strays(engine) == [f"stray 0 ({containers[0][:12]}, running)"]
    assert not exists(engine, containers[0])


def test_only_containers_of_dead_owners_are_removed(engine: Engine, image: str) -> None:
    finished = subprocess.Popen([sys.executable, "-c", ""])
    dead_pid = finished.pid
    finished.wait()
    labels = {
        "ours": owner_labels(),
        "dead": owner_labels(dead_pid, time.time()),
        "pid taken by another": owner_labels(os.getpid(), 1.0),
        "another boot": {**owner_labels(), f"{OWNER}.boot": "an earlier one"},
        "another machine": {
            **owner_labels(),
            f"{OWNER}.boot": "its own",
            f"{OWNER}.machine": "another",
        },
        "another namespace": {**owner_labels(), f"{OWNER}.namespace": "pid:[1]"},
        "no harness": {"some": "label"},
    }
    api = engine.client.api
    made = {
        name: str(api.create_container(image, ["true"], labels=label)["Id"])
        for name, label in labels.items()
    }
    try:
        remove_strays(engine)
        left = {name for name, number in made.items() if exists(engine, number)}
        assert left == {"ours", "another machine", "another namespace", "no harness"}
    finally:
        for number in made.values():
            if exists(engine, number):
                api.remove_container(number, force=True)
