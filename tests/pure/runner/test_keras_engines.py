"""The engines that Keras computes with: which there are, and how each is held to a request."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.support import keras_engine, predict_engines


def test_variables_that_were_set_for_keras_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "before")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with keras_engine.variables_put_back():
        keras_engine.prepare_environment(os.environ, "jax")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"
    assert os.environ["KERAS_BACKEND"] == "before"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("keras", "modules", "expected"),
    [
        ("3.15.1", {"tensorflow", "torch"}, ("tensorflow", "torch")),
        ("3.15.1", {"jax", "torch"}, ("jax", "torch")),
        ("2.15.0", {"tensorflow", "torch"}, ("tensorflow",)),
        ("2.15.0", {"torch"}, ()),
    ],
)
def test_predictions_and_conversions_run_on_the_same_engines_and_keras_2_on_tensorflow_alone(
    monkeypatch: pytest.MonkeyPatch, keras: str, modules: set[str], expected: tuple[str, ...]
) -> None:
    find_spec = SimpleNamespace(find_spec=lambda name: name if name in modules else None)
    monkeypatch.setattr(keras_engine, "util", find_spec)
    for module in (keras_engine, predict_engines):
        monkeypatch.setattr(module, "installed_version", lambda _: keras)
    assert keras_engine.installed() == expected
    if expected:
        assert predict_engines.check(expected[-1]) == expected
        assert keras_engine.choose(None, keras_engine.installed()) == expected[0]
    with pytest.raises(RunnerError, match=r"engine 'numpy'|no TensorFlow, JAX or PyTorch"):
        predict_engines.check("numpy")


def on(device: str, threads: int = 2, precision: str = "f32") -> LoadRequest:
    return LoadRequest("m.keras", "keras", {}, precision, device, threads, 1, (2,))


@pytest.fixture
def fake_jax(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A JAX that computes on the platforms given."""
    for name in ("JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION"):
        monkeypatch.setenv(name, "before")
    runtime = predict_engines.jax_runtime
    monkeypatch.setattr(runtime, "prepare", lambda _, threads, *more: {"cores": threads})  # noqa: ARG005
    monkeypatch.setattr(runtime, "proven_threads", lambda threads, _: threads)

    def install(*platforms: str) -> None:
        jax = ModuleType("jax")
        jax.__dict__["devices"] = lambda: [SimpleNamespace(platform=p) for p in platforms]
        monkeypatch.setitem(sys.modules, "jax", jax)

    return install


def test_jax_is_held_to_threads_and_whole_float32(fake_jax: Callable[..., None]) -> None:
    fake_jax("cpu")
    engine = predict_engines.start("jax", on("cpu"))
    assert engine.ran == {"cores": 2, "pool_threads": 2, "platform": "cpu"}
    assert os.environ["JAX_DEFAULT_MATMUL_PRECISION"] == "highest"
    assert os.environ["JAX_ENABLE_X64"] == "0"
    assert engine.proof == {}


def test_jax_on_its_own_precision_is_left_alone(fake_jax: Callable[..., None]) -> None:
    fake_jax("cpu")
    predict_engines.start("jax", on("cpu", precision="default"))
    assert os.environ["JAX_DEFAULT_MATMUL_PRECISION"] == "before"


def test_jax_on_the_gpu_is_proven_by_where_its_variables_are(
    fake_jax: Callable[..., None], one_gpu: Any
) -> None:
    fake_jax("gpu", "cpu")
    engine = predict_engines.start("jax", on("cuda"))
    value = SimpleNamespace(devices=lambda: {"cuda:0"})
    model = SimpleNamespace(variables=[SimpleNamespace(value=value)] * 3)
    assert predict_engines.require_gpu(engine, model) == {"device": "cuda:0", "variables": 3}
    assert engine.proof["name"] == "NVIDIA Test"


def test_a_jax_that_computes_on_the_cpu_is_refused_for_the_gpu(
    fake_jax: Callable[..., None], one_gpu: Any
) -> None:
    fake_jax("cpu")
    with pytest.raises(RunnerError, match="JAX computes on cpu here") as caught:
        predict_engines.start("jax", on("cuda"))
    assert caught.value.kind == "unsupported"
