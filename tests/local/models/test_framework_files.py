"""Files that the frameworks themselves write, read without them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest
from support.installed import cannot_install

from harness.datasets.recipes import PRESETS
from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError, ModelError
from harness.models.checkpoint import Checkpoint, input_plan
from harness.models.inspect import inspect_model
from harness.progress import SilentProgress

TORCH = """
import sys
import torch
folder = sys.argv[1]
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    try:
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass
from torchvision import models
state = {}
for name in sys.argv[2:]:
    more = {"init_weights": False} if name == "inception_v3" else {}
    with torch.device("meta"):
        net = getattr(models, name)(num_classes=11, **more)
    # Views of one number each: the shapes are real, the files small.
    state[name] = {
        key: torch.zeros((), dtype=t.dtype).expand(t.shape) for key, t in net.state_dict().items()
    }
    torch.save(state[name], f"{folder}/{name}.pth")
small = {key: value.contiguous() for key, value in state["squeezenet1_1"].items()}
torch.save(small, f"{folder}/squeezenet1_1.pth")
torch.save(small, f"{folder}/legacy.pth", _use_new_zipfile_serialization=False)
torch.save(small, f"{folder}/protocol4.pth", pickle_protocol=4)
half = {"module." + key: value.to(torch.bfloat16) for key, value in small.items()}
torch.save({"state_dict": half, "epoch": 3, "loss": torch.tensor(1.0)}, f"{folder}/wrapped.pt")
torch.save(dict(torch.nn.Module.named_parameters(models.squeezenet1_1())), f"{folder}/p.bin")
layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
torch.save(layers, f"{folder}/module.pt")
torch.jit.script(layers).save(f"{folder}/script.pt")
image, batch = torch.ones(4, 3, 8, 8), torch.export.Dim("batch", min=2, max=64)
open_batch = torch.export.export(layers, (image,), dynamic_shapes=({0: 2 * batch},))
torch.export.save(open_batch, f"{folder}/program.pt2")
turned = torch.arange(12.0).reshape(3, 4)
torch.save({"fc.weight": turned.t(), "one": turned[1], "n": torch.tensor(2)}, f"{folder}/views.pth")
quantised = torch.quantize_per_tensor(turned, 0.1, 0, torch.qint8)
torch.save({"fc.weight": quantised}, f"{folder}/quantised.pth")
"""
TENSORFLOW = """
import sys
import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
folder = sys.argv[1]
image = keras.Input((16, 12, 3), name="image")
x = keras.layers.Conv2D(4, 3, padding="same")(image)
x = keras.layers.BatchNormalization()(x)
x = keras.layers.GlobalAveragePooling2D()(x)
scores = keras.layers.Dense(5, name="scores")(x)
model = keras.Model(image, scores)
model.save(f"{folder}/functional.keras")
layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(5)]
sequential = keras.Sequential(layers)
sequential.build((None, 16, 12, 3))
sequential.save(f"{folder}/sequential.keras")
outer = keras.Input((16, 12, 3), name="outer")
keras.Model(outer, keras.layers.Softmax()(model(outer))).save(f"{folder}/nested.keras")
keras.Model(image, keras.layers.Lambda(lambda t: t * 2)(scores)).save(f"{folder}/lambda.keras")
@keras.saving.register_keras_serializable("mine")
class Gate(keras.layers.Layer):
    def call(self, x):
        return x
keras.Model(image, Gate(name="gate")(scores)).save(f"{folder}/custom.keras")
model.save_weights(f"{folder}/weights.weights.h5")
model.save(f"{folder}/whole.h5")
model.export(f"{folder}/exported")
tf.saved_model.save(model, f"{folder}/saved")
spec = tf.TensorSpec((None, 16, 12, 3), tf.float32, name="fed")
concrete = tf.function(lambda fed: model(fed)).get_concrete_function(spec)
frozen = convert_variables_to_constants_v2(concrete).graph.as_graph_def()
open(f"{folder}/frozen.pb", "wb").write(frozen.SerializeToString())
graph = concrete.graph.as_graph_def()
open(f"{folder}/unfrozen.pb", "wb").write(graph.SerializeToString())
name = "MobileNetV2"
net = getattr(keras.applications, name)(weights=None, classes=11, input_shape=(32, 32, 3))
net.save(f"{folder}/application.keras")
"""
TORCHVISION = (
    *("convnext_tiny", "densenet121", "efficientnet_b0", "inception_v3", "mobilenet_v2"),
    *("mobilenet_v3_large", "resnet50", "squeezenet1_1", "vit_b_16"),
)
SHAPED = (None, 16, 12, 3)


@cache
def _python(name: str) -> str:
    try:
        return str(provision(resolve(name), SilentProgress()).python)
    except HarnessError as error:
        cannot_install(name, error)


def _made(stack: str, program: str, folder: Path, *arguments: str) -> Path:
    command = [_python(stack), "-c", program, str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def torch_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    return _made("torch-2.13", TORCH, folder, *TORCHVISION)


@pytest.fixture(scope="module", params=["tensorflow-2.15", "tensorflow-2.21"])
def tensorflow_files(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return _made(request.param, TENSORFLOW, tmp_path_factory.mktemp("tensorflow"))


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_architecture_of_torchvisions_own_names_is_told(torch_files: Path, name: str) -> None:
    file = inspect_model(torch_files / f"{name}.pth")
    assert (file.architecture, file.outputs[0].shape) == (name, (None, 11))
    plan = input_plan(Checkpoint("m", file, PRESETS["torch"]))
    size = 299 if name == "inception_v3" else 224
    assert (plan.layout, plan.height, plan.width) == ("NCHW", size, size)


@pytest.mark.parametrize("name", ["legacy.pth", "protocol4.pth", "wrapped.pt", "p.bin"])
def test_every_way_of_saving_gives_the_same_names_and_shapes(torch_files: Path, name: str) -> None:
    usual = inspect_model(torch_files / "squeezenet1_1.pth")
    file = inspect_model(torch_files / name)
    assert file.architecture == "squeezenet1_1"
    assert [tensor.name for tensor in file.tensors] == [tensor.name for tensor in usual.tensors]
    dtypes = {tensor.dtype for tensor in file.tensors}
    assert dtypes == {"bfloat16" if name == "wrapped.pt" else "float32"}


def test_views_have_their_own_shapes(torch_files: Path) -> None:
    file = inspect_model(torch_files / "views.pth", "resnet50")
    assert [(t.name, t.dtype, t.shape) for t in file.tensors] == [
        ("fc.weight", "float32", (4, 3)),
        ("one", "float32", (4,)),
        ("n", "int64", ()),
    ]


def test_a_real_program_says_what_it_takes(torch_files: Path) -> None:
    file = inspect_model(torch_files / "program.pt2")
    assert file.format == "pt2"
    assert [(t.dtype, t.shape) for t in file.inputs] == [("float32", (None, 3, 8, 8))]
    assert [(t.dtype, t.shape) for t in file.outputs] == [("float32", (None, 4, 6, 6))]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("module.pt", r"a whole module, not a state_dict: .* torch\.nn\.modules\.container"),
        ("script.pt", "a TorchScript program, not a state_dict"),
        ("quantised.pth", "a quantised tensor called 'fc.weight'"),
    ],
)
def test_what_holds_more_than_arrays_is_refused(torch_files: Path, name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        inspect_model(torch_files / name)
    assert "torch.save(model.state_dict()" in caught.value.remedy


@pytest.mark.parametrize("name", ["squeezenet1_1.pth", "legacy.pth"])
def test_a_real_torch_file_cut_anywhere_is_refused(
    torch_files: Path, tmp_path: Path, name: str
) -> None:
    whole = (torch_files / name).read_bytes()
    path = tmp_path / "m.pth"
    for end in (1, 2, 60, 900, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match="truncated or not a PyTorch weights file"):
            inspect_model(path)


@pytest.mark.parametrize("name", ["functional.keras", "sequential.keras", "nested.keras"])
def test_keras_files_say_what_they_take_and_give(tensorflow_files: Path, name: str) -> None:
    file = inspect_model(tensorflow_files / name)
    assert (file.format, [spec.shape for spec in file.inputs]) == ("keras", [SHAPED])
    assert [(spec.dtype, spec.shape) for spec in file.outputs] == [("float32", (None, 5))]
    plan = input_plan(Checkpoint("m", file, PRESETS["tf"]))
    assert (plan.layout, plan.height, plan.width) == ("NHWC", 16, 12)


def test_a_network_of_keras_applications_is_read(tensorflow_files: Path) -> None:
    file = inspect_model(tensorflow_files / "application.keras")
    assert file.inputs[0].shape == (None, 32, 32, 3)
    assert file.outputs[0].shape == (None, 11)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lambda.keras", r"holds Python code: .*\(Lambda\)"),
        ("custom.keras", r"custom objects gate \(mine>Gate\)"),
        ("whole.h5", "of a whole Keras model"),
        ("unfrozen.pb", "a graph without its weights: 8 variables"),
        ("exported/saved_model.pb", "is a part of a SavedModel"),
    ],
)
def test_what_needs_more_than_the_file_is_refused(
    tensorflow_files: Path, name: str, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        inspect_model(tensorflow_files / name)


def test_weights_of_keras_are_read_with_their_architecture(tensorflow_files: Path) -> None:
    file = inspect_model(tensorflow_files / "weights.weights.h5", "mobilenet_v2")
    assert (file.format, file.outputs[0].shape) == ("keras_weights", (None, None))


@pytest.mark.parametrize("name", ["exported", "saved"])
def test_savedmodels_are_read_and_missed_variables_told(tensorflow_files: Path, name: str) -> None:
    folder = tensorflow_files / name
    file = inspect_model(folder)
    assert (file.format, [spec.shape for spec in file.inputs]) == ("savedmodel", [SHAPED])
    assert [spec.shape for spec in file.outputs] == [(None, 5)]
    data = folder / "variables" / "variables.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match="is truncated: its variables end at byte"):
        inspect_model(folder)
    data.write_bytes(whole)


def test_a_frozen_graph_is_read(tensorflow_files: Path) -> None:
    file = inspect_model(tensorflow_files / "frozen.pb")
    assert [(spec.name, spec.shape) for spec in file.inputs] == [("fed", SHAPED)]
    assert [(spec.name, spec.shape) for spec in file.outputs] == [("Identity", (None, 5))]
