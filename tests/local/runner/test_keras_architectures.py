"""The same arrays in PyTorch's and Keras's own models: equal where aligned, and different by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.environment_python import run_inside

from runner import architectures

HERE = Path(__file__).parent
NAMES = tuple(name for name in architectures.names() if architectures.find(name).keras)
DIFFERENT = {
    "mobilenet_v2": 0.1,
    "resnet101_v2": 0.1,
    "inception_v3": 0.1,
    "resnet50": 0.1,
    "efficientnet_b0": 0.003,
    "mobilenet_v3_large": 0.1,
}
"""By how much, of the largest logit, the libraries' own models differ at least on these arrays."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what PyTorch and Keras answer."""
    folder = tmp_path_factory.mktemp("architectures")
    run_inside("torch-2.13", HERE / "architectures_in_torch.py", folder, *NAMES)
    run_inside("tensorflow-2.21", HERE / "architectures_in_keras.py", folder, *NAMES)
    return folder


def difference(folder: Path, name: str, one: str, other: str) -> float:
    """The largest, of the largest logit."""
    a, b = (np.load(folder / f"{name}.{which}.npy") for which in (one, other))
    assert a.shape == b.shape == (2, 11)
    assert a.std(axis=1).min() > 0.05 * np.abs(a).max()
    return float(np.abs(a - b).max() / np.abs(a).max())


@pytest.mark.parametrize("name", NAMES)
def test_aligned_to_pytorch_keras_answers_alike(answers: Path, name: str) -> None:
    assert difference(answers, name, "torch", "keras-torch") < 1e-4


@pytest.mark.parametrize("name", DIFFERENT)
def test_aligned_to_keras_pytorch_answers_alike(answers: Path, name: str) -> None:
    assert difference(answers, name, "keras", "keras-keras") < 1e-4


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_libraries_own_models_differ_where_it_is_known(answers: Path, name: str) -> None:
    assert difference(answers, name, "torch", "keras-keras") > DIFFERENT[name]


def test_keras_2_names_its_layers_differently_and_answers_alike(answers: Path) -> None:
    run_inside("tensorflow-2.15", HERE / "architectures_in_keras.py", answers, "mobilenet_v3_large")
    assert difference(answers, "mobilenet_v3_large", "torch", "keras-torch") < 1e-4
    assert difference(answers, "mobilenet_v3_large", "keras", "keras-keras") < 1e-4
