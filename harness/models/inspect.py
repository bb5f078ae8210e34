"""Reading what a model file holds, without any framework."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ModelError
from harness.models.model_file import ModelFile
from harness.models.onnx_file import read_onnx
from harness.models.tflite_file import read_tflite

_READERS = {".onnx": read_onnx, ".tflite": read_tflite}


def inspect_model(path: Path) -> ModelFile:
    """What a model file says of itself; weights are checked for being whole, not read into use.

    Raises:
        ModelError: no such file, a format that is not read, a truncated file, or weights that
            the file refers to and that are not there.
    """
    path = path.expanduser()
    if not path.exists():
        raise ModelError(
            f"There is no model file {path}.", "Give the path of a model with --model."
        )
    reader = _READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        what = "a folder" if path.is_dir() else f"a {path.suffix or 'nameless'} file"
        raise ModelError(
            f"{path} is {what}; models are read from .onnx and .tflite files.",
            "Export the model to ONNX (opset 17, IR version 8 is read by the most versions).",
        )
    try:
        return reader(path.resolve())
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error
