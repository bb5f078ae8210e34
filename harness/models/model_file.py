"""What a model file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import ModelError

Shape = tuple[int | None, ...]
Format = Literal[
    "onnx", "tflite", "weights", "keras", "savedmodel", "graphdef", "keras_weights", "pt2"
]
NEED_ARCHITECTURE: tuple[Format, ...] = ("weights", "keras_weights")
"""Formats that hold arrays and no graph."""

_COPY_AGAIN = "Copy or export the model again, and compare sizes with the original."


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
        path: the file; of a SavedModel the folder.
        format: what it is; the runner uses the same names.
        sha256: of the file's bytes; with external data, and of a folder, of the names and bytes
            of all its files.
        inputs: without initialisers.
        outputs: in order; a shape of None, or a dimension of None, is one the file does not tell.
        opset: of ONNX's own operators; None for other formats.
        ir_version: of ONNX; None for other formats.
        external_files: files beside it that hold its weights.
        size_bytes: of all its files.
        tensors: the arrays of a weights file, in its order; empty for other formats.
        architecture: of arrays without a graph; None for other formats.
        default_size: height and width in pixels that an architecture was made for; an input that
            leaves them open takes these where a recipe names none.
    """

    path: Path
    format: Format
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int | None
    ir_version: int | None
    external_files: tuple[Path, ...]
    size_bytes: int
    tensors: tuple[TensorSpec, ...] = ()
    architecture: str | None = None
    default_size: int | None = None


def not_whole(path: Path, kind: str, reason: str, remedy: str = _COPY_AGAIN) -> ModelError:
    """The error for a file that is cut short or is no model at all."""
    return ModelError(f"{path} is truncated or not {kind} file: {reason}.", remedy)


def listed(names: list[str] | tuple[str, ...], most: int = 4) -> str:
    """Names for a message, the first few of them, each shortened."""
    shown = ", ".join(name if len(name) <= 80 else f"{name[:77]}…" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
