"""Each backend on real models in its own shipped environment, against ONNX Runtime's answers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from support.installed import cannot_install

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

REPOSITORY = Path(__file__).resolve().parents[3]
COUNT = 12
TF = {"channels": "rgb", "divide": 127.5, "subtract": 1, "divide_after": 1}
MOBILENET = "models/mobilenet_v2_1.0_224_tf.onnx"
INT8 = "models/mobilenet_v2_1.0_224_tf_int8_ptq.tflite"

Infer = Callable[..., Any]


@cache
def interpreter(environment: str) -> str:
    """The Python of a shipped environment, installed if it is not yet; skips where it can't be."""
    try:
        return str(provision(resolve(environment), SilentProgress()).python)
    except HarnessError as error:
        cannot_install(environment, error)


@pytest.fixture(scope="module")
def images(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Real images as pixels (uint8 [12, 224, 224, 3], a .npy file) and their labels."""
    sample = real_data / "data" / "imagenet-sample"
    lines = (sample / "synsets.tsv").read_text().splitlines()[1:]
    index = {line.split("\t")[1]: int(line.split("\t")[0]) for line in lines}
    files = sorted((sample / "val").glob("*/*.JPEG"))[::40][:COUNT]
    pixels = []
    for file in files:
        with Image.open(file) as image:
            ratio = 256 / min(image.size)
            size = (round(image.width * ratio), round(image.height * ratio))
            resized = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
        pixels.append(np.asarray(resized.crop((left, top, left + 224, top + 224))))
    path = tmp_path_factory.mktemp("images") / "pixels.npy"
    np.save(path, np.stack(pixels))
    return path, np.array([index[file.parent.name] for file in files])


@pytest.fixture
def infer(start: Any, images: tuple[Path, np.ndarray]) -> Iterator[Infer]:
    """Start a worker on a real model: `infer(environment, backend, model, **job)`."""

    def begin(environment: str, backend: str, model: Path, **changes: Any) -> Any:
        formats = {".onnx": "onnx", ".tflite": "tflite", ".pt2": "pt2"}
        inputs = {
            "kind": "pixels",
            "path": str(images[0]),
            "count": COUNT,
            "normalise": TF,
            "layout": "NCHW",
            "raw_quantised": False,
        }
        changes = {"inputs": inputs, **changes}
        return start(
            python=interpreter(environment),
            backend=backend,
            model={"path": str(model), "format": formats[model.suffix]},
            **changes,
        )

    return begin


def answers(worker: Any) -> np.ndarray:
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    assert event["ran"]["threads"] == 1
    reply = worker.command("answers")
    assert reply["ok"], reply
    assert reply["nonfinite"] == 0
    timed = worker.command("round", iterations=3, warmup=1)
    assert min(timed["durations_ns"]) > 100_000
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    return worker.output()


@pytest.fixture(scope="module")
def expected(real_data: Path, images: tuple[Path, np.ndarray]) -> np.ndarray:
    """MobileNetV2's logits in one batch, with nothing of the runner between: float32 [12, 1001]."""
    program = (
        "import sys, numpy as np, onnxruntime as ort\n"
        "x = np.load(sys.argv[2]).astype(np.float32) / np.float32(127.5) - np.float32(1)\n"
        "s = ort.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "np.save(sys.argv[3], s.run(None, {'input': x.transpose(0, 3, 1, 2).copy()})[0])\n"
    )
    out = images[0].with_name("expected.npy")
    python = interpreter("onnxruntime-1.31")
    model = str(real_data / MOBILENET)
    subprocess.run([python, "-c", program, model, str(images[0]), str(out)], check=True)
    logits: np.ndarray = np.load(out)
    right = (logits.argmax(1) - 1 == images[1]).mean()
    assert right >= 0.75, "the model itself must recognise the images, or nothing here means much"
    return logits


@pytest.mark.parametrize("environment", ["onnxruntime-1.31", "onnxruntime-1.17"])
@pytest.mark.parametrize("level", ["all", "disabled"])
def test_onnxruntime(
    infer: Infer, real_data: Path, expected: np.ndarray, environment: str, level: str
) -> None:
    settings = {"graph_optimization_level": level}
    got = answers(infer(environment, "onnxruntime", real_data / MOBILENET, settings=settings))
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert (got.argmax(1) == expected.argmax(1)).all()


def test_onnxruntime_in_batches_gives_the_rows_in_order(
    infer: Infer, real_data: Path, expected: np.ndarray
) -> None:
    got = answers(infer("onnxruntime-1.31", "onnxruntime", real_data / MOBILENET, batch=5))
    np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize("batch", [1, 4])
def test_openvino_in_f32(infer: Infer, real_data: Path, expected: np.ndarray, batch: int) -> None:
    worker = infer("openvino-2026.4", "openvino", real_data / MOBILENET, batch=batch)
    got = answers(worker)
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert (got.argmax(1) == expected.argmax(1)).all()


def test_openvino_says_the_precision_it_took_and_the_models_own_names(
    infer: Infer, real_data: Path
) -> None:
    worker = infer("openvino-2026.4", "openvino", real_data / MOBILENET, precision="default")
    event = worker.event()
    assert event["ran"]["precision"] == "default"
    assert event["ran"]["computes_in"][0] in ("float32", "bfloat16", "float16")
    assert event["input"]["name"] == "input"
    assert event["outputs"][0]["name"] == "logits"
    assert event["ran"]["threads"] == 1


def test_openvino_refuses_a_quantised_tflite_model_whose_scales_it_drops(
    infer: Infer, real_data: Path
) -> None:
    worker = infer("openvino-2026.4", "openvino", real_data / INT8)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "tflite" in worker.error()["message"]


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin", "reference"])
def test_int8_tflite_on_raw_pixels_gives_probabilities_and_sensible_labels(
    infer: Infer, real_data: Path, images: tuple[Path, np.ndarray], kernels: str
) -> None:
    inputs = {
        "kind": "pixels",
        "path": str(images[0]),
        "count": COUNT,
        "normalise": None,
        "layout": "NHWC",
        "raw_quantised": True,
    }
    worker = infer(
        "litert-2.3", "tflite", real_data / INT8, inputs=inputs, settings={"kernels": kernels}
    )
    got = answers(worker)
    assert got.dtype == np.float32
    assert got.min() >= 0
    assert got.max() <= 1
    assert (got.argmax(1) - 1 == images[1]).mean() >= 0.75


def test_a_tflite_model_with_a_fixed_batch_is_unsupported_with_a_remedy(
    infer: Infer, real_data: Path, images: tuple[Path, np.ndarray]
) -> None:
    inputs = {"kind": "pixels", "path": str(images[0]), "count": COUNT, "raw_quantised": True}
    worker = infer("litert-2.3", "tflite", real_data / INT8, inputs=inputs, batch=4)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "ask for batch 1" in worker.error()["message"]


def test_onnx_to_torch_and_torch_eager(
    infer: Infer, real_data: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    python = interpreter("torch-2.13")
    job = {
        "schema_version": 1,
        "kind": "convert",
        "work": str(tmp_path / "work"),
        "converter": "onnx>torch",
        "source": {"path": str(real_data / MOBILENET), "format": "onnx"},
        "target": str(tmp_path / "model.pt2"),
        "options": {"batch": 1},
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [python, "-m", "runner", str(tmp_path / "job.json")],
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    event = json.loads(line)
    assert event["files"].keys() == {"model.pt2"}
    assert event["probe_max_abs_diff"] < 1e-3
    worker = infer("torch-2.13", "torch.eager", tmp_path / "model.pt2")
    got = answers(worker)
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert (got.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("environment", ["onnxruntime-1.31", "onnxruntime-1.17"])
def test_a_model_that_is_too_new_or_damaged_says_so(
    infer: Infer, real_data: Path, tmp_path: Path, environment: str
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes((real_data / MOBILENET).read_bytes()[:500_000])
    worker = infer(environment, "onnxruntime", damaged)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "model"

    model = onnx.load(real_data / MOBILENET)
    model.ir_version = 99
    onnx.save(model, tmp_path / "new.onnx")
    worker = infer(environment, "onnxruntime", tmp_path / "new.onnx")
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "IR version: 99" in worker.error()["message"]


@pytest.mark.parametrize(
    ("environment", "backend"),
    [("onnxruntime-1.31", "onnxruntime"), ("openvino-2026.4", "openvino")],
)
def test_arrays_several_outputs_and_integer_outputs(
    infer: Infer, tmp_path: Path, environment: str, backend: str
) -> None:
    weights = np.array([[1, 0, -1], [0.5, 2, 0]], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        ],
        "two-outputs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_value_info("best", TensorProto.INT64, ["N"]),
        ],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "two.onnx")
    rows = np.array([[1, 0], [0, 1], [-1, 0], [0, 3], [2, 0]], np.float64)
    np.save(tmp_path / "x.npy", rows)
    inputs = {"kind": "array", "path": str(tmp_path / "x.npy"), "count": 5}
    worker = infer(environment, backend, tmp_path / "two.onnx", inputs=inputs, batch=2)
    event = worker.event()
    assert [output["name"] for output in event["outputs"]] == ["scores", "best"]
    reply = worker.command("answers")
    assert [output["shape"] for output in reply["outputs"]] == [[5, 3], [5]]
    np.testing.assert_allclose(worker.output(0), rows @ weights, atol=1e-6)
    assert worker.output(1).dtype == np.int64
    assert worker.output(1).tolist() == [0, 1, 2, 1, 0]


@pytest.mark.parametrize(
    ("environment", "backend", "started", "build"),
    [
        ("onnxruntime-1.31", "onnxruntime", ["CPUExecutionProvider"], ("onnxruntime", "git")),
        ("onnxruntime-1.17", "onnxruntime", ["CPUExecutionProvider"], ("onnxruntime", "git")),
        ("openvino-2026.4", "openvino", ["CPU"], ("openvino", "build")),
        ("litert-2.3", "tflite", ["xnnpack", "builtin", "reference"], ("tflite", "package")),
        ("torch-2.13", "torch.eager", ["onednn", "native"], ("torch", "onednn")),
    ],
)
def test_a_probe_starts_each_provider_and_says_which_one_does_not(
    environment: str, backend: str, started: list[str], build: tuple[str, str]
) -> None:
    probed = provision(resolve(environment), SilentProgress()).probe
    found = probed["backends"][backend]
    assert found["started"] == started
    assert set(found["started"]) | set(found["refused"]) == set(found["providers"])
    assert probed["builds"][build[0]][build[1]]
    if "AzureExecutionProvider" in found["providers"]:
        assert found["refused"]["AzureExecutionProvider"] == (
            "a tiny model ran on CPUExecutionProvider instead"
        )


PLACED = """
import sys, json, tempfile
import numpy as np, onnxruntime as ort
from runner.errors import RunnerError
from runner.placement import read_profile, require
options = ort.SessionOptions()
options.enable_profiling = True
options.profile_file_prefix = tempfile.mkdtemp() + "/profile"
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for _ in range(2):
    session.run(None, {"input": np.zeros((1, 3, 224, 224), np.float32)})
found = read_profile(session.end_profiling())
try:
    require(found, "CUDAExecutionProvider")
except RunnerError as error:
    print(json.dumps([found.nodes, found.computed_on_cpu, error.kind, error.message]))
"""


@pytest.mark.parametrize(
    "environment", ["onnxruntime-1.17", "onnxruntime-1.20", "onnxruntime-1.31"]
)
def test_a_real_profile_shows_that_a_model_is_not_on_the_gpu(
    real_data: Path, environment: str
) -> None:
    done = subprocess.run(
        [interpreter(environment), "-c", PLACED, str(real_data / MOBILENET)],
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        check=True,
    )
    nodes, computed, kind, message = json.loads(done.stdout)
    assert nodes == {"CPUExecutionProvider": 56}
    assert computed["Conv"] == 52
    assert sum(computed.values()) == 56
    assert kind == "unsupported"
    assert "56 nodes that compute ran on the CPU (Conv 52" in message


@pytest.mark.parametrize(
    ("environment", "backend", "words"),
    [
        ("onnxruntime-1.31", "onnxruntime", "install onnxruntime-gpu"),
        ("torch-2.13", "torch.eager", "this PyTorch is built for the CPU"),
    ],
)
def test_a_build_for_the_cpu_refuses_the_gpu(
    infer: Infer, real_data: Path, tmp_path: Path, environment: str, backend: str, words: str
) -> None:
    model = real_data / MOBILENET
    if backend == "torch.eager":
        model = tmp_path / "m.pt2"
        model.write_bytes(b"never read")
    worker = infer(environment, backend, model, device="cuda")
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert words in worker.error()["message"]
