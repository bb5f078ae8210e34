"""A float TFLite model with a dynamic batch, small enough to know its answers by heart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

WEIGHTS = np.array([[1, 0.5], [0, 2], [-1, 0]], np.float32)
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


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("environment", "backend", "settings"),
    [
        ("litert-2.3", "tflite", {"xnnpack": True}),
        ("litert-2.3", "tflite", {"xnnpack": False}),
        ("openvino-2026.4", "openvino", {}),
    ],
)
def test_a_float_model_with_a_dynamic_batch(
    start: Any, tmp_path: Path, environment: str, backend: str, settings: dict[str, Any], batch: int
) -> None:
    try:
        python = provision(resolve(environment), SilentProgress()).python
    except HarnessError as error:
        pytest.skip(f"{environment} can't be installed here: {error}")
    (tmp_path / "m.tflite").write_bytes(fully_connected(WEIGHTS))
    np.save(tmp_path / "x.npy", ROWS)
    worker = start(
        python=str(python),
        backend=backend,
        settings=settings,
        model={"path": str(tmp_path / "m.tflite"), "format": "tflite"},
        inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": 5},
        batch=batch,
    )
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    assert event["input"]["shape"] == [batch, 2]
    if backend == "tflite":
        assert event["ran"]["delegated_partitions"] == int(settings["xnnpack"])
    assert worker.command("answers")["outputs"][0]["shape"] == [5, 3]
    assert (worker.output() == ROWS @ WEIGHTS.T).all()
