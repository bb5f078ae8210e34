"""TOML descriptions of a person's own models."""

from __future__ import annotations

import pytest

from harness.errors import ModelError
from harness.models.user_models import check_name, read_user_model


@pytest.fixture
def described(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


def test_a_path_alone_is_enough_and_is_meant_from_the_files_folder(described, tmp_path):
    entry = read_user_model(described('path = "sub/net.onnx"'))
    assert entry.name == "mine"
    assert entry.path == tmp_path / "sub/net.onnx"
    assert (entry.recipe, entry.architecture, entry.class_offset) == (None, None, 0)
    assert (entry.output, entry.layout, entry.origin) == ("auto", None, "file")


def test_everything_that_may_be_said_is_kept(described):
    entry = read_user_model(
        described(
            """
            path = "/models/net.pth"
            architecture = "mobilenet_v2"
            class_offset = 1
            output = "probabilities"
            layout = "NCHW"
            size = 160
            licence = "mine"
            [recipe]
            divide = 127.5
            mean = [1, 1, 1]
            [variant]
            padding = "same"
            batch_norm_epsilon = 0.001
            """
        )
    )
    assert (entry.architecture, entry.framework) == ("mobilenet_v2", "torch")
    assert (entry.class_offset, entry.output, entry.layout) == (1, "probabilities", "NCHW")
    assert (entry.size, entry.licence) == (160, "mine")
    assert (entry.recipe.name, entry.recipe.divide, entry.recipe.mean) == ("mine", 127.5, (1, 1, 1))
    assert entry.variant == {"padding": "same", "batch_norm_epsilon": 0.001}


def test_a_recipe_file_is_meant_from_the_files_folder(described, tmp_path):
    (tmp_path / "r.toml").write_text("divide = 2.0\n")
    entry = read_user_model(described('path = "n.onnx"\nrecipe = "r.toml"'))
    assert (entry.recipe.name, entry.recipe.divide) == ("r", 2.0)


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ('path = "a.onnx"\nrecpie = "tf"', "at recpie", "Did you mean recipe?"),
        ('path = "a.onnx"\nxyzzy = 1', "at xyzzy", "Its keys are path"),
        ('recipe = "tf"', "at path", 'path = "model.onnx"'),
        ('path = "a.onnx"\nclass_offset = -1', "at class_offset", "Its keys are"),
        ('path = "a.onnx"\noutput = "softmax"', "at output", "Its keys are"),
        ('path = "a.onnx"\nrecipe = "imagenet"', "no recipe named 'imagenet'", "Recipes are"),
        ('path = "a.onnx"\n[recipe]\nmaen = [1, 1, 1]', "at maen", "Did you mean mean?"),
        ('path = "a.onnx"\n[recipe]\nstd = [0, 1, 1]', "std that is not positive", ""),
        ('path = "a.pth"\narchitecture = "resnet5"', "no architecture 'resnet5'", "resnet50"),
        (
            'path = "a.pth"\narchitecture = "resnet50"\n[variant]\npadding = "same"',
            "resnet50 has no variant 'padding'",
            "There is: stride",
        ),
        ('path = "a.pth"\n[variant]\npadding = "same"', "no architecture that", "architecture ="),
        ('path = "a', "is not valid TOML", ""),
    ],
)
def test_faults_are_named_with_what_to_write(described, text, message, remedy):
    path = described(text)
    with pytest.raises(ModelError) as caught:
        read_user_model(path)
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert remedy in caught.value.remedy


def test_no_file_is_said(tmp_path):
    with pytest.raises(ModelError, match="There is no file"):
        read_user_model(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["mine", "my-net.v2", "A_1", "x" * 64])
def test_plain_names_are_taken(name):
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", ".hidden", "a/b", "a b", "a@b", "../up", "x" * 65, "näme", "net.onnx", "net.TOML"]
)
def test_odd_names_are_refused(name):
    with pytest.raises(ModelError):
        check_name(name)


def test_a_file_that_is_nested_without_end_or_too_large_is_refused(described):
    with pytest.raises(ModelError, match="nested too deeply"):
        read_user_model(described("x = " + "[" * 5000))
    with pytest.raises(ModelError, match="larger than 1 MiB"):
        read_user_model(described('path = "net.onnx"\n#' + "x" * (1 << 20)))
