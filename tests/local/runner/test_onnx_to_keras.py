"""Each operator that has a conversion to Keras, in real environments, against ONNX's evaluator."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from support.installed import cannot_install
from support.runtime_answers import runtime_answers
from support.small_onnx import AS_RUNTIME, CASES, Small, one

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

REPOSITORY = Path(__file__).resolve().parents[3]
REFUSED = {
    "refused_max_pool_indices": (
        Small([("MaxPool", "x", "y i", {"kernel_shape": [2, 2]})]),
        "operator MaxPool (node 'MaxPool_0'): the indices",
    ),
    "refused_dilated_pool": (
        Small(one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])),
        "operator MaxPool (node 'MaxPool_0'): dilations [2, 2]",
    ),
    "refused_cubic": (
        Small(one("Resize", "x - s", mode="cubic"), {"s": np.array([1, 1, 2, 2], np.float32)}),
        "operator Resize (node 'Resize_0'): its mode is 'cubic'",
    ),
    "refused_channels": (
        Small(one("Resize", "x - s"), {"s": np.array([1, 2, 1, 1], np.float32)}),
        "operator Resize (node 'Resize_0'): it resizes the batch or the channels",
    ),
    "refused_training": (
        Small(one("Dropout", "x r t"), {"r": np.float32(0.5), "t": np.array(True)}),
        "operator Dropout (node 'Dropout_0'): it is in training mode",
    ),
    "refused_reduction_of_the_batch": (
        Small(one("ReduceMean", axes=[0])),
        "operator ReduceMean (node 'ReduceMean_0'): it reduces over the batch",
    ),
    "refused_edge_pad": (
        Small(one("Pad", "x p", mode="edge"), {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}),
        "operator Pad (node 'Pad_0'): its mode is 'edge'",
    ),
}
_ON_JAX = ("conv", "max_", "average_", "reshape", "class_", "batch_", "pad", "resize", "layer")
JAX = [name for name in CASES if name.startswith(_ON_JAX)]
LITE = ["conv_depthwise_stride_2", "gelu_from_erf", "two_outputs", "class_token", "unary_erf"]


@cache
def interpreter(environment: str) -> str:
    """The Python of a shipped environment; skips where it can't be installed."""
    try:
        return str(provision(resolve(environment), SilentProgress()).python)
    except HarnessError as error:
        cannot_install(environment, error)


def converted(
    folder: Path, environment: str, converter: str, models: dict[str, Small]
) -> dict[str, list[np.ndarray] | str]:
    """What became of each model: its outputs, or what the refusal said."""
    for name, small in models.items():
        onnx.save(small.model(), folder / f"{name}.onnx")
        np.save(folder / f"{name}.npy", small.fed(small.shape[0] if small.shape[0] != "N" else 2))
    program = Path(__file__).with_name("convert_many.py")
    subprocess.run(
        [interpreter(environment), str(program), converter, str(folder), "2"],
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY), TF_CPP_MIN_LOG_LEVEL="3"),
        check=True,
        timeout=900,
    )
    results: dict[str, list[np.ndarray] | str] = {}
    for name in models:
        refusal = folder / f"{name}.json"
        if refusal.exists():
            results[name] = json.loads(refusal.read_text())["message"]
        else:
            with np.load(folder / f"{name}.npz") as file:
                results[name] = [file[each] for each in file.files]
    return results


def expected(name: str, small: Small, x: np.ndarray) -> list[np.ndarray]:
    """By ONNX's reference evaluator; by ONNX's formula where the evaluator departs from it."""
    if name == "softmax_opset_11":
        flat = np.exp(x.reshape(len(x), -1))
        return [(flat / flat.sum(1, keepdims=True)).reshape(x.shape)]
    if name in ("lrn", "lrn_even"):
        attributes = small.nodes[0][3]
        size, bias = attributes["size"], attributes["bias"]
        before = (size - 1) // 2
        padded = np.pad(x**2, ((0, 0), (before, size - 1 - before), (0, 0), (0, 0)))
        total = sum(padded[:, first : first + x.shape[1]] for first in range(size))
        return [x / (bias + attributes["alpha"] / size * total) ** attributes["beta"]]
    if name == "pad_negative":
        return [np.pad(x, ((0, 0), (0, 0), (0, 1), (2, 0)))[:, :, 1:, :-2]]
    model = small.model()
    outputs: list[np.ndarray] = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})
    return outputs


Results = dict[str, list[np.ndarray] | str]


@pytest.fixture(scope="module")
def keras_results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """All small models on TensorFlow."""
    refused = {name: small for name, (small, _) in REFUSED.items()}
    models = {**CASES, **AS_RUNTIME, **refused}
    return converted(tmp_path_factory.mktemp("keras"), "tensorflow-2.21", "onnx>keras", models)


@pytest.fixture(scope="module")
def jax_results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What slides windows and what moves axes, on another engine."""
    models = {name: CASES[name] for name in JAX}
    return converted(tmp_path_factory.mktemp("jax"), "jax-0.10", "onnx>keras", models)


def check(name: str, results: Results) -> None:
    """The outputs are those of ONNX."""
    small = CASES[name]
    got = results[name]
    assert not isinstance(got, str), got
    x = small.fed(small.shape[0] if small.shape[0] != "N" else 2)
    wanted = expected(name, small, x)
    assert [output.shape for output in got] == [output.shape for output in wanted]
    for output, want in zip(got, wanted, strict=True):
        np.testing.assert_allclose(output, want, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", list(CASES))
def test_an_operator_gives_what_onnx_gives(name: str, keras_results: Results) -> None:
    check(name, keras_results)


@pytest.fixture(scope="module")
def by_runtime(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[np.ndarray]]:
    """What ONNX Runtime makes of the cases where ONNX's evaluator departs from it."""
    models = {name: (case.model(), case.fed()) for name, case in AS_RUNTIME.items()}
    return runtime_answers(tmp_path_factory.mktemp("runtime"), models)


@pytest.mark.parametrize("name", list(AS_RUNTIME))
def test_where_the_evaluator_departs_the_answers_are_onnx_runtimes(
    name: str, keras_results: Results, by_runtime: dict[str, list[np.ndarray]]
) -> None:
    got = keras_results[name]
    assert not isinstance(got, str), got
    np.testing.assert_allclose(got[0], by_runtime[name][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", JAX)
def test_an_operator_gives_the_same_on_another_engine(name: str, jax_results: Results) -> None:
    check(name, jax_results)


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_keras_has_not_is_refused_by_name(name: str, keras_results: Results) -> None:
    assert REFUSED[name][1] in str(keras_results[name])


@pytest.fixture(scope="module")
def lite_results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Some small models as TensorFlow Lite."""
    models = {name: CASES[name] for name in LITE}
    return converted(tmp_path_factory.mktemp("lite"), "tensorflow-2.21", "onnx>tflite", models)


@pytest.mark.parametrize("name", [name for name in LITE if name != "unary_erf"])
def test_tensorflow_lite_gives_what_onnx_gives(name: str, lite_results: Results) -> None:
    check(name, lite_results)


def test_what_tensorflow_lite_has_not_is_refused_by_name(lite_results: Results) -> None:
    assert "TensorFlow Lite has no operator for TensorFlow's Erf" in str(lite_results["unary_erf"])
