"""Weights files that contradict themselves or claim too much, and the names that pickles ask for."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import weights_files as made

from harness.models import torch_file
from runner.errors import RunnerError
from runner.support import weights_file, weights_pickle, weights_values

SHAPES = {"features.0.weight": (4, 3, 2, 2), "features.0.bias": (4,), "scalar": ()}


def refused(path: Path) -> str:
    """What the refusal says."""
    with pytest.raises(RunnerError) as caught:
        weights_file.read(str(path))
    assert caught.value.kind == "model"
    return caught.value.message


def of_view(
    path: Path, shape: tuple[int, ...], strides: tuple[int, ...], elements: int, times: int = 1
) -> Path:
    """A state_dict in the zip format whose tensors are views of one storage of zeros."""
    storage = b"(" + made.text("storage") + b"ctorch\nFloatStorage\n" + made.text("0")
    storage += made.text("cpu") + made.number(elements) + b"tQ"
    sizes = b"(" + b"".join(map(made.number, shape)) + b"t"
    sizes += b"(" + b"".join(map(made.number, strides)) + b"t"
    view = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + made.number(0) + sizes
    view += b"\x89" + made.ORDERED + b"tR"
    items = b"".join(made.text(f"w{i}") + view for i in range(times))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", made.pickled(b"}(" + items + b"u"))
        archive.writestr("archive/data/0", bytes(4 * elements))
    return path


@pytest.mark.parametrize(
    ("shape", "strides", "elements"),
    [((500_000_000,), (0,), 1), ((2, 3), (0, 1), 3), ((3, 3), (1, 1), 5)],
)
def test_a_tensor_of_more_numbers_than_its_storage_has_is_refused(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], elements: int
) -> None:
    assert "larger than its storage" in refused(
        of_view(tmp_path / "w.pth", shape, strides, elements)
    )


def test_an_expanded_tensor_that_its_storage_could_hold_is_read(tmp_path: Path) -> None:
    path = of_view(tmp_path / "w.pth", (1, 6), (0, 1), 6)
    assert weights_file.read(str(path))["w0"].shape == (1, 6)


def test_tied_weights_are_read_and_a_storage_seen_too_often_is_not(tmp_path: Path) -> None:
    assert len(weights_file.read(str(of_view(tmp_path / "8.pth", (6,), (1,), 6, times=8)))) == 8
    assert "more than 8 times" in refused(of_view(tmp_path / "9.pth", (6,), (1,), 6, times=9))


def laughs(levels: int, times: int) -> bytes:
    """Dictionaries in dictionaries: each level holds the one below it several times, by memo."""
    body = b"}(" + made.text("w") + made.tensor("0", (2,), elements=2) + b"uq\x000"
    for level in range(levels):
        held = b"".join(made.text(str(key)) + b"h" + bytes([level]) for key in range(times))
        body += b"}(" + held + b"uq" + bytes([level + 1]) + b"0"
    return made.pickled(
        b"}("
        + (made.text("v") + made.tensor("0", (2,), elements=2))
        + (made.text("more") + b"h" + bytes([levels]))
        + b"u"
    ).replace(b"\x80\x02", b"\x80\x02" + body, 1)


def test_a_dictionary_that_is_shared_is_looked_into_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten to the sixth copies of the innermost one, if each were copied."""
    monkeypatch.setattr(weights_pickle, "_MOST_ENTRIES", 100)
    path = made.torch_zip(tmp_path / "w.pth", {"v": (2,)}, laughs(6, 10))
    assert list(weights_file.read(str(path))) == ["v"]


def test_a_pickle_of_too_many_entries_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_pickle, "_MOST_ENTRIES", 3)
    path = made.torch_zip(tmp_path / "w.pth", SHAPES)
    assert "more than 3 entries" in refused(path)


def test_a_dictionary_within_itself_ends(tmp_path: Path) -> None:
    item = made.text("v") + made.tensor("0", (2,), elements=2)
    body = made.pickled(b"}q\x00(" + item + made.text("self") + b"h\x00u")
    path = made.torch_zip(tmp_path / "w.pth", {"v": (2,)}, body)
    assert list(weights_file.read(str(path))) == ["v"]


@pytest.mark.parametrize("claimed", [2**28, 2**33])
def test_a_legacy_file_that_claims_more_than_it_has_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claimed: int
) -> None:
    path = made.torch_legacy(tmp_path / "w.pth", {"w": (2,)})
    number = b"\x8a\x05" + claimed.to_bytes(5, "little")
    content = path.read_bytes()
    at = content.index(made.text("cpu")) + len(made.text("cpu"))
    assert content[at : at + 5] == made.number(2)
    content = content[:at] + number + content[at + 5 :]
    path.write_bytes(content[:-16] + struct.pack("<q", claimed) + content[-8:])
    asked = []

    def read_exactly(file: Any, count: int, what: str) -> bytes:
        asked.append(count)
        return weights_values.read_exactly(file, count, what)

    monkeypatch.setattr(weights_pickle, "read_exactly", read_exactly)
    assert f"has 8 of {4 * claimed} bytes" in refused(path)
    assert asked == [8]


def with_header(path: Path, header: str, room: int) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(room))
    return path


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            '"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
            "names 'w' twice",
        ),
        (
            '{"w":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,8]}}',
            "names 'shape' twice",
        ),
        ('{"w":{"dtype":"U8","shape":["a",3000000000],"data_offsets":[0,8]}}', "make no sense"),
        ('{"w":{"dtype":"U8","shape":"a","data_offsets":[0,8]}}', "can't be understood"),
        ('{"w":{"dtype":["U8"],"shape":[8],"data_offsets":[0,8]}}', "can't be understood"),
        ('{"w":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}', "make no sense"),
        ('{"w":{"dtype":"U8","shape":[8],"data_offsets":[-8,0]}}', "make no sense"),
        (
            '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            '"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
            "arrays 'a' and 'b' overlap",
        ),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(
    tmp_path: Path, header: str, said: str
) -> None:
    assert said in refused(with_header(tmp_path / "w.safetensors", header, 8))


def test_arrays_out_of_order_and_empty_ones_overlap_nothing(tmp_path: Path) -> None:
    header = (
        '{"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},'
        '"none":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},'
        '"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    )
    read = weights_file.read(str(with_header(tmp_path / "w.safetensors", header, 8)))
    assert {name: array.shape for name, array in read.items()} == {
        "b": (4,),
        "none": (0,),
        "a": (4,),
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["w.npy", "archive/data.pkl"])
def test_an_archive_with_two_members_of_one_name_is_refused(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "w.npz", w=np.zeros(2))
    path = tmp_path / "w.npz"
    if name.endswith(".pkl"):
        path = made.torch_zip(tmp_path / "w.pth", SHAPES)
    with zipfile.ZipFile(path) as archive:
        content = archive.read(name)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content)
    assert f"two members called '{name}'" in refused(path)


@pytest.mark.parametrize("name", sorted(torch_file._HARMLESS))
def test_what_the_orchestrator_calls_harmless_is_never_said_to_run_code(
    tmp_path: Path, name: str
) -> None:
    module, _, attribute = name.rpartition(".")
    extra = made.text("x") + f"c{module}\n{attribute}\n".encode()
    items = made.text("w") + made.tensor("0", (2,), elements=2) + extra
    path = made.torch_zip(tmp_path / "w.pth", {"w": (2,)}, made.pickled(b"}(" + items + b"u"))
    try:
        assert list(weights_file.read(str(path))) == ["w"]
    except RunnerError as error:
        assert f"a kind of value that is not read here ({name}" in error.message  # noqa: PT017
        assert "safetensors" in error.message  # noqa: PT017


@pytest.mark.parametrize(
    "name",
    [
        "torch.device",
        "collections.Counter",
        "builtins.set",
        "_codecs.encode",
        "torch._utils._rebuild_parameter_with_state",
        "torch._tensor._rebuild_from_type_v2",
    ],
)
def test_what_checkpoints_hold_beside_weights_is_known(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    extra = made.text("x") + f"c{module}\n{attribute}\n".encode()
    items = made.text("w") + made.tensor("0", (2,), elements=2) + extra
    path = made.torch_zip(tmp_path / "w.pth", {"w": (2,)}, made.pickled(b"}(" + items + b"u"))
    assert list(weights_file.read(str(path))) == ["w"]


def test_values_beside_the_weights_are_left_out(tmp_path: Path) -> None:
    """As protocol 2 writes them, which calls the builtins by Python 2's name."""
    beside = pickle.dumps({"s": {1, 2}, "c": Counter("aab"), "b": b"raw"}, protocol=2)
    assert b"__builtin__\nset" in beside
    assert b"_codecs\nencode" in beside
    weights = made.text("w") + made.tensor("0", (2,), elements=2)
    device = b"ctorch\ndevice\n" + made.text("cpu") + b"\x85R"
    items = weights + made.text("d") + device + made.text("x") + beside[2:-1]
    path = made.torch_zip(tmp_path / "w.pth", {"w": (2,)}, made.pickled(b"}(" + items + b"u"))
    assert list(weights_file.read(str(path))) == ["w"]


def test_parameters_and_tensors_with_attributes_are_read_without_them(tmp_path: Path) -> None:
    tensor = made.tensor("0", (2,), elements=2)
    # The arguments are the last tuple of the tensor's own opcodes.
    arguments = tensor[len(b"ctorch._utils\n_rebuild_tensor_v2\n") : -1]
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    typed = b"ctorch._tensor\n_rebuild_from_type_v2\n(" + function + b"ctorch\nTensor\n"
    typed += arguments + b"}" + b"tR"
    parameter = b"ctorch._utils\n_rebuild_parameter_with_state\n(" + tensor + b"\x89" + made.ORDERED
    items = made.text("t") + typed + made.text("p") + parameter + b"}tR"
    path = made.torch_zip(tmp_path / "w.pth", {"t": (2,)}, made.pickled(b"}(" + items + b"u"))
    read = weights_file.read(str(path))
    assert {name: array.shape for name, array in read.items()} == {"t": (2,), "p": (2,)}


def test_a_type_within_a_type_is_refused(tmp_path: Path) -> None:
    typed = b"ctorch._tensor\n_rebuild_from_type_v2\n"
    call = typed + b"(" + typed + b"ctorch\nTensor\n)}tR"
    body = made.pickled(b"}(" + made.text("w") + call + b"u")
    assert "made by something that makes none" in refused(
        made.torch_zip(tmp_path / "w.pth", {}, body)
    )
