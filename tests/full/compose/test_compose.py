"""The Compose files: accepted by Compose, and an environment's service run over a real model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.containers.engine import Engine
from harness.datasets.inputs import PreparedInputs
from harness.datasets.layouts import discover
from harness.datasets.pixels import prepare
from harness.datasets.recipes import load_recipe
from harness.datasets.sample import limit
from harness.environments.base import ensure_base
from harness.progress import SilentProgress

from .conftest import Compose

SERVICE = "onnxruntime-1.31"
MODEL = "mobilenet_v2_1.0_224_tf.onnx"
IMAGES = 40
LOOK = """
import json, os, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
def writable(folder):
    try:
        open(folder + "/x", "w").close()
    except OSError:
        return False
    return True
print(json.dumps({
    "user": os.getuid(),
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "no_new_privileges": int(status["NoNewPrivs"]),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "writable": [f for f in ("/", "/opt/env", "/opt/harness", "/data", "/models", "/jobs",
                             "/results", "/tmp") if writable(f)],
}))
"""


@dataclass(frozen=True)
class Folders:
    """What a person names for the services."""

    root: Path
    variables: dict[str, str]

    def write_job(self, name: str, document: dict[str, Any]) -> None:
        (self.root / "jobs" / name).write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def folders(tmp_path: Path, real_data: Path) -> Folders:
    """Folders for jobs, pixels and results; the user is the caller, or nobody for root."""
    for name in ("jobs", "results", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "65532:65532"
    if not os.getuid():
        os.chown(tmp_path / "results", 65532, 65532)
    return Folders(
        tmp_path,
        {
            "HARNESS_USER": user,
            "HARNESS_JOBS": str(tmp_path / "jobs"),
            "HARNESS_RESULTS": str(tmp_path / "results"),
            "HARNESS_DATA": str(tmp_path / "data"),
            "HARNESS_MODELS": str(real_data / "models"),
        },
    )


@pytest.fixture(scope="session")
def image(engine: Engine) -> None:
    """The image of the service, built as a person would."""
    command = [sys.executable, "-m", "harness.cli.main", "env", "build", SERVICE]
    done = subprocess.run(
        [*command, "--executor", "docker"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def pixels(folders: Folders, real_data: Path, tmp_path: Path) -> PreparedInputs:
    """Real images as the model takes them, where the service finds them."""
    found = limit(discover(real_data / "data" / "imagenet-sample"), IMAGES)
    made = prepare(found, load_recipe("tf"), 224, 224, tmp_path / "cache", SilentProgress())
    target = folders.root / "data" / "pixels.npy"
    target.write_bytes(made.path.read_bytes())
    target.chmod(0o644)
    return made


@pytest.mark.parametrize("files", [("cpu.yaml",), ("gpu.yaml",)])
def test_compose_accepts_the_files(compose: Compose, files: tuple[str, ...]) -> None:
    done = compose("config", "--quiet", files=files)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("file", ["cpu.yaml", "gpu.yaml"])
def test_compose_accepts_the_engines_socket_on_top(compose: Compose, file: str) -> None:
    variables = {"HARNESS_ROOT": "/srv/harness", "HARNESS_ENGINE_GROUP": "999"}
    done = compose("config", "--format", "json", files=(file, "engine.yaml"), **variables)
    assert done.returncode == 0, done.stderr
    harness = json.loads(done.stdout)["services"]["harness"]
    mounts = {mount["target"]: mount["source"] for mount in harness["volumes"]}
    assert mounts["/srv/harness"] == "/srv/harness"
    assert mounts["/var/run/docker.sock"] == "/var/run/docker.sock"


def test_compose_names_the_variable_that_the_socket_needs(compose: Compose) -> None:
    done = compose("config", "--quiet", files=("cpu.yaml", "engine.yaml"), HARNESS_ROOT="/srv/h")
    assert done.returncode != 0
    assert "HARNESS_ENGINE_GROUP" in done.stderr


def test_a_service_runs_a_job_over_a_real_model(
    compose: Compose, image: None, folders: Folders, pixels: PreparedInputs
) -> None:
    folders.write_job(
        "job.json",
        {
            "schema_version": 1,
            "kind": "infer",
            "work": "/results/first",
            "threads": 1,
            "backend": "onnxruntime",
            "model": {"path": f"/models/{MODEL}", "format": "onnx"},
            "precision": "f32",
            "device": "cpu",
            "batch": 1,
            "inputs": {
                "kind": "pixels",
                "path": "/data/pixels.npy",
                "count": IMAGES,
                "layout": "NCHW",
                "normalise": {
                    "channels": "rgb",
                    "divide": 127.5,
                    "subtract": 1.0,
                    "divide_after": 1.0,
                },
            },
            "commands": [
                {"command": "round", "iterations": 5, "warmup": 2},
                {"command": "answers"},
                {"command": "finish"},
            ],
        },
    )
    done = compose("run", "--rm", "-T", SERVICE, "/jobs/job.json", **folders.variables)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    replies = {event["command"]: event["reply"] for event in events if event["event"] == "reply"}
    assert list(replies) == ["round", "answers", "finish"]
    assert len(replies["round"]["durations_ns"]) == 5
    scores = np.load(folders.root / "results" / "first" / "output_0.npy", allow_pickle=False)
    assert scores.shape == (IMAGES, 1001)
    # The first class is background.
    right = np.argmax(scores, axis=1) - 1 == np.array(pixels.labels)
    assert right.mean() >= 0.6


def test_a_job_that_fails_ends_the_service_with_its_status(
    compose: Compose, image: None, folders: Folders
) -> None:
    folders.write_job("bad.json", {"schema_version": 1, "kind": "dance", "work": "/results/bad"})
    done = compose("run", "--rm", "-T", SERVICE, "/jobs/bad.json", **folders.variables)
    assert done.returncode == 2
    assert "dance" in done.stderr


def test_the_view_from_inside_a_service(compose: Compose, image: None, folders: Folders) -> None:
    done = compose(
        *("run", "--rm", "-T", "--entrypoint", "/opt/env/bin/python"),
        *(SERVICE, "-c", LOOK),
        **folders.variables,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "user": os.getuid() or 65532,
        "capabilities": 0,
        "no_new_privileges": 1,
        "interfaces": ["lo"],
        "writable": ["/results", "/tmp"],
    }


def test_the_harness_is_built_and_sweeps_in_its_service(
    compose: Compose, engine: Engine, folders: Folders, real_data: Path
) -> None:
    (folders.root / "cache").mkdir()
    if not os.getuid():
        os.chown(folders.root / "cache", 65532, 65532)
    bundle = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
    variables = {
        **folders.variables,
        "HARNESS_BASE": ensure_base(engine, ("3.11",), SilentProgress()).tag,
        "HARNESS_CA_BUNDLE": str(bundle if bundle.is_file() else os.devnull),
        "HARNESS_CACHE": str(folders.root / "cache"),
        "HARNESS_DATA": str(real_data / "data" / "imagenet-sample"),
    }
    built = compose("build", "harness", timeout=600, **variables)
    assert built.returncode == 0, built.stderr[-4000:]
    done = compose(
        *("run", "--rm", "-T", "harness", "sweep", "--model", f"/models/{MODEL}"),
        *("--recipe", "tf", "--class-offset", "1", "--data", "/data", "--limit", "10"),
        *("--env", SERVICE, "--store", "/results/store", "--json"),
        timeout=600,
        **variables,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (cell,) = json.loads(done.stdout)["cells"]
    assert (cell["status"], cell["executor"], cell["images"]) == ("done", "venv", 10)
    assert cell["top1"] >= 0.6
    assert (folders.root / "results" / "store" / "answers").is_dir()
