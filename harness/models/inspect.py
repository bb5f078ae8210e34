"""Reading what a model file holds, without any framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ModelError
from harness.models.file_content import Content, content_of, first_words
from harness.models.graphdef_file import read_graphdef
from harness.models.keras_file import read_keras
from harness.models.model_file import Format, ModelFile, not_whole
from harness.models.onnx_file import read_onnx
from harness.models.program_file import read_program
from harness.models.savedmodel_file import read_savedmodel
from harness.models.tflite_file import read_tflite
from harness.models.weights_file import read_keras_weights, read_weights
from harness.models.zoo import architecture_facts


@dataclass(frozen=True, slots=True)
class _Named:
    """What files of a suffix should be.

    Attributes:
        format: of the model.
        said: for messages: `an ONNX`.
        kinds: of content (`file_content`) that are read under this suffix.
    """

    format: Format
    said: str
    kinds: tuple[str, ...]


_PYTORCH = _Named("weights", "a PyTorch weights", ("torch-zip", "pickle"))
_HDF5 = _Named("keras_weights", "an HDF5", ("hdf5",))
_SUFFIXES = {
    ".onnx": _Named("onnx", "an ONNX", ("unknown",)),
    ".tflite": _Named("tflite", "a TFLite", ("tflite",)),
    ".npz": _Named("weights", "an .npz", ("npz",)),
    ".pth": _PYTORCH,
    ".pt": _PYTORCH,
    ".bin": _PYTORCH,
    ".pt2": _Named("pt2", "an exported PyTorch", ("torch-program",)),
    ".safetensors": _Named("weights", "a safetensors", ("safetensors",)),
    ".keras": _Named("keras", "a Keras", ("keras",)),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".pb": _Named("graphdef", "a frozen graph (.pb)", ("unknown",)),
}
_WHOLE: dict[Format, Callable[[Path], ModelFile]] = {
    "onnx": read_onnx,
    "tflite": read_tflite,
    "keras": read_keras,
    "graphdef": read_graphdef,
    "pt2": read_program,
}
_COPY = "Copy or export the model again, and compare sizes with the original."


def inspect_model(path: Path, architecture: str | None = None) -> ModelFile:
    """What a model file says of itself; weights are checked for being whole, not read into use.

    Args:
        path: a file, or the folder of a SavedModel.
        architecture: of weights without a graph (`resnet50`); None where their names and sizes
            tell. A file with a graph of its own does not need it; its name must be known there
            too, for it says which recipe is the target's.

    Raises:
        ModelError: no such file, a format that is not read, a truncated file, weights that the
            file refers to and that are not there, code that would run when it is loaded, an
            unknown architecture, or weights of one that is not told.
    """
    path = path.expanduser()
    if not path.exists():
        raise ModelError(f"There is no model file {path}.", "Give the path of a model file.")
    if architecture is not None:
        architecture_facts(architecture)
    try:
        return _read(path.resolve(), path, architecture)
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error


def _read(path: Path, given: Path, architecture: str | None) -> ModelFile:
    if path.is_dir():
        return _folder(path, given)
    # A link into a cache is named as its owner named it.
    named = _SUFFIXES.get(given.suffix.lower())
    if named is None or not path.is_file():
        raise _not_read(path, given)
    kind = _check_content(path, given, named)
    if named.format == "weights":
        return read_weights(path, kind, architecture)
    if named.format == "keras_weights":
        return read_keras_weights(path, architecture)
    return _WHOLE[named.format](path)


def _folder(path: Path, given: Path) -> ModelFile:
    if any((path / name).exists() for name in ("saved_model.pb", "saved_model.pbtxt")):
        return read_savedmodel(path)
    raise ModelError(
        f"{given} is a folder without saved_model.pb.",
        "Give the folder of a SavedModel, or a model's own file.",
    )


def _not_read(path: Path, given: Path) -> ModelError:
    content = content_of(path) if path.is_file() else None
    known = ", ".join(_SUFFIXES)
    if content is not None and content.suffix:
        remedy = f"It looks like {content.said}: name it with {content.suffix}."
    else:
        remedy = "Export the model to ONNX (opset 17, IR version 8 is read by the most versions)."
    what = f"a {given.suffix} file" if given.suffix else "a file without a suffix"
    return ModelError(
        f"{given} is {what}; models are read from {known} files and SavedModel folders.", remedy
    )


def _check_content(path: Path, given: Path, named: _Named) -> str:
    """The kind of a file's content, where it is what its suffix says.

    Text and the unknown go on under a suffix of PyTorch: the first pickles had no signature.
    """
    content = content_of(path)
    if content.kind in named.kinds or (named is _PYTORCH and content.kind in {"text", "unknown"}):
        return content.kind
    if content.suffix:
        remedy = f"Rename it to {given.with_suffix(content.suffix).name}."
        raise not_whole(given, named.said, f"it is {content.said}", remedy)
    if content.kind == "unknown":
        raise not_whole(given, named.said, "it does not begin as one", _COPY)
    raise not_whole(given, named.said, f"it is {_said(path, content)}", content.remedy or _COPY)


def _said(path: Path, content: Content) -> str:
    return f"{content.said} ({first_words(path)!r})" if content.kind == "text" else content.said
