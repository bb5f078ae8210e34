"""Frozen graphs and SavedModels, written by hand: what is read from them, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.datasets.recipes import PRESETS
from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint, input_plan
from harness.models.inspect import inspect_model
from harness.models.tensorflow_protos import message_class, shape_of

FLOAT, STRING, INT32, RESOURCE = 1, 7, 3, 20


def _shape(message: Any, sizes: Sequence[int | None] | None) -> None:
    message.unknown_rank = sizes is None
    for size in sizes or ():
        message.dim.add(size=-1 if size is None else size)


def _node(graph: Any, op: str, name: str, *inputs: str, dtype: int = FLOAT) -> Any:
    node = graph.node.add(op=op, name=name, input=inputs)
    node.attr["dtype" if op in {"Placeholder", "Const"} else "T"].type = dtype
    return node


def _const(graph: Any, name: str, sizes: Sequence[int], missing: int = 0) -> Any:
    node = _node(graph, "Const", name)
    tensor = node.attr["value"].tensor
    tensor.dtype = FLOAT
    _shape(tensor.tensor_shape, sizes)
    elements = 1
    for size in sizes:
        elements *= size
    tensor.tensor_content = bytes(4 * elements - missing)
    return node


def _graph(sizes: Sequence[int | None] | None = (None, 8, 8, 3), missing: int = 0) -> Any:
    """A classifier of five classes as TensorFlow freezes them."""
    graph = message_class("Graph")()
    _shape(_node(graph, "Placeholder", "image").attr["shape"].shape, sizes)
    _const(graph, "w", [192, 5], missing)
    _node(graph, "Identity", "w/read", "w", "^image")
    _const(graph, "b", [5])
    _node(graph, "Reshape", "flat", "image", "b")
    _node(graph, "MatMul", "dense", "flat", "w/read")
    _node(graph, "BiasAdd", "biased", "dense:0", "b")
    _node(graph, "Assert", "check", "image")
    _node(graph, "Identity", "out", "biased", "^check")
    _node(graph, "NoOp", "init", "^check")
    _node(graph, "PlaceholderWithDefault", "training", "b")
    return graph


def _save(path: Path, graph: Any) -> Path:
    path.write_bytes(graph.SerializeToString())
    return path


def test_inputs_and_outputs_of_a_frozen_graph(tmp_path: Path) -> None:
    path = _save(tmp_path / "m.pb", _graph())
    file = inspect_model(path)
    assert file.format == "graphdef"
    assert [(i.name, i.dtype, i.shape) for i in file.inputs] == [
        ("image", "float32", (None, 8, 8, 3))
    ]
    assert [(o.name, o.dtype, o.shape) for o in file.outputs] == [("out", "float32", (None, 5))]
    plan = input_plan(Checkpoint("m", file, PRESETS["tf"]))
    assert (plan.name, plan.layout, plan.height, plan.batch) == ("image", "NHWC", 8, None)


@pytest.mark.parametrize("sizes", [None, ()])
def test_an_input_of_unknown_shape_is_taken_channels_last(
    tmp_path: Path, sizes: tuple[int, ...] | None
) -> None:
    file = inspect_model(_save(tmp_path / "m.pb", _graph(sizes)))
    assert file.inputs[0].shape is None
    assert input_plan(Checkpoint("m", file, PRESETS["tf"])).layout == "NHWC"


def test_noted_shapes_and_transposed_weights_are_read(tmp_path: Path) -> None:
    graph = _graph()
    dense = next(node for node in graph.node if node.name == "dense")
    dense.attr["transpose_b"].b = True
    assert inspect_model(_save(tmp_path / "m.pb", graph)).outputs[0].shape == (None, 192)
    out = next(node for node in graph.node if node.name == "out")
    _shape(out.attr["_output_shapes"].list.shape.add(), (None, 5))
    assert inspect_model(_save(tmp_path / "m.pb", graph)).outputs[0].shape == (None, 5)


def test_several_inputs_are_named(tmp_path: Path) -> None:
    graph = _graph()
    _node(graph, "Placeholder", "keep_rate")
    file = inspect_model(_save(tmp_path / "m.pb", graph))
    with pytest.raises(ModelError, match=r"has 2 inputs \(image .*; keep_rate"):
        input_plan(Checkpoint("m", file, PRESETS["tf"]))


def test_a_graph_cut_within_a_node_is_refused(tmp_path: Path) -> None:
    graph = _graph()
    whole = graph.SerializeToString()
    path = tmp_path / "m.pb"
    ends, end = set(), 0
    for node in graph.node:
        size = node.ByteSize()
        end += size + len(message_class("Graph")(node=[node]).SerializeToString()) - size
        ends.add(end)
    assert max(ends) == len(whole)
    for end in range(1, len(whole), 7):
        if end not in ends:
            path.write_bytes(whole[:end])
            with pytest.raises(ModelError, match=r"truncated or not a frozen graph \(\.pb\) file"):
                inspect_model(path)


def test_a_graph_without_its_weights_is_refused(tmp_path: Path) -> None:
    graph = _graph()
    _node(graph, "VariableV2", "conv/weights")
    with pytest.raises(
        ModelError, match=r"without its weights: 1 variables .*conv/weights"
    ) as caught:
        inspect_model(_save(tmp_path / "m.pb", graph))
    assert "Freeze it" in caught.value.remedy
    graph = _graph()
    _node(graph, "Placeholder", "kernel", dtype=RESOURCE)
    with pytest.raises(ModelError, match="without its weights"):
        inspect_model(_save(tmp_path / "m.pb", graph))


def _broken(change: str) -> Any:
    graph = _graph(missing=4 if change == "short" else 0)
    if change == "loose":
        graph.node[-1].input[0] = "absent:0"
    elif change == "twice":
        _node(graph, "NoOp", "image")
    elif change == "empty constant":
        _node(graph, "Const", "c")
    elif change == "shape":
        graph.node[0].attr["shape"].shape.dim[1].size = -7
    elif change == "no outputs":
        del graph.node[4:]
        graph.node[2].op = "NoOp"
    return graph


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("loose", "'training' reads 'absent', which is not there"),
        ("twice", "two of its nodes have the same name"),
        ("short", "'w' have 3836 of 3840 bytes"),
        ("empty constant", "constant 'c' has no value"),
        ("shape", "makes no sense"),
        ("no outputs", "nothing in it is an output"),
    ],
)
def test_a_graph_that_makes_no_sense_is_refused(tmp_path: Path, change: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        inspect_model(_save(tmp_path / "m.pb", _broken(change)))


def _signature(meta: Any, name: str, inputs: Any, outputs: Any) -> None:
    signature = meta.signature_def[name]
    for tensors, given in ((signature.inputs, inputs), (signature.outputs, outputs)):
        for tensor, sizes in given.items():
            tensors[tensor].name = f"{tensor}:0"
            tensors[tensor].dtype = FLOAT
            _shape(tensors[tensor].tensor_shape, sizes)


def _varint(value: int) -> bytes:
    raw = b""
    while value > 127:
        raw += bytes([value & 127 | 128])
        value >>= 7
    return raw + bytes([value])


def _block(rows: Sequence[tuple[bytes, bytes]]) -> bytes:
    raw, before = b"", b""
    for key, value in rows:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        fresh = key[shared:]
        raw += _varint(shared) + _varint(len(fresh)) + _varint(len(value)) + fresh + value
        before = key
    return raw + struct.pack("<II", 0, 1)


def _index(sizes: dict[str, int], shards: int = 1) -> bytes:
    """An index of variables as TensorFlow writes it."""
    rows = [(b"", message_class("BundleHeader")(num_shards=shards).SerializeToString())]
    place = 0
    for name, size in sorted(sizes.items()):
        entry = message_class("BundleEntry")(dtype=FLOAT, offset=place, size=size)
        rows.append((name.encode(), entry.SerializeToString()))
        place += size
    data = _block(rows)
    listing = _block([(b"z", _varint(0) + _varint(len(data)))])
    table = data + bytes(5) + listing + bytes(5)
    footer = _varint(0) + _varint(0) + _varint(len(data) + 5) + _varint(len(listing))
    return table + footer + bytes(40 - len(footer)) + struct.pack("<Q", 0xDB4775248B80FB57)


def _saved(folder: Path, *signatures: str, tags: Sequence[str] = ("serve",)) -> Path:
    """A SavedModel with two variables of 40 and 24 bytes."""
    saved = message_class("SavedModel")(saved_model_schema_version=1)
    meta = saved.meta_graphs.add()
    meta.meta_info_def.tags.extend(tags)
    meta.graph_def.node.add(name="kernel", op="VarHandleOp")
    for name in signatures:
        _signature(meta, name, {"image": (None, 8, 8, 3)}, {"scores": (None, 5)})
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    (folder / "variables" / "variables.index").write_bytes(_index({"layer/a": 40, "layer/b": 24}))
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(64))
    return folder


def test_a_savedmodel_is_read_by_its_signature(tmp_path: Path) -> None:
    file = inspect_model(
        _saved(tmp_path / "m", "__saved_model_init_op", "serving_default", "train")
    )
    assert file.format == "savedmodel"
    assert [(i.name, i.dtype, i.shape) for i in file.inputs] == [
        ("image", "float32", (None, 8, 8, 3))
    ]
    assert [(o.name, o.shape) for o in file.outputs] == [("scores", (None, 5))]
    files = [path for path in (tmp_path / "m").rglob("*") if path.is_file()]
    assert file.size_bytes == sum(path.stat().st_size for path in files)
    assert input_plan(Checkpoint("m", file, PRESETS["tf"])).layout == "NHWC"
    assert inspect_model(_saved(tmp_path / "other", "only")).outputs == file.outputs


def test_the_hash_of_a_folder_is_of_all_names_and_bytes(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "m", "serving_default")
    again = _saved(tmp_path / "again", "serving_default")
    hashes = {inspect_model(folder).sha256, inspect_model(again).sha256}
    assert len(hashes) == 1
    data = folder / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(b"\1" + bytes(63))
    hashes.add(inspect_model(folder).sha256)
    (folder / "assets").mkdir()
    (folder / "assets" / "labels.txt").write_text("a")
    hashes.add(inspect_model(folder).sha256)
    (folder / "assets" / "labels.txt").rename(folder / "assets" / "names.txt")
    hashes.add(inspect_model(folder).sha256)
    assert len(hashes) == 4


def test_variables_that_are_missing_or_cut_are_told(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "m", "serving_default")
    data = folder / "variables" / "variables.data-00000-of-00001"
    index = folder / "variables" / "variables.index"
    data.write_bytes(bytes(63))
    with pytest.raises(ModelError, match=r"is truncated: its variables end at byte 64, .* 63"):
        inspect_model(folder)
    data.unlink()
    with pytest.raises(ModelError, match=r"variables\.data-00000-of-00001 is not there"):
        inspect_model(folder)
    index.unlink()
    with pytest.raises(ModelError, match=r"variables\.index is not there"):
        inspect_model(folder)
    (folder / "variables").rmdir()
    with pytest.raises(ModelError, match=r"variables\.index is not there") as caught:
        inspect_model(folder)
    assert "Copy the whole folder" in caught.value.remedy


def test_an_index_cut_or_garbled_anywhere_is_refused(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "m", "serving_default")
    index = folder / "variables" / "variables.index"
    whole = index.read_bytes()
    for end in range(len(whole)):
        index.write_bytes(whole[:end])
        with pytest.raises(ModelError, match="truncated or not an index of variables"):
            inspect_model(folder)
    refused = 0
    for place in range(len(whole)):
        garbled = bytearray(whole)
        garbled[place] = 255
        index.write_bytes(garbled)
        try:
            inspect_model(folder)
        except ModelError:
            refused += 1
    assert refused > 30


def test_a_saved_model_pb_cut_anywhere_is_refused(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "m", "serving_default")
    path = folder / "saved_model.pb"
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(
            ModelError, match=r"saved_model\.pb is truncated or not a SavedModel file"
        ):
            inspect_model(folder)


@pytest.mark.parametrize(
    ("signatures", "tags", "said"),
    [
        ((), ("serve",), "has no signature"),
        (("a", "b"), ("serve",), r"has 2 signatures \(a, b\) and none called serving_default"),
        (
            ("serving_default",),
            ("train", "gpu"),
            r"no graph tagged serve \(its tags: gpu \+ train\)",
        ),
    ],
)
def test_folders_that_do_not_say_what_they_take_are_refused(
    tmp_path: Path, signatures: tuple[str, ...], tags: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        inspect_model(_saved(tmp_path / "m", *signatures, tags=tags))


def test_links_in_a_folder_are_refused(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "m", "serving_default")
    (folder / "assets").symlink_to("/etc")
    with pytest.raises(ModelError, match="holds the link assets, which leads out of the model"):
        inspect_model(folder)


def test_the_folder_is_asked_for_where_its_file_is_given(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "m", "serving_default")
    with pytest.raises(ModelError, match="is a part of a SavedModel") as caught:
        inspect_model(folder / "saved_model.pb")
    assert str(folder) in caught.value.remedy


def test_a_text_savedmodel_is_told(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pbtxt").write_text("saved_model_schema_version: 1")
    with pytest.raises(ModelError, match="a SavedModel as text"):
        inspect_model(tmp_path / "m")


def test_shapes_are_open_closed_or_unknown() -> None:
    message = message_class("TensorShape")()
    assert shape_of(message) == ()
    _shape(message, (None, 3))
    assert shape_of(message) == (None, 3)
    message.unknown_rank = True
    assert shape_of(message) is None
