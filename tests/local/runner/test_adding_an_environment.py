"""The page on adding a stack, to the letter: the files that it shows are written and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support.installed import cannot_install

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = (REPOSITORY / "docs" / "adding-an-environment.md").read_text(encoding="utf-8")
FOLDER = "images/ncnn-20261020"
FILES = dict(
    re.findall(r"^`([\w./-]+)`[^\n]*:\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)
MOVED = re.search(r"^rm -r (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the runner without what the page moves away, and with what it shows."""
    assert MOVED is not None
    copy = tmp_path / "checkout"
    shutil.copytree(
        REPOSITORY / "runner", copy / "runner", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in MOVED[1].split():
        assert (REPOSITORY / name).exists(), "the page moves away what is not there"
        if name.startswith("runner/"):
            (copy / name).unlink()
    for name, text in FILES.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text, encoding="utf-8")
    return copy


def run(python: str, checkout: Path, job: dict[str, Any], *paths: Path) -> list[dict[str, Any]]:
    """The events of a job."""
    work = Path(job["work"])
    work.mkdir(exist_ok=True)
    (work / "job.json").write_text(json.dumps({"schema_version": 1, **job}))
    path = os.pathsep.join(map(str, (checkout, *paths)))
    done = subprocess.run(
        [python, "-m", "runner", str(work / "job.json")],
        env=dict(os.environ, PYTHONPATH=path),
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_folder_on_the_page_is_the_one_that_ships() -> None:
    for name in ("env.toml", "requirements.in"):
        assert FILES[f"{FOLDER}/{name}"] == (REPOSITORY / FOLDER / name).read_text()


def test_converter_and_backend_of_the_page_give_the_reference_answers(
    checkout: Path, tmp_path: Path
) -> None:
    try:
        python = str(provision(resolve("ncnn-20261020"), SilentProgress()).python)
    except HarnessError as error:
        cannot_install("ncnn-20261020", error)
    generator = np.random.Generator(np.random.PCG64(3))
    weights = generator.standard_normal((4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("GlobalAveragePool", ["c"], ["g"]),
            helper.make_node("Flatten", ["g"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    rows = generator.standard_normal((3, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)

    (converted,) = run(python, checkout, {
        "kind": "convert",
        "work": str(tmp_path / "convert"),
        "converter": "onnx>ncnn",
        "source": {"path": str(tmp_path / "m.onnx"), "format": "onnx"},
        "target": str(tmp_path / "m.ncnn"),
    })  # fmt: skip
    assert converted["probe_max_abs_diff"] < 1e-2
    loaded, *_ = run(python, checkout, {
        "kind": "infer",
        "work": str(tmp_path / "infer"),
        "backend": "ncnn",
        "model": {"path": str(tmp_path / "m.ncnn"), "format": "ncnn"},
        "inputs": {"kind": "array", "path": str(tmp_path / "x.npy"), "count": 3},
        "settings": {"winograd": False},
        "commands": [{"command": "answers"}, {"command": "finish"}],
    })  # fmt: skip
    assert loaded["ran"]["operators"]["Convolution"] == 1
    (expected,) = ReferenceEvaluator(model).run(None, {"x": rows})
    np.testing.assert_allclose(np.load(tmp_path / "infer" / "output_0.npy"), expected, atol=1e-5)


def test_the_device_of_the_page_is_found_by_its_entry_point(checkout: Path, tmp_path: Path) -> None:
    package = checkout / "harness-mydevice"
    about = package / "harness_mydevice-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: harness-mydevice\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[harness.backends]\nmydevice = harness_mydevice\n")
    declared = '[project.entry-points."harness.backends"]\nmydevice = "harness_mydevice"\n'
    assert declared in FILES["harness-mydevice/pyproject.toml"]
    np.save(tmp_path / "x.npy", np.array([[1, 2], [3, 4]], np.float32))
    (tmp_path / "m.onnx").write_bytes(b"never read")
    loaded, *_ = run(sys.executable, checkout, {
        "kind": "infer",
        "work": str(tmp_path / "infer"),
        "backend": "mydevice",
        "model": {"path": str(tmp_path / "m.onnx"), "format": "onnx"},
        "inputs": {"kind": "array", "path": str(tmp_path / "x.npy"), "count": 2},
        "precision": "default",
        "commands": [{"command": "answers"}, {"command": "finish"}],
    }, package)  # fmt: skip
    assert loaded["ran"]["device_serial"] == "what the device says of itself"
    assert np.load(tmp_path / "infer" / "output_0.npy").tolist() == [[2, 4], [6, 8]]
