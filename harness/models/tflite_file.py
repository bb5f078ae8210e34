"""Reading TFLite files: inputs, outputs, quantisation, and whether all weights are there."""

from __future__ import annotations

import hashlib
import math
import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.models.model_file import ModelFile, TensorSpec, not_whole

_KIND = "a TFLite"
_ZIP_BEGIN = b"PK\x03\x04"
_NAMES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    5: "string",
    6: "bool",
    7: "int16",
    8: "complex64",
    9: "int8",
    10: "float64",
    11: "complex128",
    12: "uint64",
    15: "uint32",
    16: "uint16",
    17: "int4",
    18: "bfloat16",
}
_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1, 10: 8, 12: 8, 15: 4, 16: 2, 18: 2}


def read_tflite(path: Path) -> ModelFile:
    """Read a TFLite file.

    Raises:
        ModelError: not a whole TFLite file.
    """
    # Slow to import: two hundred modules, for files that most sweeps have none of.
    import tflite  # noqa: PLC0415

    raw = path.read_bytes()
    if len(raw) < 8 or raw[4:8] != b"TFL3":
        raise not_whole(path, _KIND, "it does not begin as one" if raw else "it is empty")
    try:
        model = tflite.Model.GetRootAs(raw, 0)
        end = _check_buffers(path, model, raw)
        _check_attachments(path, raw, end)
        graph = _walk(path, model)
        inputs = tuple(_spec(graph.Tensors(int(i))) for i in graph.InputsAsNumpy())
        outputs = tuple(_spec(graph.Tensors(int(i))) for i in graph.OutputsAsNumpy())
    except ModelError:
        raise
    # The flatbuffers reader trusts offsets: a cut or garbled file fails in one of these ways.
    except (
        struct.error,
        IndexError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        raise not_whole(path, _KIND, "its tables point outside the file") from error
    return ModelFile(
        path=path,
        format="tflite",
        sha256=hashlib.sha256(raw).hexdigest(),
        inputs=inputs,
        outputs=outputs,
        opset=None,
        ir_version=None,
        external_files=(),
        size_bytes=len(raw),
    )


def _check_buffers(path: Path, model: Any, raw: bytes) -> int:
    """Check that all buffers lie within the file; where the last of them ends."""
    begin, last = _address(np.frombuffer(raw, np.uint8)), 0
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        length = buffer.DataLength()
        if length:
            data = buffer.DataAsNumpy()
            if len(data) != length:
                raise not_whole(path, _KIND, f"buffer {index} ends outside the file")
            last = max(last, _address(data) - begin + length)
        # Weights of files over 2 GiB stand behind the tables, at an offset.
        if buffer.Offset() > 1:
            last = max(last, buffer.Offset() + buffer.Size())
            if last > len(raw):
                raise not_whole(path, _KIND, f"buffer {index} ends outside the file")
    return last


def _address(array: NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


def _check_attachments(path: Path, raw: bytes, end: int) -> None:
    """Check the archive of label files that metadata tools append: its end is the file's end."""
    if raw.find(_ZIP_BEGIN, end) >= 0 and not zipfile.is_zipfile(BytesIO(raw)):
        raise not_whole(path, _KIND, "the archive of attached files at its end is cut")


def _walk(path: Path, model: Any) -> Any:
    """Visit every tensor and operator, so that a loose end shows now; the main graph."""
    if model.SubgraphsLength() == 0:
        raise not_whole(path, _KIND, "it holds no graph")
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        for index in range(graph.TensorsLength()):
            _check_tensor(path, model, graph.Tensors(index))
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            if operator.OpcodeIndex() >= model.OperatorCodesLength():
                raise not_whole(path, _KIND, f"operator {index} has no code")
            for port in (*operator.InputsAsNumpy(), *operator.OutputsAsNumpy()):
                if int(port) >= graph.TensorsLength():
                    raise not_whole(path, _KIND, f"operator {index} has no tensor {port}")
    for index in range(model.OperatorCodesLength()):
        model.OperatorCodes(index).Version()
    graph = model.Subgraphs(0)
    if graph.OperatorsLength() == 0 or graph.OutputsLength() == 0:
        raise not_whole(path, _KIND, "its graph is empty")
    return graph


def _check_tensor(path: Path, model: Any, tensor: Any) -> None:
    spec = _spec(tensor)
    if tensor.Buffer() >= model.BuffersLength():
        raise not_whole(path, _KIND, f"the tensor {spec.name!r} has no buffer")
    stored = model.Buffers(tensor.Buffer()).DataLength()
    width = _BYTES.get(tensor.Type())
    if not stored or width is None or tensor.Sparsity() is not None:
        return
    needed = math.prod(tensor.Shape(i) for i in range(tensor.ShapeLength())) * width
    if stored != needed:
        raise not_whole(path, _KIND, f"the weights {spec.name!r} have {stored} of {needed} bytes")


def _spec(tensor: Any) -> TensorSpec:
    signature = [tensor.ShapeSignature(i) for i in range(tensor.ShapeSignatureLength())]
    shape = signature or [tensor.Shape(i) for i in range(tensor.ShapeLength())]
    quantisation = tensor.Quantization()
    scale = zero_point = None
    if quantisation is not None and quantisation.ScaleLength() == 1:
        scale = float(quantisation.Scale(0))
        zero_point = int(quantisation.ZeroPoint(0)) if quantisation.ZeroPointLength() else 0
    return TensorSpec(
        name=(tensor.Name() or b"").decode("utf-8", "replace"),
        dtype=_NAMES.get(tensor.Type(), f"type-{tensor.Type()}"),
        shape=tuple(int(d) if d > 0 else None for d in shape),
        scale=scale,
        zero_point=zero_point,
    )
