"""Which sweep a file and options mean together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.cli.sweep_options import adjusted, read_setting, read_variant, spec_of
from harness.errors import SpecError, UsageError
from harness.progress import SilentProgress
from harness.spec.models import SweepSpec

NOTHING: dict[str, Any] = dict.fromkeys(
    [
        "--model",
        "--architecture",
        "--variant",
        "--recipe",
        "--class-offset",
        "--output",
        "--data",
        "--inputs",
        "--synsets",
        "--no-labels",
        "--labels",
        "--limit",
        "--env",
        "--backend",
        "--device",
        "--threads",
        "--batch",
        "--precision",
        "--instruction-set",
        "--optimise",
        "--level",
        "--setting",
        "--baseline",
        "--class",
        "--only",
        "--split",
        "--preprocessing",
        "--corruption",
        "--mistake",
        "--recipe-of",
        "--route",
        "--opset",
        "--quantisation",
        "--folding",
        "--input-layout",
    ]
)


def meant(path: Path | None, **options: Any) -> SweepSpec:
    named = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    return spec_of(path, {**NOTHING, **named}, SilentProgress())


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file without a model, in another folder than the current one."""
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "sweeps" / "matrix.yaml"
    path.write_text("environments: [a, b]\naxes: {threads: [1, 2]}\ndata: {path: images}\n")
    return path


def test_options_add_what_a_file_leaves_open(matrix: Path) -> None:
    spec = meant(matrix, model=[Path("m.onnx")], recipe="tf", limit=5, precision=["default"])
    [model] = spec.models
    assert model.path == Path.cwd() / "m.onnx"
    assert model.recipe == "tf"
    assert spec.data is not None
    assert (spec.data.path, spec.data.limit) == (matrix.parent / "images", 5)
    assert (spec.axes.threads, spec.axes.precision) == ((1, 2), ("default",))


def test_ceilings_on_instruction_sets_are_an_axis_and_other_names_are_refused(matrix: Path) -> None:
    model = {"model": [Path("m.onnx")], "recipe": "tf"}
    assert meant(matrix, **model).axes.instruction_set == ("own",)
    spec = meant(matrix, **model, instruction_set=["own", "avx2"])
    assert spec.axes.instruction_set == ("own", "avx2")
    with pytest.raises(SpecError, match=r"sse4\.1"):
        meant(matrix, **model, instruction_set=["avx3"])


def test_levels_and_settings_are_axes(matrix: Path) -> None:
    model = {"model": [Path("m.onnx")], "recipe": "tf"}
    assert meant(matrix, **model).axes.settings == ({},)
    spec = meant(matrix, **model, level=["basic", "default"], setting=["a=1", "{}"])
    assert spec.axes.level == ("basic", "default")
    assert spec.axes.settings == ({"a": 1}, {})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kernels=builtin", {"kernels": "builtin"}),
        ("freezing=true", {"freezing": True}),
        ("trials = 64", {"trials": 64}),
        ('mcpu="64"', {"mcpu": "64"}),
        ("xla_flags=--a=b", {"xla_flags": "--a=b"}),
        ('disabled_passes=["FuseOps"]', {"disabled_passes": ["FuseOps"]}),
        ("passes=[]", {"passes": []}),
        (
            '{"a": 1, "variables": {"TF_ENABLE_ONEDNN_OPTS": "0"}}',
            {"a": 1, "variables": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
        ),
    ],
)
def test_a_setting_is_a_name_and_json_or_a_text(text: str, found: dict[str, Any]) -> None:
    assert read_setting(text) == found


@pytest.mark.parametrize("text", ["kernels", "=1", "a=", '{"a": ', "passes=[FuseOps]"])
def test_a_setting_that_cannot_be_read_is_refused_with_how_one_is_written(text: str) -> None:
    with pytest.raises(SpecError, match="--setting"):
        read_setting(text)


def test_compiling_has_a_time_of_its_own_and_a_fingerprint_is_asked_for(matrix: Path) -> None:
    spec = meant(matrix, model=[Path("m.onnx")], recipe="tf")
    assert (spec.limits.compile_seconds, spec.fingerprint) == (None, None)
    found = adjusted(spec, compile_timeout=30, fingerprint=False)
    assert (found.limits.compile_seconds, found.limits.timeout_seconds) == (30, 3600)
    assert found.fingerprint is False
    assert adjusted(spec, fingerprint=True).fingerprint is True


def test_what_a_file_says_itself_is_refused_as_an_option(matrix: Path) -> None:
    with pytest.raises(SpecError, match=r"matrix\.yaml says data\.path, axes\.threads itself"):
        meant(matrix, model=[Path("m.onnx")], data=Path("x"), threads=[4])


def test_a_way_of_feeding_without_a_model_is_refused(matrix: Path) -> None:
    with pytest.raises(SpecError, match="--recipe, --class-offset belong to a model"):
        meant(matrix, recipe="tf", class_offset=1)


def test_what_a_file_leaves_open_is_named_with_the_options_that_give_it(matrix: Path) -> None:
    with pytest.raises(SpecError, match=r"matrix\.yaml leaves open the model: --model FILE"):
        meant(matrix)
    with pytest.raises(SpecError, match=r"the model: --model .* and the images: --data DIR"):
        meant(Path("wardrobe"))


def test_a_name_that_is_no_file_and_does_not_ship_is_told_what_does() -> None:
    with pytest.raises(SpecError) as caught:
        meant(Path("nosuchname"))
    assert "quick, tvm, wardrobe" in str(caught.value)


def test_a_sweep_that_ships_is_named_without_its_folder() -> None:
    spec = meant(Path("wardrobe"), model=[Path("m.onnx")], recipe="tf", data=Path("volume:V/val"))
    assert spec.name == "wardrobe"
    assert spec.data is not None
    assert spec.data.volume == "V/val"


def test_a_recipe_file_is_meant_from_the_current_folder_and_a_recipe_is_a_name(
    matrix: Path,
) -> None:
    for given, found in (("own.json", str(Path.cwd() / "own.json")), ("caffe", "caffe")):
        [model] = meant(matrix, model=[Path("m.onnx")], recipe=given).models
        assert model.recipe == found


def test_a_limit_belongs_to_the_array_that_a_file_names(tmp_path: Path) -> None:
    path = tmp_path / "array.yaml"
    path.write_text("environments: [a]\ninputs: {path: x.npy}\n")
    spec = meant(path, model=[Path("m.onnx")], limit=5, labels=Path("y.npy"))
    assert spec.data is None
    assert spec.inputs is not None
    assert (spec.inputs.path, spec.inputs.limit) == (tmp_path / "x.npy", 5)
    assert spec.inputs.labels == Path.cwd() / "y.npy"


@pytest.mark.parametrize("number", ["nan", "inf", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_no_variant(number: str) -> None:
    with pytest.raises(SpecError, match="no number to build a network with"):
        read_variant(f"batch_norm_epsilon={number}")
    assert read_variant("batch_norm_epsilon=1e-5,padding=same") == {
        "batch_norm_epsilon": 1e-5,
        "padding": "same",
    }


def test_what_is_wanted_of_conversions_is_an_axis(matrix: Path) -> None:
    axes = meant(
        matrix,
        model=[Path("m.onnx")],
        recipe="tf",
        route=["auto", "onnx > keras>tflite"],
        opset=["own", "13"],
        quantisation=["none", "static"],
        folding=["true", "false", "own"],
        input_layout=["nhwc"],
    ).axes
    assert axes.route == ("auto", "onnx>keras>tflite")
    assert axes.opset == ("own", 13)
    assert axes.quantisation == ("none", "static")
    assert axes.folding == (True, False, "own")
    assert axes.layout == ("nhwc",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"opset": ["latest"]}, "--opset 'latest' is no operator set"),
        ({"opset": ["0"]}, r"axes\.opset\[0\].*greater than or equal to 1"),
        ({"folding": ["yes"]}, "--folding 'yes' is not understood"),
        ({"quantisation": ["int8"]}, r"axes\.quantisation\[0\].*'static' or 'float16'"),
        ({"input_layout": ["NCHW"]}, r"axes\.layout\[0\]"),
        ({"route": ["keras->onnx"]}, "'keras->onnx' is no route: write auto"),
    ],
)
def test_a_wish_that_there_is_not_is_told(
    matrix: Path, options: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        meant(matrix, model=[Path("m.onnx")], recipe="tf", **options)


def test_how_conversions_are_checked_is_said_beside_a_file(matrix: Path) -> None:
    matrix.write_text(matrix.read_text() + "conversions: {tolerance: 0.1, images: 7}\n")
    spec = meant(matrix, model=[Path("m.onnx")], recipe="tf")
    told = adjusted(spec, calibration=12, tolerance=0.5, keep_ir=True)
    assert (told.conversions.tolerance, told.conversions.images) == (0.5, 7)
    assert told.conversions.calibration == 12
    assert told.keep_ir
    assert adjusted(spec) == spec


def test_how_cells_are_timed_is_said_beside_a_file(matrix: Path) -> None:
    matrix.write_text(matrix.read_text() + "timing: {rounds: 20, warmup_seconds: 1}\n")
    spec = meant(matrix, model=[Path("m.onnx")], recipe="tf")
    told = adjusted(
        spec,
        timing={
            "enabled": None,
            "rounds": 3,
            "scenarios": ["offline", "single_stream", "offline"],
            "offline_batches": [16, 1, 4, 4],
            "min_queries": None,
            "round_seconds": 0.5,
        },
    ).timing
    assert (told.rounds, told.enabled, told.warmup_seconds) == (3, True, 1)
    assert told.scenarios == ("offline", "single_stream")
    assert told.offline_batches == (1, 4, 16)
    assert (told.round_seconds, told.min_queries) == (0.5, 100)
    assert not adjusted(spec, timing={"enabled": False}).timing.enabled


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        ({"scenarios": ["server"]}, "scenarios"),
        ({"rounds": 1}, "rounds"),
        ({"offline_batches": [0]}, "offline_batches"),
        ({"round_seconds": 0}, "round_seconds"),
    ],
)
def test_a_timing_that_cannot_be_is_refused_by_its_name(
    matrix: Path, timing: dict[str, Any], said: str
) -> None:
    spec = meant(matrix, model=[Path("m.onnx")], recipe="tf")
    with pytest.raises(SpecError, match=said):
        adjusted(spec, timing=timing)


BAD_NAME = os.fsdecode(b"b\xff.onnx")


@pytest.mark.parametrize(
    "options",
    [
        {"model": [BAD_NAME]},
        {"model": [os.fsdecode(b"b\xff")]},
        {"model": ["m.onnx"], "recipe": os.fsdecode(b"r\xff.toml")},
        {"model": ["m.onnx"], "synsets": Path(os.fsdecode(b"s\xff"))},
    ],
)
def test_a_name_that_is_no_text_is_to_be_changed(matrix: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"\\xff.* is not valid UTF-8") as caught:
        meant(matrix, **options)
    assert "Rename it" in caught.value.remedy


def test_a_folder_that_is_no_savedmodel_does_not_hide_a_model_of_its_name(
    matrix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    (tmp_path / "home/models").mkdir(parents=True)
    (tmp_path / "home/models/w.toml").write_text('path = "w.onnx"\n')
    for name in ("w", "other"):
        (tmp_path / "here" / name).mkdir()
    assert [one.checkpoint for one in meant(matrix, model=["w"]).models] == ["w"]
    assert meant(matrix, model=["other"]).models[0].path == tmp_path / "here/other"
    assert meant(matrix, model=["./w"]).models[0].path == tmp_path / "here/w"
    (tmp_path / "here/w/saved_model.pb").write_bytes(b"")
    assert meant(matrix, model=["w"]).models[0].path == tmp_path / "here/w"
