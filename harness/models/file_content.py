"""What a file is by its bytes: the wrong suffix, a failed download, a pointer instead of a model."""

from __future__ import annotations

import codecs
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

_HEAD_BYTES = 4096
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")


@dataclass(frozen=True, slots=True)
class Content:
    """A kind of content.

    Attributes:
        kind: a key of `KINDS`.
        said: what the file is, for messages: `a Keras model`.
        remedy: what to do with it.
        suffix: what such files are named by; empty where they are no models.
    """

    kind: str
    said: str
    remedy: str
    suffix: str = ""


_SAVE_STATE = (
    "Load it where you trust it, and save the state_dict: "
    "torch.save(model.state_dict(), 'weights.pth')."
)
_EXPORT = "Export the model to one of the formats that are read (ONNX with opset 17 reaches most)."
KINDS = {
    content.kind: content
    for content in (
        Content("empty", "empty", "Copy or download the model again."),
        Content(
            "git-lfs",
            "a Git LFS pointer, not the model",
            "Fetch the file itself: git lfs pull, in the folder that it came from.",
        ),
        Content(
            "web-page",
            "a web page, not the model (a download that failed leaves one)",
            "Download the model again, and look at what its address really gives.",
        ),
        Content("text", "a text file", "Give the model's own file."),
        Content("npz", "an archive of NumPy arrays", "", ".npz"),
        Content("npy", "a single NumPy array", "Save named arrays: numpy.savez(path, **arrays)."),
        Content("torch-zip", "a file of PyTorch", "", ".pth"),
        Content("torch-script", "a TorchScript program, not a state_dict", _SAVE_STATE),
        Content("torch-program", "an exported program of PyTorch", "", ".pt2"),
        Content("torch-tar", "a file of PyTorch before 0.1.10", _SAVE_STATE),
        Content("pickle", "a Python pickle", "", ".pth"),
        Content("safetensors", "a safetensors file", "", ".safetensors"),
        Content("keras", "a Keras model", "", ".keras"),
        Content("hdf5", "an HDF5 file", "", ".h5"),
        Content("tflite", "a TFLite model", "", ".tflite"),
        Content("zip", "a zip archive that holds no model", "Unpack it, and give the model in it."),
        Content("cut-zip", "a zip archive without its end, so the file was cut", ""),
        Content("garbled-zip", "a zip archive whose list of parts is garbled", ""),
        Content("gzip", "compressed with gzip", "Unpack it first: gunzip."),
        Content("gguf", "a GGUF file", _EXPORT),
        Content("unknown", "of a kind that is not known here", _EXPORT),
    )
}


def content_of(path: Path) -> Content:
    """What a file is, judged by its first bytes; of zip archives by the names in them.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return KINDS[_zip_kind(path)]
    return KINDS[_kind(head)]


def _kind(head: bytes) -> str:  # noqa: PLR0911 - a list of signatures
    if not head:
        return "empty"
    for magic, kind in (
        (b"version https://git-lfs", "git-lfs"),
        (b"\x89HDF\r\n\x1a\n", "hdf5"),
        (b"\x93NUMPY", "npy"),
        (b"\x1f\x8b", "gzip"),
        (b"GGUF", "gguf"),
    ):
        if head.startswith(magic):
            return kind
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[257:262] == b"ustar":
        return "torch-tar"
    if head[0] == 0x80 and len(head) > 1 and head[1] <= 5:
        return "pickle"
    if _begins_as_safetensors(head):
        return "safetensors"
    if _is_text(head):
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
        return "web-page" if start.startswith((b"<!doctype html", b"<html", b"<?xml")) else "text"
    return "unknown"


def _begins_as_safetensors(head: bytes) -> bool:
    if len(head) < 10:
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return head[8:9] == b"{" and 2 <= length <= 100_000_000 and head[9:10] in b'"} \n'


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in _TEXT_CONTROLS for byte in head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "cut-zip"
    # zipfile trusts the list of parts: a garbled one fails in one of these ways.
    except (ValueError, struct.error, NotImplementedError):
        return "garbled-zip"
    ends = {name.split("/", 1)[-1] for name in names}
    if "config.json" in names and ("metadata.json" in names or "model.weights.h5" in names):
        return "keras"
    if "archive_format" in ends or any(
        name.endswith(("serialized_exported_program.json", "models/model.json")) for name in names
    ):
        return "torch-program"
    if "data.pkl" in ends:
        code = "constants.pkl" in ends or any(name.startswith("code/") for name in ends)
        return "torch-script" if code else "torch-zip"
    return "npz" if any(name.endswith(".npy") for name in names) else "zip"


def first_words(path: Path) -> str:
    """The beginning of a text file, for messages: what a server said in place of the model."""
    with path.open("rb") as stream:
        head = stream.read(200)
    words = " ".join(head.decode("utf-8", "replace").split())
    return words if len(words) <= 60 else f"{words[:57]}…"
