"""Models of a spec: which network weights mean, and what is refused before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.weights_files import safetensors, torch_zip

from harness.canonical import sha256_file
from harness.errors import ModelError, SpecError
from harness.execution.checkpoints import find_models, load_models
from harness.models.adding import add_model
from harness.models.entries import CheckpointEntry
from harness.progress import SilentProgress
from harness.spec.load import check_spec
from harness.spec.models import SweepSpec

HEADS = {
    "mobilenet_v2": {"classifier.1.weight": (7, 20)},
    "mobilenet_v3_large": {"classifier.3.weight": (7, 20)},
    "squeezenet1_1": {"classifier.1.weight": (7, 20, 1, 1)},
}
TIMM = {"classifier.weight": (7, 20), "conv_stem.weight": (4, 3, 3, 3)}
NORM = {"features.0.1.running_mean": (4,)}
TORCHS = {"padding": "symmetric", "batch_norm_epsilon": 1e-5, "activation": "relu6"}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))


def _npz(path: Path, shapes: Any) -> Path:
    np.savez(path, **{name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    return path


def _spec(*models: dict[str, Any]) -> SweepSpec:
    document = {
        "models": [{"recipe": "torch", **model} for model in models],
        "data": {"path": "images"},
        "environments": ["torch-2.13"],
    }
    return check_spec(document, "a test")


def _seeded(entry: CheckpointEntry) -> Path:
    raise AssertionError(entry)


def _variants(model: dict[str, Any]) -> list[dict[str, Any]]:
    spec = _spec(model)
    [loaded] = load_models(spec, find_models(spec), _seeded, SilentProgress())
    assert loaded.network is not None
    return [dict(variant) for variant in loaded.network.variants]


def _of(path: Path, architecture: str = "mobilenet_v2", **more: Any) -> dict[str, Any]:
    return {"path": str(path), "architecture": architecture, **more}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_saved_from_pytorch_mean_its_network(tmp_path: Path, suffix: str) -> None:
    write = torch_zip if suffix == ".pth" else safetensors
    path = write(tmp_path / f"m{suffix}", HEADS["mobilenet_v2"])
    asked = ["own", "native", {"padding": "same"}]
    assert _variants(_of(path, variants=asked)) == [TORCHS, {}, {**TORCHS, "padding": "same"}]


def test_one_key_of_a_description_leaves_the_others_pytorchs(tmp_path: Path) -> None:
    torch_zip(tmp_path / "m.pth", HEADS["mobilenet_v2"])
    described = tmp_path / "m.toml"
    described.write_text(
        'path = "m.pth"\narchitecture = "mobilenet_v2"\n[variant]\nactivation = "relu"\n'
    )
    assert _variants({"path": str(described)}) == [{**TORCHS, "activation": "relu"}]


def test_arrays_with_batch_norms_mean_pytorchs_network_and_folded_ones_none(
    tmp_path: Path,
) -> None:
    head = HEADS["mobilenet_v2"]
    assert _variants(_of(_npz(tmp_path / "seeded.npz", {**head, **NORM}))) == [TORCHS]
    assert _variants(_of(_npz(tmp_path / "folded.npz", head))) == [{}]


def test_timms_arrays_mean_timms_network(tmp_path: Path) -> None:
    architecture = "mobilenet_v3_large"
    timms = torch_zip(tmp_path / "timm.pth", TIMM)
    torchvisions = torch_zip(tmp_path / "torchvision.pth", HEADS[architecture])
    assert _variants(_of(timms, architecture)) == [
        {"padding": "symmetric", "batch_norm_epsilon": 1e-5}
    ]
    assert _variants(_of(torchvisions, architecture)) == [
        {"padding": "symmetric", "batch_norm_epsilon": 1e-3}
    ]


@pytest.mark.parametrize(
    ("architecture", "variant", "said"),
    [
        ("mobilenet_v2", {"paddding": "same"}, "no variant 'paddding'"),
        ("mobilenet_v2", {"padding": "valid"}, "cannot be 'valid'"),
        ("mobilenet_v2", {"batch_norm_epsilon": -1}, "is a number, not -1"),
        ("squeezenet1_1", {"stride": "first"}, "no variant 'stride'"),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".pth"])
def test_a_variant_that_there_is_not_is_refused_as_models_are_found(
    tmp_path: Path, architecture: str, variant: dict[str, Any], said: str, suffix: str
) -> None:
    write = torch_zip if suffix == ".pth" else _npz
    path = write(tmp_path / f"m{suffix}", HEADS[architecture])
    with pytest.raises(ModelError, match=said) as caught:
        find_models(_spec(_of(path, architecture, variants=["own", variant])))
    assert caught.value.exit_code == 2
    assert caught.value.remedy


@pytest.mark.parametrize("key", ["torchvision", "seeded", "keras"])
def test_a_variant_of_what_is_not_there_yet_is_refused_too(key: str) -> None:
    model = {"checkpoint": f"mobilenet_v2@{key}", "variants": [{"paddding": "same"}]}
    with pytest.raises(ModelError, match="no variant 'paddding'"):
        find_models(_spec(model))


def test_a_changed_file_is_told_by_what_describes_it(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "m.pth", HEADS["mobilenet_v2"])
    add_model("kept", {"path": str(path), "architecture": "mobilenet_v2"})
    described = tmp_path / "mine.toml"
    described.write_text(f'path = "m.pth"\narchitecture = "mobilenet_v2"\nsha256 = "{"0" * 64}"\n')
    with pytest.raises(ModelError, match=sha256_file(path)) as caught:
        find_models(_spec({"path": str(described)}))
    assert "0" * 64 in caught.value.message
    assert f"correct sha256 in {described}" in caught.value.remedy
    torch_zip(path, {"classifier.1.weight": (8, 20)})
    with pytest.raises(ModelError, match="has changed since it was added as kept") as caught:
        find_models(_spec({"checkpoint": "kept"}))
    assert "harness model add kept" in caught.value.remedy


def test_a_variant_of_a_whole_model_is_refused_as_models_are_found(tmp_path: Path) -> None:
    tensor = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    again = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [tensor], [again])
    path = tmp_path / "whole.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    with pytest.raises(SpecError, match=r"whole\.onnx is a whole model"):
        find_models(_spec({"path": str(path), "variants": [{"padding": "same"}]}))
    [found] = find_models(_spec({"path": str(path), "architecture": "mobilenet_v2"}))
    assert found.file is not None
    with pytest.raises(ModelError, match="no architecture 'nonsense'"):
        find_models(_spec({"path": str(path), "architecture": "nonsense"}))


@pytest.mark.parametrize(
    ("shapes", "variants", "said"),
    [
        (HEADS["mobilenet_v2"], ["own"], True),
        (HEADS["mobilenet_v2"], [{"padding": "same"}], False),
        ({**HEADS["mobilenet_v2"], **NORM}, ["own"], False),
        ({**HEADS["mobilenet_v2"], **NORM}, ["native"], True),
        # Nothing differs between the frameworks' SqueezeNets.
        (HEADS["squeezenet1_1"], ["own"], False),
    ],
)
def test_where_nobody_says_which_network_is_meant_that_is_told(
    tmp_path: Path, shapes: Any, variants: Any, said: bool
) -> None:
    architecture = "squeezenet1_1" if shapes is HEADS["squeezenet1_1"] else "mobilenet_v2"
    spec = _spec({**_of(_npz(tmp_path / "w.npz", shapes), architecture), "variants": variants})
    progress = SilentProgress()
    load_models(spec, find_models(spec), _seeded, progress)
    assert any("each framework builds its own" in note for note in progress.notes) == said
