"""The architectures' own facts: names of arrays, variants, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runner import architectures
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import weights_request

NAMES = (
    "mobilenet_v2",
    "resnet101_v2",
    "densenet121",
    "inception_v3",
    "resnet50",
    "efficientnet_b0",
    "mobilenet_v3_large",
    "convnext_tiny",
    "vit_b_16",
    "squeezenet1_1",
)
ALIASES = [
    ("mobilenet_v2", "stem.bias", "features.0.0.bias"),
    ("mobilenet_v2", "blocks.0.depthwise.weight", "features.1.conv.0.0.weight"),
    ("mobilenet_v2", "blocks.0.project.weight", "features.1.conv.1.weight"),
    ("mobilenet_v2", "blocks.16.project.bias", "features.17.conv.2.bias"),
    ("mobilenet_v2", "head.weight", "features.18.0.weight"),
    ("mobilenet_v2", "classifier.weight", "classifier.1.weight"),
    ("mobilenet_v2", "classifier.1.weight", "classifier.1.weight"),
    ("mobilenet_v2", "blocks.6.0.bn3.running_var", "features.17.conv.3.running_var"),
    ("densenet121", "features.denseblock1.denselayer1.norm.1.bias",
     "features.denseblock1.denselayer1.norm1.bias"),
    ("efficientnet_b0", "blocks.0.0.se.conv_reduce.bias", "features.1.0.block.1.fc1.bias"),
    ("efficientnet_b0", "blocks.5.3.conv_pwl.weight", "features.6.3.block.3.0.weight"),
    ("mobilenet_v3_large", "blocks.2.0.se.conv_expand.bias", "features.4.block.2.fc2.bias"),
    ("mobilenet_v3_large", "blocks.3.0.conv_pwl.weight", "features.7.block.2.0.weight"),
    ("convnext_tiny", "stages.1.downsample.1.weight", "features.2.1.weight"),
    ("convnext_tiny", "stages.2.blocks.8.gamma", "features.5.8.layer_scale"),
    ("vit_b_16", "blocks.11.attn.qkv.bias",
     "encoder.layers.encoder_layer_11.self_attention.in_proj_bias"),
    ("vit_b_16", "encoder.layers.encoder_layer_0.mlp.linear_2.bias",
     "encoder.layers.encoder_layer_0.mlp.3.bias"),
    ("squeezenet1_1", "fire9.expand3x3.bias", "features.12.expand3x3.bias"),
    ("squeezenet1_1", "conv10.weight", "classifier.1.weight"),
    ("resnet50", "layer1.0.bn1.weight", "layer1.0.bn1.weight"),
]  # fmt: skip
NORMS = [
    ("mobilenet_v2", "features.1.conv.0.0", "features.1.conv.0.1"),
    ("mobilenet_v2", "features.2.conv.2", "features.2.conv.3"),
    ("mobilenet_v2", "classifier.1", None),
    ("resnet101_v2", "stages.0.blocks.0.conv1", "stages.0.blocks.0.norm2"),
    ("resnet101_v2", "stages.0.blocks.0.conv3", None),
    ("resnet101_v2", "stem.conv", None),
    ("densenet121", "features.denseblock2.denselayer3.conv1", "features.denseblock2.denselayer3.norm2"),
    ("densenet121", "features.denseblock2.denselayer3.conv2", None),
    ("inception_v3", "Mixed_5b.branch1x1.conv", "Mixed_5b.branch1x1.bn"),
    ("resnet50", "conv1", "bn1"),
    ("resnet50", "layer3.0.downsample.0", "layer3.0.downsample.1"),
    ("efficientnet_b0", "features.2.0.block.2.fc1", None),
    ("squeezenet1_1", "features.0", None),
]  # fmt: skip


def test_they_are_those_that_the_project_names() -> None:
    assert architectures.names() == NAMES
    for name in NAMES:
        assert architectures.find(name).name == name


@pytest.mark.parametrize(("name", "other", "canonical"), ALIASES)
def test_an_array_is_found_under_its_other_names(name: str, other: str, canonical: str) -> None:
    assert architectures.find(name).alias(other) == canonical


@pytest.mark.parametrize(("name", "convolution", "norm"), NORMS)
def test_a_batch_norm_belongs_to_the_convolution_in_front(
    name: str, convolution: str, norm: str | None
) -> None:
    assert architectures.find(name).norm_of(convolution) == norm


def test_an_unknown_architecture_is_refused_and_told_what_there_is() -> None:
    for name in ("resnet51", None, ["resnet50"]):
        with pytest.raises(RunnerError, match="there are mobilenet_v2, resnet101_v2") as caught:
            architectures.find(name)
        assert caught.value.kind == "unsupported"


def test_what_is_absent_is_what_each_library_does() -> None:
    mobile = architectures.find("mobilenet_v2")
    assert architectures.effective(mobile, {}, "torch") == {
        "padding": "symmetric",
        "batch_norm_epsilon": 1e-5,
        "activation": "relu6",
    }
    assert architectures.effective(mobile, {"activation": "relu"}, "keras") == {
        "padding": "same",
        "batch_norm_epsilon": 1e-3,
        "activation": "relu",
    }


def test_what_is_absent_may_differ_between_the_libraries_of_pytorch() -> None:
    mobile = architectures.find("mobilenet_v3_large")
    found = {
        library: architectures.effective(mobile, {}, library)["batch_norm_epsilon"]
        for library in ("torch", "torchvision", "timm", "keras")
    }
    assert found == {"torch": 1e-3, "torchvision": 1e-3, "timm": 1e-5, "keras": 1e-3}
    said = {"batch_norm_epsilon": 0.01}
    assert architectures.effective(mobile, said, "timm")["batch_norm_epsilon"] == 0.01


@pytest.mark.parametrize(
    ("name", "libraries"),
    [
        ("mobilenet_v2", ("torchvision", "timm")),
        ("resnet101_v2", ("timm",)),
        ("squeezenet1_1", ("torchvision",)),
    ],
)
def test_an_architecture_knows_which_libraries_have_it(
    name: str, libraries: tuple[str, ...]
) -> None:
    assert architectures.find(name).libraries == libraries


@pytest.mark.parametrize(
    ("name", "variant", "said"),
    [
        ("mobilenet_v2", {"stride": "first"}, "no variant 'stride'; it has: padding, batch_norm_"),
        ("vit_b_16", {"padding": "same"}, "it has: none"),
        ("resnet50", {"stride": "third"}, "stride can't be 'third'; it can be first or second"),
        ("resnet50", {"max_pool": "zeros"}, "it can be symmetric or ceil"),
        ("resnet50", {"batch_norm_epsilon": "small"}, "a number between 0 and 1"),
        ("resnet50", {"batch_norm_epsilon": True}, "a number between 0 and 1"),
        ("resnet50", {"batch_norm_epsilon": 0}, "a number between 0 and 1"),
    ],
)
def test_a_variant_that_there_is_not_is_refused(
    name: str, variant: dict[str, Any], said: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        architectures.effective(architectures.find(name), variant, "torch")
    assert caught.value.kind == "unsupported"
    assert said in caught.value.message


def test_what_keras_does_not_have_is_refused_there() -> None:
    with pytest.raises(RunnerError, match=r"keras\.applications has no vit_b_16"):
        architectures.effective(architectures.find("vit_b_16"), {}, "keras")


def job(source_format: str = "weights", **options: Any) -> ConvertJob:
    return ConvertJob("w", "weights>torch", "w.npz", source_format, "t.pt2", options)


def test_a_request_has_the_architectures_own_size_unless_it_says_another() -> None:
    request = weights_request.read_request(job(architecture="inception_v3"), "weights>torch")
    assert (request.batch, request.item_shape, request.library) == (1, (3, 299, 299), None)
    asked = job(architecture="resnet50", batch=4, item_shape=[3, 96, 64], library="timm")
    request = weights_request.read_request(asked, "weights>torch")
    fed = request.seeded_input()
    assert (fed.shape, fed.dtype, request.library) == ((4, 3, 96, 64), np.float32, "timm")
    assert np.array_equal(fed, request.seeded_input())


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        (job(), "job", "the option architecture is missing"),
        (job(architecture="resnet50", size=3), "unsupported", "'size'"),
        (job("onnx", architecture="resnet50"), "unsupported", "source format"),
        (job(architecture="resnet50", library="keras"), "unsupported", "torchvision"),
        (job(architecture="squeezenet1_1", library="timm"), "unsupported", "timm has no squeezenet1_1; torchvision does"),
        (job("keras_weights", architecture="resnet50", library="timm"), "unsupported", "the option library is for PyTorch's"),
        (job(architecture="resnet50", batch=0), "job", "batch must be an integer of at least 1"),
        (job(architecture="resnet50", variant="same"), "job", "variant must be a mapping"),
        (job(architecture="resnet50", item_shape=[224, 224, 3]), "unsupported", "[3, height, width]"),
        (job(architecture="resnet50", item_shape=[3, 0, 2]), "job", "each size of item_shape"),
        (job(architecture="resnet50", item_shape=7), "job", "item_shape must be a list"),
    ],
)  # fmt: skip
def test_a_request_that_can_not_be_met_is_refused(asked: ConvertJob, kind: str, said: str) -> None:
    formats = ("weights", "keras_weights")
    with pytest.raises(RunnerError) as caught:
        weights_request.read_request(asked, "weights>torch", formats)
    assert caught.value.kind == kind
    assert said in caught.value.message


def test_answers_that_are_not_finite_are_the_weights_fault() -> None:
    weights_request.require_finite([np.ones(2, np.float32), np.ones(2, np.int64)], "weights>torch")
    for bad in (np.nan, np.inf):
        with pytest.raises(RunnerError, match="its weights are damaged or make no sense") as caught:
            weights_request.require_finite([np.array([1, bad])], "weights>torch")
        assert caught.value.kind == "model"
