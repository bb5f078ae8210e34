"""Real model files: what is read from them, whole and cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.recipes import PRESETS
from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint, input_plan
from harness.models.inspect import inspect_model

INT8 = "mobilenet_v2_1.0_224_tf_int8_ptq.tflite"
FLOAT = "mobilenet_v2_1.0_224_tf.onnx"


def test_the_float_model(real_data: Path) -> None:
    file = inspect_model(real_data / "models" / FLOAT)
    assert [(i.name, i.dtype, i.shape) for i in file.inputs] == [
        ("input", "float32", (None, 3, 224, 224))
    ]
    assert [(o.name, o.shape) for o in file.outputs] == [("logits", (None, 1001))]
    plan = input_plan(Checkpoint("mobilenet", file, PRESETS["tf"], class_offset=1))
    assert (plan.layout, plan.height, plan.width, plan.batch) == ("NCHW", 224, 224, None)


def test_the_quantised_model(real_data: Path) -> None:
    file = inspect_model(real_data / "models" / INT8)
    spec = file.inputs[0]
    assert (spec.dtype, spec.shape, spec.zero_point) == ("uint8", (1, 224, 224, 3), 127)
    assert spec.scale == pytest.approx(1 / 127.5, rel=1e-3)
    assert (file.outputs[0].dtype, file.outputs[0].shape) == ("uint8", (1, 1001))
    plan = input_plan(Checkpoint("int8", file, PRESETS["raw"], class_offset=1))
    assert (plan.layout, plan.batch, plan.raw_quantised) == ("NHWC", 1, True)


@pytest.mark.parametrize(("name", "points"), [(FLOAT, 12), (INT8, 60)])
def test_a_cut_file_is_refused_wherever_it_is_cut(
    real_data: Path, tmp_path: Path, name: str, points: int
) -> None:
    whole = (real_data / "models" / name).read_bytes()
    path = tmp_path / name
    ends = {len(whole) * i // points for i in range(points)} | {1, 7, 8, 64, len(whole) - 1}
    for end in sorted(ends):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match="truncated or not"):
            inspect_model(path)


def test_a_garbled_tflite_file_is_refused_or_read_but_never_a_crash(
    real_data: Path, tmp_path: Path
) -> None:
    whole = (real_data / "models" / INT8).read_bytes()
    path = tmp_path / INT8
    refused = 0
    for place in range(8, 4000, 97):
        garbled = bytearray(whole)
        garbled[place : place + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(garbled)
        try:
            inspect_model(path)
        except ModelError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    ("name", "architecture", "arrays", "classes"),
    [
        ("mobilenet_v2_1.0_224_tf", "mobilenet_v2", 106, 1001),
        ("resnet50_v1_224_pruned", "resnet50", 108, 1000),
        ("squeezenet1.1_224", "squeezenet1_1", 52, 1000),
    ],
)
def test_named_arrays_tell_their_architecture(
    real_data: Path, name: str, architecture: str, arrays: int, classes: int
) -> None:
    file = inspect_model(real_data / "models" / f"{name}.weights.npz")
    assert (file.format, file.architecture) == ("weights", architecture)
    assert (len(file.tensors), {tensor.dtype for tensor in file.tensors}) == (arrays, {"float32"})
    assert file.outputs[0].shape == (None, classes)
    plan = input_plan(Checkpoint("m", file, PRESETS["torch"]))
    assert (plan.layout, plan.height, plan.width, plan.batch) == ("NCHW", 224, 224, None)


def test_named_arrays_cut_anywhere_are_refused(real_data: Path, tmp_path: Path) -> None:
    whole = (real_data / "models" / "squeezenet1.1_224.weights.npz").read_bytes()
    path = tmp_path / "m.npz"
    for end in (1, 30, 4000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match=r"truncated or not an \.npz file"):
            inspect_model(path)
