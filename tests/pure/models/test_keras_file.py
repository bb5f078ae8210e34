"""`.keras` files: shapes and dtypes from their JSON, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.datasets.recipes import PRESETS
from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint, input_plan
from harness.models.inspect import inspect_model
from harness.models.keras_shapes import output_shape
from harness.models.model_file import ModelFile, Shape

KERAS = "keras.layers"


def _layer(
    kind: str,
    name: str,
    after: str | None = None,
    fed: list[int | None] | None = None,
    *,
    module: str | None = KERAS,
    registered: str | None = None,
    old: bool = False,
    **config: Any,
) -> dict[str, Any]:
    """A layer as Keras 3 writes it, or as Keras 2.15 does."""
    nodes: list[Any] = []
    if after is not None and old:
        nodes = [[[after, 0, 0, {}]]]
    elif after is not None:
        history = {"shape": fed, "dtype": "float32", "keras_history": [after, 0, 0]}
        nodes = [{"args": [{"class_name": "__keras_tensor__", "config": history}], "kwargs": {}}]
    layer = {
        "module": module,
        "class_name": kind,
        "config": {"name": name, "dtype": "float32", **config},
        "registered_name": registered,
        "name": name,
        "inbound_nodes": nodes,
    }
    if old and fed is not None:
        layer["build_config"] = {"input_shape": fed}
    return layer


def _functional(layers: list[dict[str, Any]], inputs: Any, outputs: Any) -> dict[str, Any]:
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {"name": "f", "layers": layers, "input_layers": inputs, "output_layers": outputs},
        "registered_name": "Functional",
    }


def _save(path: Path, config: Any, **parts: bytes) -> Path:
    held = {
        "metadata.json": json.dumps({"keras_version": "3.15.1"}).encode(),
        "config.json": config if isinstance(config, bytes) else json.dumps(config).encode(),
        "model.weights.h5": b"\x89HDF\r\n\x1a\n" + bytes(900),
        **parts,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    return path


def _ends(file: ModelFile) -> tuple[list[Any], list[Any]]:
    return (
        [(spec.name, spec.dtype, spec.shape) for spec in file.inputs],
        [(spec.name, spec.dtype, spec.shape) for spec in file.outputs],
    )


def _classifier(*, old: bool) -> dict[str, Any]:
    shape = {"batch_input_shape" if old else "batch_shape": [None, 32, 24, 3]}
    pooled = [None, 32, 24, 16]
    layers = [
        _layer("InputLayer", "image", old=old, **shape),
        _layer("Conv2D", "conv", "image", [None, 32, 24, 3], old=old),
        _layer("GlobalAveragePooling2D", "pool", "conv", None if old else pooled, old=old),
        _layer("Dense", "scores", "pool", [None, 16], old=old, units=5),
        _layer("Activation", "softmax", "scores", None if old else [None, 5], old=old),
    ]
    ends: list[Any] = ["image", 0, 0], ["softmax", 0, 0]  # type: ignore[assignment]
    return _functional(layers, *([[end] for end in ends] if old else ends))


@pytest.mark.parametrize("old", [False, True])
def test_a_functional_model_of_keras_3_and_of_keras_2(tmp_path: Path, old: bool) -> None:
    file = inspect_model(_save(tmp_path / "m.keras", _classifier(old=old)))
    assert _ends(file) == (
        [("image", "float32", (None, 32, 24, 3))],
        [("softmax", "float32", (None, 5))],
    )
    assert file.format == "keras"
    plan = input_plan(Checkpoint("m", file, PRESETS["tf"]))
    assert (plan.layout, plan.height, plan.width, plan.batch) == ("NHWC", 32, 24, None)


def test_channels_first_and_a_fixed_batch_are_read_from_the_shape(tmp_path: Path) -> None:
    layers = [
        _layer("InputLayer", "x", batch_shape=[4, 3, 8, 8]),
        _layer("GlobalAveragePooling2D", "pool", "x", [4, 3, 8, 8], data_format="channels_first"),
    ]
    model = _functional(layers, [["x", 0, 0]], [["pool", 0, 0]])
    file = inspect_model(_save(tmp_path / "m.keras", model))
    assert file.outputs[0].shape == (4, 3)
    plan = input_plan(Checkpoint("m", file, PRESETS["tf"]))
    assert (plan.layout, plan.batch) == ("NCHW", 4)


def test_several_inputs_and_named_outputs_are_listed(tmp_path: Path) -> None:
    layers = [
        _layer("InputLayer", "a", batch_shape=[None, 8]),
        _layer("InputLayer", "b", batch_shape=[None, 8], dtype="uint8"),
        _layer("Add", "sum", "a", [None, 8]),
        _layer("Dense", "top", "sum", [None, 8], units=2),
    ]
    ends = {"y": ["top", 0, 0], "s": ["sum", 0, 0]}
    file = inspect_model(
        _save(tmp_path / "m.keras", _functional(layers, [["a", 0, 0], ["b", 0, 0]], ends))
    )
    assert _ends(file) == (
        [("a", "float32", (None, 8)), ("b", "uint8", (None, 8))],
        [("sum", "float32", None), ("top", "float32", (None, 2))],
    )
    with pytest.raises(ModelError, match=r"has 2 inputs \(a float32 \[\?, 8\]; b uint8"):
        input_plan(Checkpoint("m", file, PRESETS["tf"]))


def _sequential(layers: list[dict[str, Any]], **config: Any) -> dict[str, Any]:
    inner = {"name": "s", "layers": layers, **config}
    return {"module": "keras", "class_name": "Sequential", "config": inner, "registered_name": None}


def test_a_sequential_model_with_and_without_an_input_layer(tmp_path: Path) -> None:
    dense = _layer("Dense", "top", units=7)
    dense["build_config"] = {"input_shape": [None, 48]}
    entry = _layer("InputLayer", "x", batch_shape=[None, 4, 4, 3])
    path = tmp_path / "m.keras"
    file = inspect_model(_save(path, _sequential([entry, _layer("Flatten", "flat"), dense])))
    assert _ends(file) == (
        [("x", "float32", (None, 4, 4, 3))],
        [("top", "float32", (None, 7))],
    )
    built = _sequential([_layer("Flatten", "flat"), dense], build_input_shape=[2, 4, 4, 3])
    assert inspect_model(_save(path, built)).inputs[0].shape == (2, 4, 4, 3)
    with pytest.raises(ModelError, match="never built") as caught:
        inspect_model(_save(path, _sequential([_layer("Flatten", "flat"), dense])))
    assert "model.build((None, height, width, 3))" in caught.value.remedy


def test_the_dtype_of_a_policy_is_what_the_layer_gives(tmp_path: Path) -> None:
    policy = {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "mixed_float16"},
        "registered_name": None,
    }
    model = _classifier(old=False)
    model["config"]["layers"][-1]["config"]["dtype"] = policy
    file = inspect_model(_save(tmp_path / "m.keras", model))
    assert file.outputs[0].dtype == "float16"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (_layer("Flatten", "l", "x", [None, 4, 4, 3]), (None, 48)),
        (_layer("Flatten", "l", "x", [2, None, 4, 3]), (2, None)),
        (_layer("Reshape", "l", "x", [None, 1, 1, 9], target_shape=[9]), (None, 9)),
        (_layer("Reshape", "l", "x", [3, 18], target_shape=[-1, 9]), (3, None, 9)),
        (_layer("Dropout", "l", "x", [None, 6]), (None, 6)),
        (_layer("GlobalMaxPooling2D", "l", "x", [None, 4, 4, 3], keepdims=True), None),
        (_layer("Conv2D", "l", "x", [None, 4, 4, 3]), None),
        (_layer("Dense", "l", units=3), None),
    ],
)
def test_shapes_of_what_layers_give(layer: dict[str, Any], shape: Shape | None) -> None:
    assert output_shape(layer) == shape


def test_layers_that_feed_themselves_have_no_shape() -> None:
    layer = _layer("Activation", "loop", "loop", old=True)
    assert output_shape(layer, {"loop": layer}) is None


def test_a_lambda_is_refused_by_name_wherever_it_lies(tmp_path: Path) -> None:
    inner = _classifier(old=False)
    function = {"class_name": "__lambda__", "config": {"code": "4wEAAA=="}}
    inner["config"]["layers"].append(_layer("Lambda", "twice", function=function))
    entry = _layer("InputLayer", "x", batch_shape=[None, 4, 4, 3])
    inner["name"] = "inner"
    model = _functional([entry, inner], [["x", 0, 0]], [["inner", 0, 0]])
    with pytest.raises(ModelError, match=r"holds Python code: .*twice \(Lambda\)") as caught:
        inspect_model(_save(tmp_path / "m.keras", model))
    assert "safe mode" in str(caught.value)
    assert "built-in layers" in caught.value.remedy


@pytest.mark.parametrize(
    ("module", "name", "refused"),
    [
        ("os", "system", True),
        ("builtins", "eval", True),
        ("keras.utils", "get_file", True),
        ("keras.src.saving.saving_lib", "load_model", True),
        ("numpy", "load", True),
        (None, "system", True),
        ("builtins", "softmax", False),
        ("keras.activations", "relu", False),
    ],
)
def test_functions_that_a_file_names_are_refused_unless_they_are_activations(
    tmp_path: Path, module: str | None, name: str, refused: bool
) -> None:
    model = _classifier(old=False)
    function = {"module": module, "class_name": "function", "config": name}
    model["config"]["layers"][-1]["config"]["activation"] = function
    path = _save(tmp_path / "m.keras", model)
    if refused:
        with pytest.raises(ModelError, match=rf"holds Python code: {module}\.{name}\."):
            inspect_model(path)
    else:
        assert inspect_model(path).outputs[0].shape == (None, 5)


@pytest.mark.parametrize(
    ("module", "registered", "shown"),
    [
        (None, "mine>Gate", "gate (mine>Gate)"),
        ("my_package.layers", "Gate", "gate (Gate)"),
        ("os", None, "gate (Gate)"),
    ],
)
def test_custom_objects_are_refused_by_name(
    tmp_path: Path, module: str | None, registered: str | None, shown: str
) -> None:
    model = _classifier(old=False)
    gate = _layer("Gate", "gate", "scores", [None, 5], module=module, registered=registered)
    model["config"]["layers"].append(gate)
    with pytest.raises(ModelError, match="needs code that it does not hold") as caught:
        inspect_model(_save(tmp_path / "m.keras", model))
    assert shown in str(caught.value)
    assert "model.export('folder')" in caught.value.remedy


def test_a_subclassed_model_does_not_say_what_it_takes(tmp_path: Path) -> None:
    model = {"module": "keras", "class_name": "Model", "config": {}, "registered_name": None}
    with pytest.raises(ModelError, match="holds a Model and does not say what it takes"):
        inspect_model(_save(tmp_path / "m.keras", model))


def test_a_keras_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "m.keras", _classifier(old=False))
    whole = path.read_bytes()
    for end in (*range(0, len(whole), 101), len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match="truncated or not a Keras file"):
            inspect_model(path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"{", "garbled"),
        (b"[" * 100_000, "garbled"),
        (b"[1]", "garbled"),
        (b"{}", "makes no sense"),
        (
            {"class_name": "Functional", "config": {"input_layers": 1, "output_layers": 1}},
            "no sense",
        ),
        (_functional([], [["x", 0, 0]], [["x", 0, 0]]), "makes no sense"),
        (_functional([_layer("InputLayer", "x")], [["x", 0, 0]], [["x", 0, 0]]), "makes no sense"),
        (_sequential([]), "never built"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(
    tmp_path: Path, config: Any, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        inspect_model(_save(tmp_path / "m.keras", config))


def test_an_archive_without_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
    with pytest.raises(ModelError, match=r"its model\.weights\.h5 is missing"):
        inspect_model(path)


def test_a_part_that_leaves_the_archive_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "m.keras", _classifier(old=False), **{"assets/../../x": b"1"})
    with pytest.raises(ModelError, match="would lie outside of it"):
        inspect_model(path)
