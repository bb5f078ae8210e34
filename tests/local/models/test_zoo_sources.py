"""The zoo's facts are those that the installed libraries' own sources state.

The sources are read, and only their tables of weights are evaluated: importing the libraries would
take minutes and prove no more.
"""

from __future__ import annotations

import ast
import math
import re
import subprocess
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.installed import cannot_install

from harness.datasets.recipes import PRESETS, geometry
from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.models.zoo import architecture_facts, architectures
from harness.progress import SilentProgress

TORCHVISION = {
    "mobilenet_v2": ("mobilenetv2.py", "MobileNet_V2_Weights"),
    "densenet121": ("densenet.py", "DenseNet121_Weights"),
    "inception_v3": ("inception.py", "Inception_V3_Weights"),
    "resnet50": ("resnet.py", "ResNet50_Weights"),
    "efficientnet_b0": ("efficientnet.py", "EfficientNet_B0_Weights"),
    "mobilenet_v3_large": ("mobilenetv3.py", "MobileNet_V3_Large_Weights"),
    "convnext_tiny": ("convnext.py", "ConvNeXt_Tiny_Weights"),
    "vit_b_16": ("vision_transformer.py", "ViT_B_16_Weights"),
    "squeezenet1_1": ("squeezenet.py", "SqueezeNet1_1_Weights"),
}
TIMM = {
    "mobilenetv2_100": "efficientnet.py",
    "resnetv2_101": "resnetv2.py",
    "densenet121": "densenet.py",
    "inception_v3": "inception_v3.py",
    "resnet50": "resnet.py",
    "efficientnet_b0": "efficientnet.py",
    "mobilenetv3_large_100": "mobilenetv3.py",
    "convnext_tiny": "convnext.py",
    "vit_base_patch16_224": "vision_transformer.py",
}
KERAS = {
    "mobilenet_v2": "mobilenet_v2.py",
    "resnet101_v2": "resnet.py",
    "densenet121": "densenet.py",
    "inception_v3": "inception_v3.py",
    "resnet50": "resnet.py",
    "efficientnet_b0": "efficientnet.py",
    "mobilenet_v3_large": "mobilenet_v3.py",
    "convnext_tiny": "convnext.py",
}
HASH_KEYS = {
    "resnet101_v2": "resnet101v2",
    "resnet50": "resnet50",
    "efficientnet_b0": "b0",
    "mobilenet_v3_large": "large_224_1.0_float",
    "convnext_tiny": "convnext_tiny",
}


@cache
def packages(environment: str) -> Path:
    """The folder that an environment's packages lie in; skips where it cannot be installed."""
    try:
        python = provision(resolve(environment), SilentProgress()).python
    except HarnessError as error:
        cannot_install(environment, error)
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def part_of(path: Path, wanted: Any, names: dict[str, Any]) -> dict[str, Any]:
    """Evaluate the statements of a source file that are wanted, with these names known."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if wanted(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns, node.args = None, _bare(node.args)
    exec(compile(tree, str(path), "exec"), names)  # noqa: S102 - an installed library's own tables
    return names


def _bare(arguments: ast.arguments) -> ast.arguments:
    for argument in (*arguments.args, *arguments.kwonlyargs, arguments.kwarg, arguments.vararg):
        if argument is not None:
            argument.annotation = None
    return arguments


def torchvision_weights(architecture: str) -> Any:
    file, name = TORCHVISION[architecture]
    path = packages("torch-2.13") / "torchvision" / "models" / file
    common = ("_COMMON_META", "_COMMON_META_V1", "_COMMON_SWAG_META", "_IMAGENET_CATEGORIES")
    known = {
        "Weights": SimpleNamespace,
        "WeightsEnum": object,
        "ImageClassification": dict,
        "partial": partial,
        "InterpolationMode": SimpleNamespace(BICUBIC="bicubic", BILINEAR="bilinear"),
        **{key: {} for key in common},
    }
    return part_of(path, lambda node: getattr(node, "name", "") == name, known)[name]


@pytest.mark.parametrize("architecture", sorted(TORCHVISION))
def test_torchvision(architecture):
    table = torchvision_weights(architecture)
    facts = architecture_facts(architecture)
    ours = {key: one for key, one in facts.pretrained.items() if one.library == "torchvision"}
    assert getattr(table, ours["torchvision"].label) is table.DEFAULT
    for file in ours.values():
        weights = getattr(table, file.label)
        transforms = weights.transforms.keywords
        assert file.url == weights.url
        assert file.size_bytes == round(weights.meta["_file_size"] * 2**20)
        metrics = weights.meta["_metrics"]["ImageNet-1K"]
        assert (file.accuracy.top1, file.accuracy.top5) == (metrics["acc@1"], metrics["acc@5"])
        assert transforms["crop_size"] == facts.size
        fitted = geometry(file.recipe, facts.size, facts.size)
        assert fitted.resize_height == transforms.get("resize_size", 256)
        assert fitted.interpolation == transforms.get("interpolation", "bilinear")
        if architecture != "inception_v3":
            assert _values(file.recipe) == _values(PRESETS["torch"])


def test_torchvision_normalises_as_its_presets_say():
    source = (packages("torch-2.13") / "torchvision/transforms/_presets.py").read_text()
    presets = source[source.index("class ImageClassification") :]
    assert "mean: tuple[float, ...] = (0.485, 0.456, 0.406)" in presets
    assert "std: tuple[float, ...] = (0.229, 0.224, 0.225)" in presets
    assert "resize_size: int = 256" in presets
    inception = (packages("torch-2.13") / "torchvision/models/inception.py").read_text()
    assert "x[:, 0], 1) * (0.229 / 0.5) + (0.485 - 0.5) / 0.5" in inception


@cache
def timm_tables(file: str) -> dict[str, dict[str, Any]]:
    root = packages("torch-2.13") / "timm"
    constants = part_of(root / "data/constants.py", lambda node: isinstance(node, ast.Assign), {})

    def wanted(node: ast.stmt) -> bool:
        if isinstance(node, ast.FunctionDef):
            return "cfg" in node.name and not node.decorator_list
        target = getattr(node, "targets", [getattr(node, "target", None)])[0]
        return isinstance(node, (ast.Assign, ast.AnnAssign)) and (
            getattr(target, "id", "") == "default_cfgs"
        )

    names = {**constants, "generate_default_cfgs": dict, "__builtins__": {"dict": dict}}
    return part_of(root / "models" / file, wanted, names)["default_cfgs"]


@pytest.mark.parametrize("architecture", sorted(set(architectures()) - {"squeezenet1_1"}))
def test_timm(architecture):
    facts = architecture_facts(architecture)
    file = facts.pretrained["timm"]
    name = file.builder.removeprefix("timm:")
    table = timm_tables(TIMM[name])
    config = table[f"{name}.{file.label}"]
    assert next(key for key in table if key.startswith(f"{name}.")) == f"{name}.{file.label}"
    assert file.repository == f"{config['hf_hub_id']}{name}.{file.label}"
    assert file.url == f"https://huggingface.co/{file.repository}/resolve/main/model.safetensors"
    assert config["input_size"] == (3, facts.size, facts.size)
    assert config["num_classes"] == file.classes
    assert config["license"] == "apache-2.0"
    recipe = file.recipe
    assert geometry(recipe, facts.size, facts.size).resize_height == math.floor(
        facts.size / config["crop_pct"]
    )
    assert recipe.interpolation == config["interpolation"]
    assert (recipe.divide, recipe.mean, recipe.std) == (255, config["mean"], config["std"])


def test_timm_rounds_the_short_side_down():
    source = (packages("torch-2.13") / "timm/data/transforms_factory.py").read_text()
    assert "math.floor(x / crop_pct)" in source


def test_timm_has_no_squeezenet():
    root = packages("torch-2.13") / "timm" / "models"
    assert not [path for path in root.glob("*.py") if "def squeezenet" in path.read_text()]


def keras_source(environment: str, file: str) -> str:
    root = packages(environment)
    return (root / "keras" / "src" / "applications" / file).read_text()


@pytest.mark.parametrize("environment", ["tensorflow-2.21", "tensorflow-2.15"])
@pytest.mark.parametrize("architecture", sorted(KERAS))
def test_keras(architecture, environment):
    source = keras_source(environment, KERAS[architecture])
    file = architecture_facts(architecture).pretrained["keras"]
    folder, name = file.url.rsplit("/", 1)
    joined = re.sub(r'"\s*(?:f?")|f"', lambda found: "" if found[0] != 'f"' else '"', source)
    assert f"{folder}/" in joined
    stated = file.sha256 or file.md5
    if architecture in HASH_KEYS:
        tables = [
            ast.literal_eval(node.value)
            for node in ast.parse(source).body
            if isinstance(node, ast.Assign)
            and getattr(node.targets[0], "id", "") == "WEIGHTS_HASHES"
        ]
        assert tables[0][HASH_KEYS[architecture]][0] == stated
    elif stated is not None:
        assert f'{name}"' in joined
        assert f'file_hash="{stated}"' in source
    else:
        assert "file_hash" not in source
        assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels" in source


@pytest.mark.parametrize(
    ("architecture", "file", "mode"),
    [
        ("mobilenet_v2", "mobilenet_v2.py", "tf"),
        ("resnet101_v2", "resnet_v2.py", "tf"),
        ("densenet121", "densenet.py", "torch"),
        ("inception_v3", "inception_v3.py", "tf"),
        ("resnet50", "resnet.py", "caffe"),
    ],
)
def test_keras_preprocesses_in_the_recipes_mode(architecture, file, mode):
    assert f'mode="{mode}"' in keras_source("tensorflow-2.21", file)
    recipe = architecture_facts(architecture).recipes["keras"]
    assert _values(recipe) == _values(PRESETS[mode])


@pytest.mark.parametrize(
    ("architecture", "inside", "values"),
    [
        ("efficientnet_b0", ("Rescaling(1.0 / 255.0)", "layers.Normalization("), "torch"),
        ("mobilenet_v3_large", ("Rescaling(scale=1.0 / 127.5, offset=-1.0)",), "tf"),
        ("convnext_tiny", ("mean=[0.485 * 255, 0.456 * 255, 0.406 * 255]",), "torch"),
    ],
)
def test_some_of_keras_networks_normalise_themselves(architecture, inside, values):
    source = keras_source("tensorflow-2.21", KERAS[architecture])
    assert all(text in source for text in inside)
    body = source[source.index("def preprocess_input") :]
    assert re.search(r"\n    return x\n", body)
    file = architecture_facts(architecture).pretrained["keras"]
    assert _values(file.recipe) == _values(PRESETS["raw"])
    assert _values(file.recipe_in_model) == _values(PRESETS[values])


def _values(recipe: Any) -> tuple[Any, ...]:
    return recipe.channels, recipe.divide, recipe.mean, recipe.std
