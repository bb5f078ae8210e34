"""A float TFLite model with a dynamic batch, small enough to know its answers by heart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite
from support.installed import cannot_install

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

WEIGHTS = np.array([[1, 0.5], [0, 2], [-1, 0]], np.float32)
INT8 = "models/mobilenet_v2_1.0_224_tf_int8_ptq.tflite"
ROWS = np.array([[1, 0], [0, 1], [-1, 0], [0, 3], [2, 0]], np.float32)


class Builder(flatbuffers.Builder):
    """A flatbuffer builder that takes whole lists."""

    def numbers(self, start: Callable[..., Any], values: Sequence[int]) -> int:
        start(self, len(values))
        for value in reversed(values):
            self.PrependInt32(value)
        return int(self.EndVector())

    def tables(self, start: Callable[..., Any], offsets: Sequence[int]) -> int:
        start(self, len(offsets))
        for offset in reversed(offsets):
            self.PrependUOffsetTRelative(offset)
        return int(self.EndVector())

    def buffer(self, data: bytes) -> int:
        content = self.CreateByteVector(data) if data else None
        tflite.BufferStart(self)
        if content is not None:
            tflite.BufferAddData(self, content)
        return int(tflite.BufferEnd(self))

    def tensor(self, name: str, shape: Sequence[int], buffer: int, *, dynamic: bool) -> int:
        text = self.CreateString(name)
        sizes = self.numbers(tflite.TensorStartShapeVector, shape)
        signature = None
        if dynamic:
            signature = self.numbers(tflite.TensorStartShapeSignatureVector, [-1, *shape[1:]])
        tflite.TensorStart(self)
        tflite.TensorAddName(self, text)
        tflite.TensorAddShape(self, sizes)
        tflite.TensorAddType(self, tflite.TensorType.FLOAT32)
        tflite.TensorAddBuffer(self, buffer)
        if signature is not None:
            tflite.TensorAddShapeSignature(self, signature)
        return int(tflite.TensorEnd(self))


def fully_connected(weights: np.ndarray) -> bytes:
    """y = x @ weights.T: input float32 [?, 2], output float32 [?, 3]."""
    out, into = weights.shape
    b = Builder(1024)
    buffers = [b.buffer(b""), b.buffer(weights.tobytes())]
    tensors = [
        b.tensor("x", [1, into], 0, dynamic=True),
        b.tensor("w", [out, into], 1, dynamic=False),
        b.tensor("y", [1, out], 0, dynamic=True),
    ]
    tensor_list = b.tables(tflite.SubGraphStartTensorsVector, tensors)
    tflite.FullyConnectedOptionsStart(b)
    options = tflite.FullyConnectedOptionsEnd(b)
    inputs = b.numbers(tflite.OperatorStartInputsVector, [0, 1, -1])
    outputs = b.numbers(tflite.OperatorStartOutputsVector, [2])
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, 0)
    tflite.OperatorAddInputs(b, inputs)
    tflite.OperatorAddOutputs(b, outputs)
    tflite.OperatorAddBuiltinOptionsType(b, tflite.BuiltinOptions.FullyConnectedOptions)
    tflite.OperatorAddBuiltinOptions(b, options)
    operators = b.tables(tflite.SubGraphStartOperatorsVector, [tflite.OperatorEnd(b)])
    graph_inputs = b.numbers(tflite.SubGraphStartInputsVector, [0])
    graph_outputs = b.numbers(tflite.SubGraphStartOutputsVector, [2])
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, tensor_list)
    tflite.SubGraphAddInputs(b, graph_inputs)
    tflite.SubGraphAddOutputs(b, graph_outputs)
    tflite.SubGraphAddOperators(b, operators)
    graphs = b.tables(tflite.ModelStartSubgraphsVector, [tflite.SubGraphEnd(b)])
    tflite.OperatorCodeStart(b)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(b, tflite.BuiltinOperator.FULLY_CONNECTED)
    tflite.OperatorCodeAddVersion(b, 1)
    tflite.OperatorCodeAddBuiltinCode(b, tflite.BuiltinOperator.FULLY_CONNECTED)
    codes = b.tables(tflite.ModelStartOperatorCodesVector, [tflite.OperatorCodeEnd(b)])
    buffer_list = b.tables(tflite.ModelStartBuffersVector, buffers)
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddOperatorCodes(b, codes)
    tflite.ModelAddSubgraphs(b, graphs)
    tflite.ModelAddBuffers(b, buffer_list)
    b.Finish(tflite.ModelEnd(b), file_identifier=b"TFL3")
    return bytes(b.Output())


def python_of(environment: str) -> str:
    """The Python of a shipped environment, installed if it is not yet; skips where it can't be."""
    try:
        return str(provision(resolve(environment), SilentProgress()).python)
    except HarnessError as error:
        cannot_install(environment, error)


@pytest.fixture
def load(start: Any, tmp_path: Path) -> Callable[..., Any]:
    """Start a worker on the tiny model and its rows: `load(environment, backend, **job)`."""

    def begin(environment: str, backend: str, weights: np.ndarray = WEIGHTS, **changes: Any) -> Any:
        (tmp_path / "m.tflite").write_bytes(fully_connected(weights))
        np.save(tmp_path / "x.npy", ROWS)
        return start(
            python=python_of(environment),
            backend=backend,
            model={"path": str(tmp_path / "m.tflite"), "format": "tflite"},
            inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": 5},
            **changes,
        )

    return begin


ENVIRONMENTS = ["litert-2.3", "litert-1.4", "tflite-runtime-2.14"]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("kernels", ["xnnpack", "builtin", "reference"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_float_model_runs_by_the_kernels_asked_for(
    load: Callable[..., Any], environment: str, kernels: str, batch: int
) -> None:
    worker = load(environment, "tflite", settings={"kernels": kernels}, batch=batch)
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    assert event["input"]["shape"] == [batch, 2]
    ran = event["ran"]
    taken = int(kernels == "xnnpack")
    assert (ran["delegated_partitions"], ran["delegated_operators"]) == (taken, taken)
    assert ran["operators"] == {f"FULLY_CONNECTED ({kernels})": 1}
    assert ran["computes_in"] == ["float32"]
    assert ran.get("delegate_proven") == (True if kernels == "xnnpack" else None)
    assert ran["threads_started"] == 0
    assert worker.command("answers")["outputs"][0]["shape"] == [5, 3]
    assert (worker.output() == ROWS @ WEIGHTS.T).all()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_xnnpack_holds_a_pool_of_exactly_the_threads_asked_for(
    load: Callable[..., Any], environment: str
) -> None:
    worker = load(environment, "tflite", threads=2)
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    assert event["ran"]["threads_started"] == 1


def test_reference_kernels_refuse_more_than_one_thread(load: Callable[..., Any]) -> None:
    worker = load("litert-2.3", "tflite", threads=2, settings={"kernels": "reference"})
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "number of threads 2 (it supports: 1)" in worker.error()["message"]


@pytest.mark.parametrize(
    ("environment", "taken"), [("litert-2.3", 65), ("litert-1.4", 65), ("tflite-runtime-2.14", 0)]
)
def test_xnnpack_takes_a_quantised_model_or_is_refused(
    start: Any, tmp_path: Path, real_data: Path, environment: str, taken: int
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 224, 224, 3), np.uint8))
    worker = start(
        python=python_of(environment),
        backend="tflite",
        model={"path": str(real_data / INT8), "format": "tflite"},
        inputs={"kind": "pixels", "path": str(tmp_path / "x.npy"), "count": 1, "layout": "NHWC",
                "raw_quantised": True},
    )  # fmt: skip
    if taken:
        ran = worker.event()["ran"]
        assert ran["delegated_operators"] == taken
        own = {"QUANTIZE (builtin)": 2, "SOFTMAX (builtin)": 1}
        assert {kind: n for kind, n in ran["operators"].items() if "builtin" in kind} == own
        assert ran["operators"]["CONV_2D (xnnpack)"] == 36
        assert sum(ran["operators"].values()) == 68
        return
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert (
        "XNNPACK in tflite-runtime 2.14.0 takes none of the model's 68 operators"
        in (worker.error()["message"])
    )


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_runs_is_told_apart_and_two_processes_tell_the_same(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    def compiled(kernels: str, **changes: Any) -> dict[str, Any]:
        given = {"kernels": kernels, **changes.pop("settings", {})}
        worker = load(environment, "tflite", settings=given, fingerprint=True, **changes)
        event = worker.event()
        assert event is not None, (worker.wait(), worker.error(), worker.log())
        assert worker.command("answers")["outputs"][0]["shape"] == [5, 3]
        found: dict[str, Any] = event["compiled"]
        assert found["form"] == "tflite", found
        return found

    kernels = ("xnnpack", "builtin", "reference")
    found = {name: compiled(name) for name in kernels}
    assert [one["operators"] for one in found.values()] == [
        {f"FULLY_CONNECTED ({name})": 1} for name in kernels
    ]
    nearly = WEIGHTS.copy()
    nearly[2, 1] = -0.0
    assert (nearly == WEIGHTS).all()
    monkeypatch.setenv("SAID", "1")
    others = [
        compiled("xnnpack", weights=nearly),
        compiled("xnnpack", batch=5),
        compiled("xnnpack", settings={"variables": {"SAID": "1"}}),
    ]
    assert compiled("xnnpack") == found["xnnpack"]
    hashes = {one["sha256"] for one in (*found.values(), *others)}
    assert len(hashes) == len(found) + len(others)


@pytest.mark.parametrize("batch", [1, 2])
def test_openvino_runs_a_float_model_with_a_dynamic_batch(
    load: Callable[..., Any], batch: int
) -> None:
    worker = load("openvino-2026.4", "openvino", batch=batch)
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    assert event["input"]["shape"] == [batch, 2]
    assert worker.command("answers")["outputs"][0]["shape"] == [5, 3]
    assert (worker.output() == ROWS @ WEIGHTS.T).all()
