"""Workers in real containers: the same answers as a process, and every way to fail told apart."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.containers import COUNT, PYTHON, TIMEOUT_S, Open, exists, ignore, named
from support.deep import LEVELS

from harness.containers.engine import Engine
from harness.containers.limits import Limits
from harness.containers.rules import user_for
from harness.errors import EngineError, ExecutionError
from harness.execution.container_worker import ContainerWorker
from harness.execution.workers import ProcessWorker
from harness.paths import runner_tree
from harness.trees import temporary_folder

Job = Callable[..., dict[str, Any]]


def failure_of(worker: ContainerWorker, timeout_s: float = TIMEOUT_S) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        worker.event("loaded", timeout_s, ignore)
    print(f"{caught.value.kind}: {caught.value}", file=sys.stderr)
    return caught.value


def test_a_container_gives_the_answers_of_a_process_bit_for_bit(
    open_worker: Open, null_job: Job, tmp_path: Path, sockets: Path, engine: Engine
) -> None:
    inside = open_worker(null_job())
    outside = ProcessWorker(
        Path(sys.executable), runner_tree()[0], null_job(), tmp_path / "p", sockets / "p.s"
    )
    found = {}
    for worker in (inside, outside):
        loaded = worker.event("loaded", TIMEOUT_S, ignore)
        assert loaded["ran"]["backend"] == "null"
        reply = worker.command({"command": "answers"}, TIMEOUT_S, ignore)
        found[worker] = np.load(worker.work / reply["outputs"][0]["file"])
        timed = worker.command({"command": "round", "iterations": 3}, TIMEOUT_S, ignore)
        assert len(timed["durations_ns"]) == 3
        worker.close()
    assert found[inside].shape == (COUNT, 5)
    assert found[inside].tobytes() == found[outside].tobytes()
    assert not exists(engine, inside.id)
    assert inside.left_behind == ""


def test_a_failed_command_leaves_the_worker_alive(open_worker: Open, null_job: Job) -> None:
    worker = open_worker(null_job())
    worker.event("loaded", TIMEOUT_S, ignore)
    with pytest.raises(ExecutionError) as caught:
        worker.command({"command": "round", "iterations": 0}, TIMEOUT_S, ignore)
    assert caught.value.kind == "job"
    worker.command({"command": "answers"}, TIMEOUT_S, ignore)


@pytest.mark.parametrize(
    ("fault", "kind", "number"),
    [
        ("crash", "signal", signal.SIGSEGV),
        ("exit", "no-result", None),
        ("memory", "out-of-memory", None),
        ("error", "backend", None),
        ("load", "model", None),
    ],
)
def test_each_fault_of_a_model_is_named(
    fault: str, kind: str, number: int | None, open_worker: Open, null_job: Job, engine: Engine
) -> None:
    worker = open_worker(null_job(fault=fault))
    error = failure_of(worker)
    assert (error.kind, error.signal) == (kind, number)
    assert not exists(engine, worker.id)


def test_a_hung_worker_is_killed_and_gone_when_its_time_is_up(
    open_worker: Open, null_job: Job, engine: Engine
) -> None:
    worker = open_worker(null_job(fault="hang", fault_after=1))
    worker.event("loaded", TIMEOUT_S, ignore)
    with pytest.raises(ExecutionError, match="No answer after 2 s") as caught:
        worker.command({"command": "answers"}, 2, ignore)
    assert caught.value.kind == "timeout"
    assert not exists(engine, worker.id)


ENDS = {
    "own process out of memory": (
        "b = bytearray()\nwhile True: b += bytes(1 << 20)",
        ("out-of-memory", None, signal.SIGKILL),
    ),
    "child out of memory, exit 0": (
        "import subprocess, sys\n"
        "hog = 'b = bytearray()\\nwhile True: b += bytes(1 << 20)'\n"
        "subprocess.run([sys.executable, '-c', hog])",
        ("out-of-memory", 0, None),
    ),
    "child out of memory, exit 1": (
        "import subprocess, sys\n"
        "hog = 'b = bytearray()\\nwhile True: b += bytes(1 << 20)'\n"
        "sys.exit(1 if subprocess.run([sys.executable, '-c', hog]).returncode else 0)",
        ("out-of-memory", 1, None),
    ),
    "real segmentation fault": (
        "import ctypes\nctypes.string_at(0)",
        ("signal", None, signal.SIGSEGV),
    ),
    "killed, with memory to spare": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        ("signal", None, signal.SIGKILL),
    ),
    "aborted": ("import os\nos.abort()", ("signal", None, signal.SIGABRT)),
    "silent": ("", ("no-result", 0, None)),
    "exit 3": ("import sys\nsys.exit('no such thing')", ("exit", 1, None)),
    "no message": ("print('hello')", ("invalid-output", None, None)),
}


@pytest.mark.parametrize("name", ENDS)
def test_each_end_is_named_and_nothing_is_left(
    name: str, open_worker: Open, null_job: Job, fake_runner: Callable[[str], Path], engine: Engine
) -> None:
    code, expected = ENDS[name]
    limits = Limits(memory_mib=96, tmp_mib=16, shm_mib=16)
    worker = open_worker(null_job(), runner=fake_runner(code), limits=limits)
    error = failure_of(worker)
    assert (error.kind, error.exit_status, error.signal) == expected
    assert not exists(engine, worker.id)
    assert worker.left_behind == ""


def test_a_worker_that_fills_its_folder_is_stopped(
    open_worker: Open, null_job: Job, fake_runner: Callable[[str], Path], engine: Engine
) -> None:
    code = (
        "import itertools\n"
        "for n in itertools.count():\n"
        "    with open(f'/work/{n}', 'wb') as file: file.write(bytes(1 << 20))\n"
        "    if n == 200: n = __import__('time').sleep(3600)\n"
    )
    limits = Limits(output_bytes=64 << 20)
    worker = open_worker(null_job(), runner=fake_runner(code), limits=limits)
    error = failure_of(worker)
    assert error.kind == "output-limit"
    assert not exists(engine, worker.id)


def test_a_chatty_worker_leaves_a_bounded_log(
    open_worker: Open, null_job: Job, fake_runner: Callable[[str], Path]
) -> None:
    code = (
        "import sys\n"
        "for n in range(60 * 1024): sys.stderr.write(f'{n:07d}' + 1016 * '.' + '\\n')\n"
        "sys.exit('the last words')\n"
    )
    worker = open_worker(null_job(), runner=fake_runner(code))
    error = failure_of(worker)
    assert error.kind == "exit"
    assert "the last words" in str(error)
    log = worker.log.read_text()
    assert len(log) <= 16 << 20
    assert log.startswith("0000000")
    assert "bytes of this log were left out" in log


def test_an_interpreter_that_is_not_there_says_so(
    engine: Engine, image: str, null_job: Job, tmp_path: Path, sockets: Path
) -> None:
    worker = ContainerWorker(
        engine,
        image=image,
        python="/opt/nowhere/python",
        runner=runner_tree()[0],
        job=null_job(),
        work=tmp_path / "w",
        socket_folder=sockets / "0",
    )
    error = failure_of(worker)
    assert error.kind == "exit"
    assert "/opt/nowhere/python" in str(error)
    assert not exists(engine, worker.id)


def test_a_conversion_leaves_its_target_in_the_folder(
    open_worker: Open, fake_runner: Callable[[str], Path], tmp_path: Path
) -> None:
    code = (
        "import json, shutil, sys\n"
        "job = json.load(open(sys.argv[1]))\n"
        "shutil.copyfile(job['source']['path'], job['target'])\n"
        "print(json.dumps({'event': 'converted', 'files': [job['target']]}), flush=True)\n"
    )
    source = tmp_path / "m.tflite"
    source.write_bytes(b"weights")
    target = tmp_path / "work-0" / "model.onnx"
    job = {
        "schema_version": 1,
        "kind": "convert",
        "converter": "tflite>onnx",
        "source": {"path": str(source), "format": "tflite"},
        "target": str(target),
    }
    worker = open_worker(job, runner=fake_runner(code))
    made = worker.event("converted", TIMEOUT_S, ignore)
    assert made["files"] == ["/work/model.onnx"]
    assert target.read_bytes() == b"weights"


def test_inputs_that_only_their_owner_may_read_are_read_and_keep_their_modes(
    open_worker: Open, null_job: Job
) -> None:
    job = null_job()
    for path in (Path(job["model"]["path"]), Path(job["inputs"]["path"])):
        path.chmod(0o600)
    worker = open_worker(job)
    worker.event("loaded", TIMEOUT_S, ignore)
    assert Path(job["model"]["path"]).stat().st_mode & 0o777 == 0o600
    worker.close()
    assert not worker.work.with_name(f"{worker.work.name}.readable").exists()


def test_a_copy_of_a_private_model_is_nobody_elses(
    open_worker: Open, null_job: Job, engine: Engine
) -> None:
    job = null_job()
    Path(job["model"]["path"]).chmod(0o600)
    worker = open_worker(job)
    worker.event("loaded", TIMEOUT_S, ignore)
    user = user_for(engine.info)
    if user.split(":")[0] == str(os.getuid()):
        pytest.skip("containers run as the caller here: nothing is copied")
    if engine.info.rootless or engine.info.user_namespaces:
        pytest.skip("this engine maps users: a copy cannot be one user's")
    copies = worker.work.with_name(f"{worker.work.name}.readable")
    modes = {path: path.stat() for path in (copies, *copies.rglob("*"))}
    assert [oct(about.st_mode & 0o777) for about in modes.values()] == ["0o700", "0o700", "0o400"]
    assert {f"{about.st_uid}:{about.st_gid}" for about in modes.values()} == {user}


def test_an_artifact_that_is_a_link_is_never_mounted(
    engine: Engine, image: str, null_job: Job, name: str, tmp_path: Path, sockets: Path
) -> None:
    job = null_job()
    artifact = tmp_path / "results" / "artifacts" / "k" / "model.json"
    artifact.parent.mkdir(parents=True)
    # What it leads to would do as a model.
    artifact.symlink_to(job["model"]["path"])
    job["model"]["path"] = str(artifact)
    with pytest.raises(ExecutionError, match="is a symbolic link") as caught:
        ContainerWorker(
            engine,
            image=image,
            python=PYTHON,
            runner=runner_tree()[0],
            job=job,
            work=tmp_path / "results" / "cells" / "k",
            socket_folder=sockets / "0",
            name=name,
        )
    assert caught.value.kind == "invalid-output"
    assert named(engine, name) == []
    assert not (sockets / "0").exists()


def test_a_model_that_a_person_names_by_a_link_is_read(
    open_worker: Open, null_job: Job, tmp_path: Path
) -> None:
    job = null_job()
    link = tmp_path / "mine.json"
    link.symlink_to(job["model"]["path"])
    job["model"]["path"] = str(link)
    worker = open_worker(job, made=tmp_path / "work-0")
    worker.event("loaded", TIMEOUT_S, ignore)


def test_a_socket_that_is_a_link_is_not_followed(
    open_worker: Open, null_job: Job, fake_runner: Callable[[str], Path]
) -> None:
    with temporary_folder("h-") as folder, socket.socket(socket.AF_UNIX) as mine:
        mine.bind(str(folder / "s"))
        mine.listen()
        mine.setblocking(False)
        code = (
            "import json, os\n"
            f"os.symlink({mine.getsockname()!r}, '/run/harness/s')\n"
            "print(json.dumps({'event': 'loaded'}), flush=True)\n"
        )
        worker = open_worker(null_job(), runner=fake_runner(code))
        worker.event("loaded", TIMEOUT_S, ignore)
        with pytest.raises(ExecutionError):
            worker.command({"command": "answers"}, TIMEOUT_S, ignore)
        with pytest.raises(BlockingIOError):
            mine.accept()


def test_what_a_worker_leaves_in_the_folder_of_its_socket_is_removed_however_deep(
    open_worker: Open, null_job: Job, fake_runner: Callable[[str], Path]
) -> None:
    code = (
        "import os\n"
        "os.chdir('/run/harness')\n"
        f"for n in range({LEVELS}): os.mkdir('nested-a'); os.chdir('nested-a')\n"
    )
    worker = open_worker(null_job(), runner=fake_runner(code))
    failure_of(worker)
    assert worker.left_behind == ""


def test_a_worker_whose_image_is_gone_cannot_start(
    engine: Engine, null_job: Job, name: str, tmp_path: Path, sockets: Path
) -> None:
    with pytest.raises(EngineError, match="is not there any more"):
        ContainerWorker(
            engine,
            image="sha256:" + 64 * "0",
            python=PYTHON,
            runner=runner_tree()[0],
            job=null_job(),
            work=tmp_path / "w",
            socket_folder=sockets / "0",
            name=name,
        )
    assert named(engine, name) == []
    assert not (sockets / "0").exists()
