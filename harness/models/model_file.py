"""What a model file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import ModelError

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output.

    Attributes:
        name: as in the file.
        dtype: NumPy's name (`float32`, `uint8`, …; `bfloat16`, `int4`, `string` where NumPy has none).
        shape: None for a dimension that is open; None as a whole where even the rank is open.
        scale: of a quantised tensor: value = (integer - zero_point) * scale.
        zero_point: likewise.
    """

    name: str
    dtype: str
    shape: Shape | None
    scale: float | None = None
    zero_point: int | None = None

    def shown(self) -> str:
        """For messages: `input float32 [N, 3, 224, 224]`."""
        if self.shape is None:
            return f"{self.name} {self.dtype} of any rank"
        return f"{self.name} {self.dtype} [{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file, read but not run.

    Attributes:
        path: the file.
        format: `onnx` or `tflite`.
        sha256: of the file's bytes; with external data, of the names and bytes of all its files.
        inputs: without initialisers.
        outputs: in order.
        opset: of ONNX's own operators; None for other formats.
        ir_version: of ONNX; None for other formats.
        external_files: files beside it that hold its weights.
        size_bytes: of all its files.
    """

    path: Path
    format: Literal["onnx", "tflite"]
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int | None
    ir_version: int | None
    external_files: tuple[Path, ...]
    size_bytes: int


def not_whole(path: Path, kind: str, reason: str) -> ModelError:
    """The error for a file that is cut short or is no model at all."""
    return ModelError(
        f"{path} is truncated or not {kind} file: {reason}.",
        "Copy or export the model again, and compare sizes with the original.",
    )
