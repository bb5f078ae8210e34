"""The sweep file: what is refused, and that the refusal names the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.spec.load import anchored, check_spec, load_spec

GOOD = {
    "models": [{"path": "m.onnx", "recipe": "tf"}],
    "data": {"path": "images"},
    "environments": ["onnxruntime-1.31", ["onnxruntime-1.17", "onnxruntime-1.20"]],
}


def refused(**changes: object) -> str:
    with pytest.raises(SpecError) as caught:
        check_spec({**GOOD, **changes}, "s.yaml")
    return str(caught.value)


def test_names_alone_become_environments_and_lists_become_candidates() -> None:
    spec = check_spec(GOOD, "s.yaml")
    assert [e.names for e in spec.environments] == [
        ("onnxruntime-1.31",),
        ("onnxruntime-1.17", "onnxruntime-1.20"),
    ]
    assert spec.axes.threads == (1,)


def test_an_unknown_key_is_refused_with_its_place_and_a_suggestion() -> None:
    said = refused(models=[{"path": "m.onnx", "recipie": "tf"}])
    assert "models[0].recipie: unknown key" in said
    assert "Did you mean 'recipe'?" in said


def test_every_fault_is_told_and_empty_lists_only_when_they_are_the_fault() -> None:
    said = refused(axes={"threads": [0]}, environments=[{"name": "a", "precision": ["f33"]}])
    assert "axes.threads[0]" in said
    assert "environments[0].precision[0]: Input should be 'f32' or 'default'" in said
    assert "at least one entry" not in said
    assert "environments: " in refused(environments=[])


def test_both_or_neither_source_of_inputs_is_refused() -> None:
    assert "exactly one of `data`" in refused(inputs={"path": "x.npy"})
    assert "exactly one of `data`" in refused(data=None)


def test_relative_paths_are_meant_from_the_files_own_folder(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "models: [{path: m.onnx, recipe: r.toml}]\ndata: {path: images, labels: /abs/val.txt}\n"
        "environments: [onnxruntime-1.31]\n"
    )
    spec = load_spec(file)
    assert spec.models[0].path == tmp_path / "m.onnx"
    assert spec.models[0].recipe == str(tmp_path / "r.toml")
    assert spec.data is not None
    assert spec.data.labels == Path("/abs/val.txt")
    assert anchored(spec, Path("/elsewhere")) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: [", "not valid YAML"),
        ("- 1", "holds no sweep"),
        ("name: a\nname: b", "the key 'name' is given twice"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_files_that_hold_no_sweep_are_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=said):
        load_spec(file)


def test_a_model_in_the_place_of_a_sweep_file_is_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"\x08\x08\xff\xfe")
    with pytest.raises(SpecError, match="--model"):
        load_spec(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nothing\.yaml"):
        load_spec(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("auto", "auto"),
        (["auto"], "auto"),
        ("docker", ("docker",)),
        (["venv", "docker", "venv"], ("venv", "docker")),
    ],
)
def test_executors_are_one_several_or_auto(given: object, meant: object) -> None:
    assert check_spec({**GOOD, "executor": given}, "test").executor == meant


@pytest.mark.parametrize("given", ["podman", ["docker", "auto"], []])
def test_other_executors_are_refused(given: object) -> None:
    with pytest.raises(SpecError, match="executor"):
        check_spec({**GOOD, "executor": given}, "test")


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0", "cuda:GPU-3f2a6b1c-0a"])
def test_devices_are_named_by_kind_index_or_uuid(device: str) -> None:
    assert check_spec({**GOOD, "axes": {"device": [device]}}, "test").axes.device == (device,)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:0,1", "CPU"])
def test_other_devices_are_refused(device: str) -> None:
    with pytest.raises(SpecError, match=r"axes\.device\[0\]"):
        check_spec({**GOOD, "axes": {"device": [device]}}, "test")


def test_a_named_volume_is_no_folder_of_this_machine(tmp_path: Path) -> None:
    spec = check_spec({**GOOD, "data": {"path": "volume:imagenet/val"}}, "test")
    data = anchored(spec, tmp_path).data
    assert data is not None
    assert data.volume == "imagenet/val"
    folder = anchored(check_spec(GOOD, "test"), tmp_path).data
    assert folder is not None
    assert folder.volume is None
    assert folder.path == tmp_path / "images"


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
def test_a_variant_has_finite_numbers(tmp_path: Path, number: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "environments: [a]\ndata: {path: images}\n"
        f"models: [{{path: m.pth, variants: [{{batch_norm_epsilon: {number}}}]}}]\n"
    )
    with pytest.raises(SpecError, match="batch_norm_epsilon must be a finite number"):
        load_spec(path)
    path.write_text(path.read_text().replace(number, "0.001"))
    assert load_spec(path).models[0].variants == ({"batch_norm_epsilon": 0.001},)
