"""ONNX files: what is read from them, and files that are cut, empty or incomplete."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.errors import ModelError
from harness.models.inspect import inspect_model


def _model(
    shape: tuple[int | str | None, ...] = ("N", 3, 8, 8),
    *,
    dtype: int = TensorProto.FLOAT,
    more_inputs: int = 0,
    size: int = 4,
) -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.arange(size, dtype=np.float32), "w")
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["c", "w"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", dtype, list(shape))]
    inputs += [
        helper.make_tensor_value_info(f"x{i}", dtype, list(shape)) for i in range(more_inputs)
    ]
    # Old exporters list initialisers among the inputs.
    inputs.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [size]))
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [weights])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _save(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _external(folder: Path, values: int = 600) -> Path:
    path = folder / "m.onnx"
    onnx.save_model(
        _model(size=values),
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="m.data",
        size_threshold=0,
    )
    return path


def test_inputs_outputs_and_versions_are_read(tmp_path: Path) -> None:
    file = inspect_model(_save(tmp_path, _model(("N", 3, None, 8), more_inputs=1)))
    assert (file.format, file.opset, file.ir_version) == ("onnx", 17, 8)
    assert [(i.name, i.dtype, i.shape) for i in file.inputs] == [
        ("x", "float32", (None, 3, None, 8)),
        ("x0", "float32", (None, 3, None, 8)),
    ], "initialisers are no inputs"
    assert [(o.name, o.shape) for o in file.outputs] == [("y", None)]
    assert file.size_bytes == (tmp_path / "m.onnx").stat().st_size
    assert file.external_files == ()


@pytest.mark.parametrize(
    ("onnx_type", "name"),
    [
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.UINT8, "uint8"),
        (TensorProto.INT64, "int64"),
        (TensorProto.BFLOAT16, "bfloat16"),
    ],
)
def test_types_have_numpy_names(tmp_path: Path, onnx_type: int, name: str) -> None:
    assert inspect_model(_save(tmp_path, _model(dtype=onnx_type))).inputs[0].dtype == name


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path, _model(size=64))
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match="truncated or not an ONNX file"):
            inspect_model(path)


def test_weights_of_another_length_than_their_shape_are_refused(tmp_path: Path) -> None:
    model = _model()
    model.graph.initializer[0].raw_data = b"\0" * 12
    with pytest.raises(ModelError, match="'w' have 12 of 16 bytes"):
        inspect_model(_save(tmp_path, model))


def test_a_graph_with_a_loose_end_is_refused(tmp_path: Path) -> None:
    model = _model()
    del model.graph.node[0]
    with pytest.raises(ModelError, match="reads 'c', which nothing makes"):
        inspect_model(_save(tmp_path, model))


@pytest.mark.parametrize("content", [b"", b"this is text\n", b"PK\x03\x04" + b"\0" * 64])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx is truncated or not an ONNX file"):
        inspect_model(path)


def test_external_data_belong_to_the_model(tmp_path: Path) -> None:
    path = _external(tmp_path)
    file = inspect_model(path)
    assert file.external_files == ((tmp_path / "m.data").resolve(),)
    assert file.size_bytes == path.stat().st_size + (tmp_path / "m.data").stat().st_size
    raw = bytearray((tmp_path / "m.data").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "m.data").write_bytes(raw)
    assert inspect_model(path).sha256 != file.sha256


def test_external_data_that_are_absent_cut_or_outside_are_refused(tmp_path: Path) -> None:
    path = _external(tmp_path)
    data = tmp_path / "m.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match=r"m\.data is truncated"):
        inspect_model(path)
    data.unlink()
    with pytest.raises(ModelError, match=r"keeps its weights in m\.data") as caught:
        inspect_model(path)
    assert "Copy m.data" in str(caught.value)
    model = onnx.load(str(path), load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../m.data"
    with pytest.raises(ModelError, match="outside its own folder"):
        inspect_model(_save(tmp_path, model))


def test_an_output_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    model = _model()
    sequence = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    model.graph.output[0].CopyFrom(sequence)
    with pytest.raises(ModelError, match="'y' is not a tensor"):
        inspect_model(_save(tmp_path, model))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        inspect_model(tmp_path / "absent.onnx")


def test_an_architecture_changes_nothing_for_a_file_with_its_own_graph(tmp_path: Path) -> None:
    path = _save(tmp_path, _model())
    assert inspect_model(path, "resnet50") == inspect_model(path)
    assert inspect_model(path).architecture is None
