"""Probe and convert jobs, and job documents that are no jobs, by a real process."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator

from runner.documents import schema

REPOSITORY = Path(__file__).resolve().parents[3]


def run(path: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner", str(path)],
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY), **environment),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write(folder: Path, **job: Any) -> Path:
    path = folder / "job.json"
    path.write_text(json.dumps({"schema_version": 1, "work": str(folder / "work"), **job}))
    return path


def error(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "work" / "error.json").read_text())
    Draft202012Validator(schema("error")).validate(found)
    return found


def test_a_probe_names_packages_backends_and_the_processor(tmp_path: Path) -> None:
    done = run(write(tmp_path, kind="probe", backends=["null", "nonsense", "openvino"]))
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    event = json.loads(line)
    Draft202012Validator(schema("event")).validate(event)
    assert event["packages"]["numpy"] == np.__version__
    assert event["backends"]["null"]["ok"] is True
    assert event["backends"]["null"]["formats"] == ["json"]
    assert event["backends"]["nonsense"]["ok"] is False
    assert "onnxruntime" in event["backends"]["nonsense"]["detail"]
    assert len(event["cpu"]["flags_sha256"]) == 64


def test_a_probe_tells_builds_what_starts_and_the_system(tmp_path: Path) -> None:
    done = run(write(tmp_path, kind="probe", backends=["null"]))
    event = json.loads(done.stdout)
    assert event["backends"]["null"]["started"] == ["cpu"]
    assert event["builds"]["python"]["implementation"] == "CPython"
    assert event["builds"]["numpy"]["blas"]
    assert len(event["contents"]["numpy"]) == 64
    assert event["machine"] == platform.machine()
    assert event["libc"] == " ".join(platform.libc_ver())
    assert event["converters"] == event["preprocessors"] == event["corruptions"] == {}
    assert isinstance(event["cpu"]["flags"], list)
    assert bool(event["gpus"]) != bool(event["gpu_driver"]["detail"])


def test_a_probe_of_everything_fails_for_nothing_that_is_absent(tmp_path: Path) -> None:
    done = run(write(tmp_path, kind="probe", backends=None))
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout)
    Draft202012Validator(schema("event")).validate(event)
    assert {"onnxruntime", "torch.eager", "tensorflow.graph", "null"} <= set(event["backends"])
    assert event["backends"]["null"]["ok"] is True
    for found in event["backends"].values():
        assert found["ok"] or found["detail"]
    assert {"onnx>torch", "onnx>keras"} <= set(event["converters"])
    assert {"opencv", "pillow", "tensorflow", "torchvision"} <= set(event["preprocessors"])
    assert event["preprocessors"]["pillow"]["ok"] is True
    assert set(event["corruptions"]) == {"imagecorruptions"}


def test_a_probe_asks_the_preprocessors_that_are_named(tmp_path: Path) -> None:
    done = run(write(tmp_path, kind="probe", backends=[], preprocessors=["pillow", "nonsense"]))
    event = json.loads(done.stdout)
    Draft202012Validator(schema("event")).validate(event)
    assert event["backends"] == event["corruptions"] == {}
    assert event["preprocessors"]["pillow"]["offer"]["settings"]["draft"] == [False, True]
    assert event["preprocessors"]["nonsense"]["ok"] is False
    assert "opencv" in event["preprocessors"]["nonsense"]["detail"]


def test_an_unknown_converter_is_unsupported(tmp_path: Path) -> None:
    source = {"path": "m.onnx", "format": "onnx"}
    path = write(tmp_path, kind="convert", converter="a>b", source=source, target="t")
    assert run(path).returncode == 1
    assert error(tmp_path)["kind"] == "unsupported"
    assert "onnx>torch" in error(tmp_path)["message"]


def test_an_absent_or_truncated_document_is_status_2(tmp_path: Path) -> None:
    absent = run(tmp_path / "absent.json")
    assert absent.returncode == 2
    assert "absent.json" in absent.stderr
    path = write(tmp_path, kind="probe", backends=[])
    path.write_text(path.read_text()[:-5])
    truncated = run(path)
    assert truncated.returncode == 2
    assert "truncated?" in truncated.stderr
    assert truncated.stdout == ""


def test_a_wrong_document_with_a_work_folder_leaves_its_error_there(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    assert run(write(tmp_path, kind="probe", backends="null")).returncode == 2
    assert error(tmp_path)["kind"] == "job"


def test_an_earlier_error_does_not_outlive_a_job_that_works(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "error.json").write_text("{}")
    assert run(write(tmp_path, kind="probe", backends=[])).returncode == 0
    assert not (tmp_path / "work" / "error.json").exists()


def test_the_threads_are_set_before_numpy_is_imported(tmp_path: Path) -> None:
    """A module in place of NumPy sees the environment that the first import would."""
    fake = tmp_path / "path" / "numpy"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text(
        "import os\nraise RuntimeError('threads=' + os.environ['OMP_NUM_THREADS'])\n"
    )
    path = write(tmp_path, kind="probe", backends=["null"], threads=3)
    environment = dict(os.environ, PYTHONPATH=f"{tmp_path / 'path'}:{REPOSITORY}")
    environment["OMP_NUM_THREADS"] = "7"
    done = subprocess.run(
        [sys.executable, "-m", "runner", str(path)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "threads=3" in done.stdout + done.stderr
