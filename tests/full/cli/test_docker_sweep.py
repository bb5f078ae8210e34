"""`harness sweep` in containers: the same answers as in a venv, and what a crash leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.command import Harness

from harness.containers.engine import Engine
from harness.containers.strays import OWNER
from harness.environments.base import ensure_base
from harness.progress import SilentProgress


def mobilenet(data: Path, limit: int) -> list[object]:
    return [
        *("--model", data / "models/mobilenet_v2_1.0_224_tf.onnx", "--recipe", "tf"),
        *("--class-offset", 1, "--data", data / "data/imagenet-sample/val", "--limit", limit),
    ]


def containers_of(engine: Engine, pid: int) -> dict[str, str]:
    """The containers that a sweep's process owns: id to status."""
    found = engine.client.containers.list(
        all=True, ignore_removed=True, filters={"label": f"{OWNER}.pid={pid}"}
    )
    return {str(one.id): str(one.status) for one in found}


def running_of(engine: Engine, pid: int) -> dict[str, str]:
    return {
        key: status for key, status in containers_of(engine, pid).items() if status == "running"
    }


def test_the_same_lock_gives_the_same_bits_in_a_container_and_in_a_venv(
    harness: Harness, engine: Engine, real_data: Path, tmp_path: Path
) -> None:
    """One axis, the executor, timed in one session too."""
    done = harness(
        *("sweep", *mobilenet(real_data, 100), "--env", "onnxruntime-1.31", "--rounds", 4),
        *("--executor", "venv", "--executor", "docker", "--json"),
    )
    assert done.status == 0, done.err
    venv, contained = done.json["cells"]
    assert (venv["executor"], contained["executor"]) == ("venv", "docker")
    assert venv["top1"] == contained["top1"]
    [pair] = done.json["pairs"]
    assert pair["axes"] == ["executor"]
    assert pair["flips"] == 0
    assert pair["max_abs_diff"] == 0
    assert pair["time_low"] <= pair["time_ratio"] <= pair["time_high"]
    a, b = (np.load(tmp_path / cell["path"] / "logits.npy") for cell in (venv, contained))
    assert a.tobytes() == b.tobytes()
    recorded = json.loads((tmp_path / contained["path"] / "environment.json").read_text())
    assert recorded["image"].startswith("sha256:")
    assert recorded["base"]["digest"].startswith("sha256:")
    assert recorded["limits"]["memory_mib"] == 8192


def test_auto_takes_containers_where_an_engine_answers_and_resumes(
    harness: Harness, real_data: Path
) -> None:
    arguments = ("sweep", *mobilenet(real_data, 5), "--env", "onnxruntime-1.31", "--no-timing")
    first, again = (harness(*arguments, "--json") for _ in range(2))
    assert first.status == again.status == 0, first.err
    assert [c["executor"] for c in first.json["cells"]] == ["docker"]
    assert [c["status"] for c in again.json["cells"]] == ["resumed"]


def test_images_in_a_named_volume_give_the_same_pixels(
    harness: Harness, engine: Engine, real_data: Path, tmp_path: Path
) -> None:
    """The volume is filled as a person would: by a container that copies into it."""
    name = f"harness-test-{os.getpid()}"
    base = ensure_base(engine, ("3.11",), SilentProgress())
    volume = engine.client.volumes.create(name)
    try:
        filler = engine.client.containers.run(
            base.tag,
            ["sh", "-c", "cp -r /from/. /to/val && chmod -R a+rX /to"],
            volumes={
                str(real_data / "data/imagenet-sample/val"): {"bind": "/from", "mode": "ro"},
                name: {"bind": "/to", "mode": "rw"},
            },
            network_mode="none",
            remove=True,
        )
        assert filler == b""
        folder = mobilenet(real_data, 12)
        named = [f"volume:{name}/val" if x == folder[7] else x for x in folder]
        runs = [
            harness("sweep", *images, "--env", "onnxruntime-1.31", "--no-timing", "--json")
            for images in (folder, named)
        ]
        assert [run.status for run in runs] == [0, 0], runs[1].err
        # The same key: it is resumed, although the images lie somewhere else.
        assert [run.json["cells"][0]["status"] for run in runs] == ["done", "resumed"]
        unknown = harness(
            *("sweep", *(f"volume:{name}-not" if x == folder[7] else x for x in folder)),
            *("--env", "onnxruntime-1.31"),
        )
        assert unknown.status == 2
        assert f"{name}-not" in unknown.err
    finally:
        volume.remove(force=True)


@pytest.mark.parametrize("alone", [True, False], ids=["the-sweep", "all-its-processes"])
def test_a_killed_sweep_leaves_nothing_that_the_next_does_not_remove(
    harness: Harness, engine: Engine, real_data: Path, tmp_path: Path, alone: bool
) -> None:
    """What its conductor cannot remove, since it was killed too, the next sweep does."""
    arguments = [
        *("sweep", *mobilenet(real_data, 200), "--env", "onnxruntime-1.31"),
        *("--executor", "docker", "--no-timing", "--threads", 1, "--threads", 2),
    ]
    # The image is built first, so that the container that is waited for is a cell's.
    assert harness("env", "build", "onnxruntime-1.31", "--executor", "docker").status == 0
    with subprocess.Popen(
        [sys.executable, "-m", "harness.cli.main", *map(str, arguments)],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 300
        while not running_of(engine, process.pid):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        started = psutil.Process(process.pid).children(recursive=True)
        assert started, "a conductor at least"
        for one in () if alone else started:
            one.kill()
        os.kill(process.pid, signal.SIGKILL)
    # What lives on removes what it can; only then it is known what is left.
    assert not psutil.wait_procs(started, timeout=60)[1]
    while running_of(engine, process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = containers_of(engine, process.pid)
    print(f"left by kill -9: {left}")
    assert "running" not in left.values()
    assert left or alone, "nobody was there to remove it"
    done = harness(*arguments)
    assert done.status == 0, done.err
    for key in left:
        assert key[:12] in done.err, "the next sweep says what it removed"
    assert containers_of(engine, process.pid) == {}
    assert not (tmp_path / "results" / ".work").exists()


@pytest.mark.parametrize(
    ("executor", "status", "said"),
    [("docker", 4, "No container engine answers"), ("venv", 0, "")],
)
def test_without_an_engine_only_containers_are_refused(
    harness: Harness, real_data: Path, executor: str, status: int, said: str
) -> None:
    done = harness(
        *("sweep", *mobilenet(real_data, 3), "--env", "onnxruntime-1.31", "--no-timing"),
        *("--executor", executor),
        env={"DOCKER_HOST": "unix:///nowhere/docker.sock"},
    )
    assert done.status == status, done.err
    assert said in done.err
    if status:
        assert "--executor venv" in done.err


def test_a_gpu_that_is_not_here_is_refused_with_what_is(harness: Harness, real_data: Path) -> None:
    done = harness(
        *("sweep", *mobilenet(real_data, 3), "--env", "onnxruntime-1.31", "--device", "cuda:7"),
    )
    assert done.status == 4
    assert "cuda:7" in done.err
