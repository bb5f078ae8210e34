"""Files of arrays without a graph: which architecture they belong to, and what that makes them."""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path

from harness.canonical import sha256_file
from harness.errors import ModelError
from harness.models.array_file import read_npz_tensors, read_safetensors
from harness.models.model_file import Format, ModelFile, TensorSpec, listed, not_whole
from harness.models.torch_file import read_torch_tensors
from harness.models.zoo import ArchitectureFacts, architecture_facts, architectures

_ARRAYS = {
    "npz": read_npz_tensors,
    "safetensors": read_safetensors,
}
_FIXED_SIZE = ("vit_b_16",)
"""Architectures that learn an array for each place of the image."""
_NUMBERS = {
    "convnext_tiny": 27_756_000,
    "densenet121": 6_870_208,
    "efficientnet_b0": 3_956_192,
    "inception_v3": 21_751_136,
    "mobilenet_v2": 2_189_760,
    "mobilenet_v3_large": 4_171_272,
    "resnet101_v2": 42_394_816,
    "resnet50": 23_454_912,
    "squeezenet1_1": 719_552,
    "vit_b_16": 85_524_480,
}
"""How many numbers the matrices and kernels before the classifier have: the same in torchvision
and timm, whatever the arrays are called and whether batch norm is folded."""
_AUXILIARY = "AuxLogits."
"""How the arrays of InceptionV3's auxiliary classifier begin, which a file may lack."""
_TWINS = ("resnet101_v2",)
"""Architectures that share number and classifier's name with one that is not known here: the
first ResNet-101 has them too."""
_HDF5 = "an HDF5"
_HDF5_BEGIN = b"\x89HDF\r\n\x1a\n"
_UNDEFINED = (1 << 64) - 1


def read_weights(path: Path, kind: str, architecture: str | None) -> ModelFile:
    """Read named arrays; the architecture gives them inputs and outputs.

    The input is NCHW float32. Height and width stay open where the architecture allows them, so
    that a recipe's size can win, with the architecture's own as `default_size`.

    Args:
        path: of the file.
        kind: of its content: `npz`, `safetensors`, or any other for PyTorch's.
        architecture: a name of the zoo; None tells it from the arrays' names.

    Raises:
        ModelError: not a whole file, an architecture that is unknown or not told, or one whose
            classifier is not among the arrays.
    """
    tensors = _ARRAYS.get(kind, read_torch_tensors)(path)
    facts = architecture_facts(architecture) if architecture else _told_by(path, tensors)
    classes = _classes(path, tensors, facts)
    return _file(path, "weights", facts, classes, tensors)


def read_keras_weights(path: Path, architecture: str | None) -> ModelFile:
    """Read the frame of an HDF5 file of weights, as keras.applications keeps them.

    Its arrays cannot be listed without the library that wrote it: only its signature, its own
    end and whether it names a whole model are looked at. So the number of classes stays open,
    and weights that do not fit the architecture show when the runner loads them.

    Raises:
        ModelError: not a whole HDF5 file, or an architecture that is unknown or not said.
    """
    _check_hdf5(path)
    if architecture is None:
        whole = _names_a_model(path)
        raise ModelError(
            f"{path} is an HDF5 file"
            + (
                " of a whole Keras model."
                if whole
                else ", and which architecture its weights belong to is not said."
            ),
            "Save it as .keras: keras.models.load_model(path).save('model.keras')."
            if whole
            else f"Give --architecture NAME. Known: {', '.join(architectures())}.",
        )
    facts = architecture_facts(architecture)
    if facts.keras is None:
        raise ModelError(
            f"{path} holds Keras's weights, and keras.applications has no {facts.name}.",
            "Give the weights as .npz, .safetensors or a state_dict.",
        )
    return _file(path, "keras_weights", facts, None, ())


def _file(
    path: Path,
    form: Format,
    facts: ArchitectureFacts,
    classes: int | None,
    tensors: tuple[TensorSpec, ...],
) -> ModelFile:
    side = facts.size if facts.name in _FIXED_SIZE else None
    return ModelFile(
        path=path,
        format=form,
        sha256=sha256_file(path),
        inputs=(TensorSpec("input", "float32", (None, 3, side, side)),),
        outputs=(TensorSpec("logits", "float32", (None, classes)),),
        opset=None,
        ir_version=None,
        external_files=(),
        size_bytes=path.stat().st_size,
        tensors=tensors,
        architecture=facts.name,
        default_size=facts.size,
    )


def _told_by(path: Path, tensors: tuple[TensorSpec, ...]) -> ArchitectureFacts:
    """The one architecture that has such a classifier and as many numbers before it."""
    names = {tensor.name for tensor in tensors}
    known = [architecture_facts(name) for name in architectures()]
    alike = [facts for facts in known if names & set(facts.heads)]
    found = [
        facts
        for facts in alike
        if _numbers(tensors, facts) == _NUMBERS.get(facts.name)
        and (facts.name not in _TWINS or names & set(facts.tell))
    ]
    if len(found) == 1:
        return found[0]
    shown = listed([tensor.name for tensor in tensors])
    near = [facts.name for facts in alike if names & set(facts.tell)]
    may = f" Some are called as in {' and '.join(near)}." if near else ""
    raise ModelError(
        f"{path} holds {len(tensors)} arrays ({shown}); which architecture they belong to is not "
        f"said.{may}",
        f"Give --architecture NAME. Known: {', '.join(facts.name for facts in known)}.",
    )


def _numbers(tensors: tuple[TensorSpec, ...], facts: ArchitectureFacts) -> int:
    return sum(
        math.prod(side or 0 for side in tensor.shape or ())
        for tensor in tensors
        if len(tensor.shape or ()) in {2, 4}
        and tensor.name not in facts.heads
        and not tensor.name.startswith(_AUXILIARY)
    )


def _classes(path: Path, tensors: tuple[TensorSpec, ...], facts: ArchitectureFacts) -> int:
    by_name = {tensor.name: tensor for tensor in tensors}
    head = next((by_name[name] for name in facts.heads if name in by_name), None)
    if head is None:
        shown = listed([tensor.name for tensor in tensors])
        raise ModelError(
            f"{path} holds {len(tensors)} arrays ({shown}), but not the classifier of "
            f"{facts.name} ({' or '.join(facts.heads)}).",
            "Give the architecture that they belong to, or a file with its classifier (not the "
            "backbone alone).",
        )
    shape = head.shape or ()
    if len(shape) not in {2, 4} or not shape[0] or any(side != 1 for side in shape[2:]):
        raise ModelError(
            f"{path}: the classifier {head.shown()} of {facts.name} should be [classes, features].",
            "Save linear layers as PyTorch keeps them, [out, in].",
        )
    return shape[0]


def _check_hdf5(path: Path) -> None:
    """Hold the file's size against the end that its superblock states (HDF5 specification, II.A)."""
    with path.open("rb") as stream:
        head = stream.read(128)
    if not head.startswith(_HDF5_BEGIN):
        raise not_whole(path, _HDF5, "it does not begin as one")
    size_bytes = path.stat().st_size
    if len(head) < 48:
        raise not_whole(path, _HDF5, f"it has {size_bytes} bytes")
    version, width = head[8], head[9 if head[8] >= 2 else 13]
    # Versions 0 and 1 put base address and free-space address before the end, 2 and 3 base and
    # extension; version 1 has four more bytes before them.
    begin = {0: 24, 1: 28, 2: 12, 3: 12}.get(version)
    if begin is None or width != 8:
        raise not_whole(path, _HDF5, f"its superblock (version {version}) is not known")
    base, _, end = struct.unpack_from("<QQQ", head, begin)
    if end == _UNDEFINED or base + end > size_bytes:
        raise not_whole(path, _HDF5, f"it should end at byte {end} and has {size_bytes}")


def _names_a_model(path: Path) -> bool:
    """Whether the attribute in which Keras keeps a whole model's graph is there by name."""
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(b"model_config\0") >= 0
