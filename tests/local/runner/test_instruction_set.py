"""Ceilings on instruction sets in the shipped environments: kept, shown, and refused where they are not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.installed import cannot_install
from support.small_onnx import Small, conv, floats, one

from harness.doctor.machine import cpu_flags
from harness.environments.instruction_sets import lacking
from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

REPOSITORY = Path(__file__).resolve().parents[3]
COUNT = 16
Start = Callable[..., Any]
NEEDS_AVX512 = pytest.mark.skipif(
    bool(lacking("avx512", cpu_flags())), reason="this processor has no AVX-512"
)
PROGRAM = """
import numpy as np, torch
torch.manual_seed(3)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 32, 3, stride=2, padding=1), torch.nn.ReLU6(),
    torch.nn.Conv2d(32, 32, 3, padding=1, groups=32), torch.nn.Hardswish(),
    torch.nn.Conv2d(32, 64, 1), torch.nn.Sigmoid(), torch.nn.MaxPool2d(2),
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10), torch.nn.Softmax(1),
).eval()
example = (torch.rand(1, 3, 32, 32),)
torch.export.save(torch.export.export(model, example), "m.pt2")
"""
UNHELD = """
import torch
from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.support import ceiling
torch.set_num_threads(1)
model = torch.nn.Conv2d(32, 32, 3).eval()
rows = torch.rand(1, 32, 56, 56)
request = LoadRequest("m", "pt2", {}, "f32", "cpu", 1, 1, (3,), instruction_set="avx2")
try:
    with torch.inference_mode():
        print(ceiling.told("torch.eager", request, lambda: model(rows)))
except RunnerError as error:
    print("refused", error.message)
"""

pytestmark = pytest.mark.skipif(
    bool(lacking("avx2", cpu_flags())), reason="this processor has no AVX2"
)


@cache
def interpreter(name: str) -> str:
    """An environment's Python, installed if it is not yet; skips where it can't be."""
    try:
        return str(provision(resolve(name), SilentProgress()).python)
    except HarnessError as error:
        cannot_install(name, error)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small network for PyTorch, and inputs for it."""
    folder = tmp_path_factory.mktemp("program")
    generator = np.random.Generator(np.random.PCG64(7))
    np.save(folder / "x.npy", generator.standard_normal((COUNT, 3, 32, 32)).astype(np.float32))
    command = [interpreter("torch-2.13"), "-c", PROGRAM]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def torch(start: Start, program: Path) -> Start:
    """Start a worker of torch.eager under a ceiling."""

    def begin(instruction_set: str, **job: Any) -> Any:
        return start(
            python=interpreter("torch-2.13"),
            backend="torch.eager",
            model={"path": str(program / "m.pt2"), "format": "pt2"},
            inputs={"kind": "array", "path": str(program / "x.npy"), "count": COUNT},
            instruction_set=instruction_set,
            **job,
        )

    return begin


def answered(worker: Any) -> tuple[dict[str, Any], np.ndarray]:
    """What ran, and the answers."""
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log()[-3000:])
    assert worker.command("answers")["ok"]
    answers = worker.output().copy()
    assert worker.command("round", iterations=3, warmup=1)["ok"]
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    return event["ran"], answers


def test_pytorch_keeps_to_avx2_and_below_by_the_word_of_all_its_parts(torch: Start) -> None:
    own, usual = answered(torch("own"))
    assert "instruction_set" not in own
    ran, answers = answered(torch("avx2"))
    assert ran["cpu_capability"] == "AVX2"
    told = ran["instruction_set"]
    assert told["ceiling"] == "avx2"
    assert told["proved"]["aten"] == "AVX2"
    assert told["proved"]["onednn"] == "Intel AVX2"
    assert set(told["proved"]) | set(told["unproved"]) >= {"mkl", "c_library", "kernel"}
    low, lowest = answered(torch("sse4.1"))
    assert low["cpu_capability"] == "DEFAULT"
    assert low["instruction_set"]["proved"]["onednn"] == "Intel SSE4.1"
    assert "COMPATIBLE" in low["instruction_set"]["proved"]["mkl"]
    for other in (answers, lowest):
        np.testing.assert_allclose(other, usual, atol=1e-5)
        np.testing.assert_array_equal(other.argmax(1), usual.argmax(1))
    assert not np.array_equal(lowest, usual), "other instructions round in another order"


@NEEDS_AVX512
def test_the_kernel_sees_avx512_that_no_library_tells_of() -> None:
    """The ceiling is asked of a process that nobody held to it, as by a library without a switch."""
    done = subprocess.run(
        [interpreter("torch-2.13"), "-c", UNHELD],
        env={"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("refused")]
    assert len(said) == 1, done.stdout + done.stderr
    assert "avx2 and does not: AVX-512 registers were in use in" in said[0]


@NEEDS_AVX512
def test_openvino_is_held_where_no_layer_is_given_to_mlas(start: Start, tmp_path: Path) -> None:
    dense = Small(one("Gemm", "x w b"), {"w": floats(64, 10), "b": floats(10)}, [1, 64])
    ended = {}
    for name, small in (("conv", conv(8, 16, size=(16, 16))), ("dense", dense)):
        onnx.save(small.model(), tmp_path / f"{name}.onnx")
        np.save(tmp_path / f"{name}.npy", small.fed(1))
        ended[name] = start(
            python=interpreter("openvino-2026.4"),
            backend="openvino",
            model={"path": str(tmp_path / f"{name}.onnx"), "format": "onnx"},
            inputs={"kind": "array", "path": str(tmp_path / f"{name}.npy"), "count": 1},
            instruction_set="avx2",
        )
    ran, _ = answered(ended["conv"])
    assert "avx2" in ran["instruction_set"]["proved"]["openvino"]
    assert "avx512" not in ran["instruction_set"]["proved"]["openvino"]
    assert ended["dense"].event() is None
    assert ended["dense"].wait() == 1
    error = ended["dense"].error()
    assert error is not None
    assert error["kind"] == "unsupported"
    assert "1 FullyConnected by MLAS" in error["message"]


def test_what_keeps_to_none_says_why_not(start: Start) -> None:
    worker = start(instruction_set="avx2")
    assert worker.event() is None
    assert worker.wait() == 1
    error = worker.error()
    assert error is not None
    assert error["message"].startswith("null does not support the instruction set 'avx2'")
