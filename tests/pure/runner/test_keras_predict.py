"""`keras.predict` over a made-up Keras: which engine computes, and what is refused."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runner.backends import keras_predict
from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.support import keras_engine, predict_engines
from runner.support.predict_engines import Engine
from runner.support.tensorflow_operators import Operator

BATCH = np.array([[1.0, 2.0]], np.float32)


class Model:
    """A model that doubles, and remembers how it was asked."""

    inputs = (SimpleNamespace(name="x", dtype="float32", shape=(None, 2)),)
    outputs = (SimpleNamespace(name="y", dtype="float32", shape=(None, 2)),)
    layers = ()

    def __init__(self, *, compiles: bool = True, device: str = "cuda:0") -> None:
        self._compiles = compiles
        self._jit = False
        self.run_eagerly = False
        self.asked: list[tuple[int, int, Any]] = []
        self.variables = [SimpleNamespace(value=SimpleNamespace(device=device))]

    @property
    def jit_compile(self) -> bool:
        return self._jit

    @jit_compile.setter
    def jit_compile(self, value: bool) -> None:
        self._jit = value and self._compiles

    def predict(self, batch: np.ndarray, batch_size: int, verbose: Any) -> dict[str, np.ndarray]:
        self.asked.append((len(batch), batch_size, verbose))
        return {"b": batch * 2, "a": batch + 1}


@pytest.fixture
def load(
    with_framework: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Load a model: `load(model, engine's fields, installed engines, **request)`."""
    for name in ("KERAS_BACKEND", "KERAS_HOME"):
        monkeypatch.setenv(name, "before")
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')

    def begin(
        model: Model,
        engine: dict[str, Any] | None = None,
        here: tuple[str, ...] = ("tensorflow", "torch"),
        **changes: Any,
    ) -> Any:
        def start(name: str, request: LoadRequest) -> Engine:
            made = {"versions": {name: "1"}, "ran": {"threads": request.threads}, "proof": {}}
            return Engine(name=name, **{**made, **(engine or {})})

        monkeypatch.setattr(predict_engines, "start", start)
        monkeypatch.setattr(keras_engine, "installed", lambda: here)
        monkeypatch.setattr(predict_engines, "installed_version", lambda _: "3.15.1")
        keras = ModuleType("keras")
        keras.__dict__["models"] = SimpleNamespace(load_model=lambda *_, **__: model)
        module = with_framework("runner.backends.keras_predict", keras=keras)
        request = {
            "path": str(tmp_path / "m.keras"),
            "format": "keras",
            "settings": {},
            "precision": "f32",
            "device": "cpu",
            "threads": 1,
            "batch": 1,
            "item_shape": (2,),
            **changes,
        }
        backend = module.create(LoadRequest(**request))
        backend.load()
        backend.compile()
        return backend

    return begin


def test_the_model_is_asked_for_a_batch_and_its_outputs_come_in_the_order_of_their_names(
    load: Callable[..., Any],
) -> None:
    model = Model()
    backend = load(model)
    first, second = backend.run(BATCH)
    np.testing.assert_array_equal(first, BATCH + 1)
    np.testing.assert_array_equal(second, BATCH * 2)
    assert model.asked == [(1, 1, 0), (1, 1, 0)], "zeros while compiling, then the batch"
    assert backend.prove(BATCH) == {}


def test_the_first_engine_that_is_installed_is_taken_and_said(load: Callable[..., Any]) -> None:
    ran = load(Model(), here=("jax", "torch")).describe().ran
    assert ran["engine"] == "jax"
    assert ran["settings"]["engine"] == "jax"
    assert os.environ["KERAS_BACKEND"] == "jax"
    ran = load(Model(), here=("jax", "torch"), settings={"engine": "torch"}).describe().ran
    assert ran["engine"] == "torch"
    assert os.environ["KERAS_BACKEND"] == "torch"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": {"engine": "jax"}}, r"engine 'jax' \(it supports: tensorflow, torch\)"),
        ({"here": ()}, "no TensorFlow, JAX or PyTorch"),
        ({"settings": {"run_eagerly": True, "jit_compile": True}}, "are not compiled"),
        ({"format": "savedmodel"}, "format 'savedmodel'"),
        ({"item_shape": (3,)}, "'x'"),
    ],
)
def test_what_can_not_be_done_is_refused(
    load: Callable[..., Any], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        load(Model(), **changes)
    assert caught.value.kind == "unsupported"


def test_compiling_is_asked_for_and_a_model_that_goes_on_without_is_refused(
    load: Callable[..., Any],
) -> None:
    ran = load(Model(), settings={"jit_compile": True}).describe().ran
    assert ran["jit_compile"] is True
    with pytest.raises(RunnerError, match="value of jit_compile True") as caught:
        load(Model(compiles=False), settings={"jit_compile": True})
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("compiles_by_itself", [False, True])
def test_torch_compile_inside_keras_is_refused_and_the_backend_that_checks_it_is_named(
    load: Callable[..., Any], compiles_by_itself: bool
) -> None:
    model = Model()
    model.jit_compile = compiles_by_itself
    asked = "auto" if compiles_by_itself else True
    with pytest.raises(RunnerError, match=f"engine torch {asked!r} .*torch.compile") as caught:
        load(model, settings={"engine": "torch", "jit_compile": asked})
    assert caught.value.kind == "unsupported"
    settings = {"engine": "torch", "jit_compile": False}
    assert load(model, settings=settings).describe().ran["jit_compile"] is False
    assert load(Model(), settings={"engine": "torch"}).describe().ran["jit_compile"] is False


def test_a_model_is_read_on_the_device_and_predicts_without_being_told_where(
    load: Callable[..., Any],
) -> None:
    """What feeds `predict` in TensorFlow can run on the CPU alone."""
    inside: list[str] = []
    seen: list[tuple[str, bool]] = []

    @contextmanager
    def place() -> Iterator[None]:
        inside.append("/GPU:0")
        yield
        inside.pop()

    class Placed(Model):
        def predict(self, batch: np.ndarray, batch_size: int, verbose: Any) -> Any:
            seen.append(("predict", bool(inside)))
            return super().predict(batch, batch_size, verbose)

        @property
        def layers(self) -> tuple[()]:  # type: ignore[override]
            seen.append(("read", bool(inside)))
            return ()

    backend = load(Placed(), {"place": place})
    assert ("read", True) in seen
    assert [where for what, where in seen if what == "predict"] == [False]
    assert backend.describe().ran["runs_in_compile"] == 1


def test_a_probe_tells_its_process_alone_which_engine_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def run(*_: Any, env: dict[str, str], **__: Any) -> Any:
        asked.append(env["KERAS_BACKEND"])
        return SimpleNamespace(returncode=0)

    monkeypatch.setenv("KERAS_BACKEND", "before")
    monkeypatch.setattr(keras_engine, "installed", lambda: ("tensorflow", "torch"))
    monkeypatch.setattr(predict_engines, "installed_version", lambda _: "3.15.1")
    monkeypatch.setattr(subprocess, "run", run)
    assert keras_predict.probe().started == ("tensorflow", "torch")
    assert asked == ["tensorflow", "torch"]
    assert os.environ["KERAS_BACKEND"] == "before"


def test_an_engine_that_tells_its_operators_is_believed_and_checked(
    load: Callable[..., Any],
) -> None:
    def recorded(call: Callable[[], Any], dtype: int = 1) -> list[Operator]:
        call()
        return [Operator("Conv2D", "CPU", frozenset([dtype]))]

    ran = load(Model(), {"records": recorded}).describe().ran
    assert ran["operators"] == {"Conv2D (CPU)": 1}
    with pytest.raises(RunnerError, match="Conv2D in half"):
        load(Model(), {"records": lambda call: recorded(call, 19)})
    eager = load(Model(), {"watches": recorded}, settings={"run_eagerly": True})
    assert eager.prove(BATCH) == {"operators": {"Conv2D (CPU)": 1}}


def test_variables_on_the_gpu_are_the_proof_and_one_elsewhere_is_refused(
    load: Callable[..., Any],
) -> None:
    engine = {
        "proof": {"uuid": "GPU-1"},
        "devices": lambda model: [variable.value.device for variable in model.variables],
    }
    backend = load(Model(), engine, device="cuda")
    assert backend.prove(BATCH) == {
        "device_proof": {"uuid": "GPU-1", "device": "cuda:0", "variables": 1}
    }
    with pytest.raises(RunnerError, match="1 of the model's 1 variables are elsewhere") as caught:
        load(Model(device="cpu"), engine, device="cuda").prove(BATCH)
    assert caught.value.kind == "unsupported"


def test_the_module_needs_no_framework_to_be_imported() -> None:
    assert keras_predict.STACK == "keras"
