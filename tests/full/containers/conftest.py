"""An image with Python and NumPy, and workers in containers of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker.errors
import numpy as np
import pytest
from support.containers import COUNT, PYTHON, TAG, Open, exists

from harness.containers.engine import Engine
from harness.containers.limits import Limits
from harness.containers.strays import owner_labels
from harness.execution.container_worker import ContainerWorker
from harness.paths import runner_tree


@pytest.fixture(scope="session")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of an image with Python and NumPy; made here where it is not there yet."""
    try:
        return str(engine.client.images.get(TAG).id)
    except docker.errors.ImageNotFound:
        pass
    tool = shutil.which("mmdebstrap")
    reason = "" if tool else "mmdebstrap is not installed: no image with Python can be made"
    if tool:
        archive = tmp_path_factory.mktemp("image") / "base.tar"
        command = [tool, "--variant=minbase", "--include=python3,python3-numpy", "bookworm"]
        made = subprocess.run([*command, str(archive)], capture_output=True, text=True, check=False)
        if made.returncode == 0:
            repository, tag = TAG.split(":")
            engine.client.api.import_image_from_file(str(archive), repository, tag)
            return str(engine.client.images.get(TAG).id)
        reason = f"mmdebstrap failed: {made.stderr[-500:]}"
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (nothing is skipped in CI)")
    pytest.skip(reason)


@pytest.fixture
def name() -> str:
    """What this test calls its container: another run may use the same engine."""
    return f"test {uuid.uuid4().hex}"


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A short folder for sockets."""
    with tempfile.TemporaryDirectory(prefix="h-") as folder:
        yield Path(folder)


@pytest.fixture
def null_job(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Makes an `infer` job of the null backend."""

    def make(**model: Any) -> dict[str, Any]:
        inputs = tmp_path / "x.npy"
        np.save(inputs, np.random.default_rng(0).random((COUNT, 8), dtype=np.float32))
        path = tmp_path / "model.json"
        path.write_text(json.dumps({"classes": 5, **model}))
        return {
            "schema_version": 1,
            "kind": "infer",
            "backend": "null",
            "model": {"path": str(path), "format": "json"},
            "inputs": {
                "kind": "array",
                "path": str(inputs),
                "count": COUNT,
                "normalise": None,
                "layout": None,
            },
        }

    return make


@pytest.fixture
def open_worker(engine: Engine, image: str, tmp_path: Path, sockets: Path) -> Iterator[Open]:
    """Opens workers, and kills those that a test leaves; none may stay behind."""
    opened: list[ContainerWorker] = []

    def open_one(
        job: dict[str, Any],
        *,
        runner: Path | None = None,
        limits: Limits | None = None,
        **more: Any,
    ) -> ContainerWorker:
        number = len(opened)
        worker = ContainerWorker(
            more.pop("engine", engine),
            image=image,
            python=PYTHON,
            runner=runner or runner_tree()[0],
            job=job,
            work=tmp_path / f"work-{number}",
            socket_folder=sockets / str(number),
            limits=limits or Limits(),
            labels=owner_labels(),
            name=more.pop("name", f"worker {number}"),
            **more,
        )
        opened.append(worker)
        return worker

    yield open_one
    for worker in opened:
        worker.kill()
        assert not exists(engine, worker.id)
    assert list(sockets.iterdir()) == []


@pytest.fixture
def fake_runner(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a package `runner` of one's own code, to be run in place of the real one."""

    def make(code: str) -> Path:
        folder = tmp_path / "fake"
        (folder / "runner").mkdir(parents=True)
        (folder / "runner" / "__main__.py").write_text(code)
        return folder

    return make
