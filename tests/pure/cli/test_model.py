"""`harness model` prints what people and programs read."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.model import app
from harness.errors import EXIT_DIFFERENCES, ModelError, UsageError
from harness.models.entries import seeded_folder

OF = ("--architecture", "squeezenet1_1")


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    for name in ("TORCH_HOME", "KERAS_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("HARNESS_EXECUTOR", raising=False)
    return tmp_path


@pytest.fixture
def weights(folders):
    path = folders / "mine.npz"
    np.savez(
        path,
        **{
            "fire2.squeeze.weight": np.ones((16, 64, 1, 1), np.float32),
            "conv10.weight": np.ones((1001, 512, 1, 1), np.float32),
        },
    )
    return path


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_the_list_names_every_checkpoint_whole_in_a_narrow_terminal():
    shown = run("list")
    for row in json.loads(run("list", "--json"))["models"]:
        assert row["name"] in shown


def test_the_list_can_be_of_one_origin(weights):
    run("add", "mine", weights, *OF)
    rows = json.loads(run("list", "--origin", "file", "--json"))["models"]
    assert rows == [
        {
            "name": "mine",
            "origin": "file",
            "architecture": "squeezenet1_1",
            "framework": None,
            "format": "weights",
            "classes": 1001,
            "on_disk": True,
            "state": "yes",
            "size_bytes": weights.stat().st_size,
            "path": str(weights),
        }
    ]
    weights.unlink()
    assert json.loads(run("list", "--origin", "file", "--json"))["models"][0]["state"] == "lost"


def test_add_shows_what_the_file_is_and_how_to_run_it(weights):
    shown = run("add", "mine", weights, *OF, "--recipe", "torch")
    assert "squeezenet1_1" in shown
    assert "logits float32 [?, 1001]" in shown
    assert "--class-offset 1" in shown
    assert "harness sweep --model mine --env torch-2.13 --data DIR" in shown


def test_add_takes_a_description_alone(folders, weights):
    (folders / "other.toml").write_text(
        'path = "mine.npz"\nrecipe = "torch"\nclass_offset = 1\narchitecture = "squeezenet1_1"\n'
    )
    document = json.loads(run("add", folders / "other.toml", "--json"))
    assert (document["name"], document["class_offset"]) == ("other", 1)
    assert document["path"] == str(weights)
    assert document["outputs"] == ["logits float32 [?, 1001]"]
    with pytest.raises(UsageError, match="--recipe given, but"):
        run("add", folders / "other.toml", "--recipe", "tf", "--replace")


def test_variants_are_read_as_words_and_numbers(folders):
    path = folders / "mn.npz"
    np.savez(
        path,
        **{
            "features.1.conv.0.0.weight": np.ones((32, 1, 3, 3), np.float32),
            "classifier.1.weight": np.ones((5, 1280), np.float32),
        },
    )
    options = ("--variant", "padding=same,activation=relu", "--variant", "batch_norm_epsilon=1e-3")
    document = json.loads(
        run("add", "mn", path, "--architecture", "mobilenet_v2", *options, "--json")
    )
    assert document["variant"] == {
        "padding": "same",
        "activation": "relu",
        "batch_norm_epsilon": 0.001,
    }
    for wrong in ("padding", "padding=", "=same"):
        with pytest.raises(UsageError, match="is no variant"):
            run("add", "x", path, "--variant", wrong)


def test_a_name_alone_is_no_model():
    with pytest.raises(UsageError, match="Which file mine is"):
        run("add", "mine")


def test_show_spells_out_the_recipe_and_each_variant():
    shown = run("show", "resnet50@torchvision")
    assert "short side to 232 (bilinear), centre crop 224 x 224" in shown
    assert "(x / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)" in shown
    assert "top-1 80.858 %, top-5 95.434 %" in shown
    assert "begins 11ad3fa6" in shown
    assert "stride = first | second: PyTorch second, Keras first" in shown
    assert "torch-2.13: torch.eager (weights>torch)" in shown


def test_show_says_what_a_network_does_itself():
    document = json.loads(run("show", "efficientnet_b0@keras", "--json"))
    assert document["recipe"]["divide"] == 1
    assert document["recipe_in_words"].endswith("RGB, values 0 to 255 as they are")
    assert document["recipe_in_model"].startswith("RGB, (x / 255 - (0.485")
    assert document["native"][-1] == "keras:EfficientNetB0"


def test_networks_that_keras_lacks_do_not_run_there():
    document = json.loads(run("show", "vit_b_16@torchvision", "--json"))
    routes = {how for backends in document["runs_in"].values() for how in backends.values()}
    assert "weights>torch" in routes
    assert not routes & {"weights>keras", "weights>tflite", "weights>graphdef"}
    assert document["variants"] == {}


def test_fetching_offline_says_what_belongs_where(folders):
    with pytest.raises(ModelError) as caught:
        run("fetch", "densenet121@torchvision", "--offline")
    assert "densenet121-a639ec97.pth" in caught.value.remedy
    assert str(folders / "cache/pretrained/hub/checkpoints") in caught.value.remedy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet50@seeded",), "resnet50@seeded is made by fitting it on images"),
        (("resnet50@timm", "--seed", "0"), "--seed given, but nothing is to be seeded"),
        (("resnet50@timm", "--data", "x"), "--data given, but nothing is to be seeded"),
    ],
)
def test_seeding_and_fetching_are_not_mixed_up(arguments, message):
    with pytest.raises(UsageError, match=message):
        run("fetch", *arguments)


def test_seeding_gets_what_was_asked(folders, monkeypatch):
    asked = {}

    def make_seeded(entry, data, **how):
        asked.update(entry=entry.name, data=data, **how)
        return folders / "made.npz"

    monkeypatch.setattr("harness.execution.seeding.make_seeded", make_seeded)
    options = ("--data", folders, "--limit", 7, "--executor", "venv", "--json")
    document = json.loads(run("fetch", "resnet50@seeded", *options))
    assert document == {"models": [{"name": "resnet50@seeded", "path": str(folders / "made.npz")}]}
    assert (asked["entry"], asked["data"]) == ("resnet50@seeded", folders)
    assert (asked["limit"], asked["seed"], asked["classes"]) == (7, 0, 1000)
    assert (asked["executor"], asked["engine"]) == ("venv", None)


def test_verify_ends_with_one_where_something_is_wrong(weights):
    assert "No file of a model is on this machine yet" in run("verify")
    run("add", "mine", weights, *OF)
    assert json.loads(run("verify", "--json"))["models"][0]["state"] == "ok"
    weights.unlink()
    assert "mine: missing" in run("verify", code=EXIT_DIFFERENCES)
    run("verify", "resnet50@keras", code=EXIT_DIFFERENCES)


def test_seeded_archives_are_held_against_their_own_checksums():
    folder = seeded_folder("resnet50")
    folder.mkdir(parents=True)
    made = folder / "abc.npz"
    np.savez(made, a=np.arange(1000.0))
    assert json.loads(run("verify", "--json"))["models"][0]["state"] == "ok"
    content = bytearray(made.read_bytes())
    content[500] ^= 1
    made.write_bytes(bytes(content))
    rows = json.loads(run("verify", "--json", code=EXIT_DIFFERENCES))["models"]
    assert [(row["name"], row["state"]) for row in rows] == [("resnet50@seeded", "corrupted")]


def test_remove_forgets_and_says_what_went(weights, folders):
    run("add", "mine", weights, *OF)
    document = json.loads(run("remove", "mine", "--json"))
    assert document["models"][0]["removed"] == [str(folders / "home/models/mine.toml")]
    assert weights.is_file()


def test_the_hash_in_a_description_is_held_against_its_file(folders, weights):
    described = folders / "kept.toml"
    described.write_text(f'path = "mine.npz"\narchitecture = "{OF[1]}"\nsha256 = "{"0" * 64}"\n')
    with pytest.raises(ModelError, match="0" * 64) as caught:
        run("add", described)
    true = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert true in caught.value.message
    described.write_text(described.read_text().replace("0" * 64, true))
    assert json.loads(run("add", described, "--json"))["sha256"] == true


@pytest.mark.parametrize("variant", ["a b=1", "a\nb=1"])
def test_a_variant_that_there_is_not_is_told_by_its_architecture(weights, variant):
    with pytest.raises(ModelError, match=r"^squeezenet1_1 has no variant"):
        run("add", "mine", weights, *OF, "--variant", variant)


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_variant_is_a_finite_number(weights, number):
    with pytest.raises(UsageError, match="no finite number"):
        run("add", "mine", weights, *OF, "--variant", f"batch_norm_epsilon={number}")


def test_weights_with_a_variant_need_no_architecture_where_their_arrays_tell(folders):
    path = folders / "tf.npz"
    np.savez_compressed(
        path,
        **{
            "blocks.0.depthwise.weight": np.zeros((2_189_760, 1), np.float32),
            "classifier.weight": np.zeros((1001, 20), np.float32),
        },
    )
    options = ("--recipe", "tf", "--class-offset", 1, "--variant", "padding=same")
    added = json.loads(run("add", "mine", path, *options, "--json"))
    assert added["architecture"] == "mobilenet_v2"
    assert added["class_offset"] == 1
