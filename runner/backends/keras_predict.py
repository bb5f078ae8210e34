"""The backend `keras.predict`: a Keras model asked by `model.predict`, as most people do.

On the CPU or one NVIDIA GPU. Settings: `engine` = tensorflow | jax | torch (what Keras computes
with; the default is the first that is installed), `jit_compile` = auto | true | false (auto: what
Keras chooses for the engine; true is refused for torch, which the backend torch.compile compiles),
`run_eagerly` = false | true.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from importlib import import_module
from typing import Any, Dict, List, Optional

import numpy as np

from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    installed_version,
    start_each,
    unsupported,
)
from runner.errors import RunnerError
from runner.inputs import check_fit
from runner.instruction_sets import HONOURED, OWN
from runner.support import keras_engine, keras_saved, predict_engines, tensorflow_operators
from runner.support.tensorflow_operators import Operator

STACK = "keras"

_NAME = "keras.predict"
_PROBE_SECONDS = 120
_PROBE = (
    "import numpy, keras\n"
    "layer = keras.layers.Dense(4, use_bias=False, kernel_initializer='identity')\n"
    "row = numpy.array([[1.0, -2.0, 3.0, 0.5]], 'float32')\n"
    "model = keras.Sequential([keras.Input((4,)), layer])\n"
    "assert (model.predict(row, verbose=0) == row).all()\n"
)


class KerasPredict:
    """One model, predicted a batch at a time."""

    def __init__(self, request: LoadRequest) -> None:
        offer = _offer(predict_engines.check(request.settings.get("engine")))
        self._offer = offer
        self._settings = offer.accept(request)
        if self._settings["run_eagerly"] and self._settings["jit_compile"] is True:
            why = "eager operations are not compiled"
            raise unsupported(_NAME, "jit_compile with run_eagerly", True, ("auto", False), why=why)
        self._request = request
        engine = str(self._settings["engine"])
        if engine == "torch" and self._settings["jit_compile"] is True:
            raise _compiled_by_torch(True, "ask for the backend torch.compile")
        os.environ.update(keras_engine.variables(engine))
        # Keras warns of its own calls while it predicts (with PyTorch, each time): these are no
        # errors in a process that is this cell's alone.
        warnings.simplefilter("default")
        # Importing takes seconds, which are no part of reading a model.
        self._engine = predict_engines.start(engine, request)
        import_module("keras")
        self._operators: List[Operator] = []
        self._model: Optional[Any] = None

    def load(self) -> None:
        """Read the model."""
        with self._engine.place():
            self._model = keras_saved.read(_NAME, self._request.path, self._request.precision)
        self._input, self._outputs = keras_saved.described(_NAME, self._model)

    def compile(self) -> None:
        """Let Keras make its function, by predicting zeros."""
        model, request = self._loaded(), self._request
        check_fit(self._input, request.item_shape, request.batch)
        self._choose(model)
        zeros = self._zeros()
        records = self._engine.records
        if records is not None and not self._settings["run_eagerly"]:
            self._operators = records(lambda: self.run(zeros))
        else:
            self.run(zeros)
        self._check_precision()

    def describe(self) -> Description:
        """The input and outputs that the model declares."""
        model = self._loaded()
        ran = self._offer.ran(self._request, self._settings, "keras")
        ran["runs_in_compile"] = 1
        ran["versions"].update(self._engine.versions)
        ran["engine"] = self._engine.name
        ran["jit_compile"] = bool(model.jit_compile)
        ran["run_eagerly"] = bool(model.run_eagerly)
        ran.update(keras_saved.about(model, self._request.path))
        ran.update(self._engine.ran)
        if self._operators:
            ran["operators"] = tensorflow_operators.count(self._operators)
        return Description(input=self._input, outputs=self._outputs, ran=ran)

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call of `predict`, which gives NumPy arrays of one's own."""
        model: Any = self._model
        return keras_saved.flatten(model.predict(batch, batch_size=len(batch), verbose=0))

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """The operators of an eager call; on the GPU, that variables and operators are there."""
        found: Dict[str, Any] = {}
        watches = self._engine.watches
        if watches is not None and self._settings["run_eagerly"]:
            self._operators = watches(lambda: self.run(batch))
            self._check_precision()
            found["operators"] = tensorflow_operators.count(self._operators)
        if self._engine.observes is not None:
            found["operators"] = self._engine.observes(lambda: self.run(batch))
        if self._request.device == "cuda":
            proof = predict_engines.require_gpu(self._engine, self._loaded())
            if watches is not None:
                proof.update(tensorflow_operators.require_gpu(_NAME, self._operators))
            found["device_proof"] = dict(self._engine.proof, **proof)
        operators = dict(found.get("operators", {}))
        found.update(self._engine.kept(lambda: self.run(batch), operators))
        return found

    def fingerprint(self, folder: str) -> Dict[str, Any]:
        """What a call executes, as the engine shows it.

        Raises:
            RunnerError: kind `unsupported`, where the engine does not.
        """
        proves = self._engine.proves
        if proves is None:
            raise RunnerError(
                "unsupported",
                f"{_NAME}: Keras does not show what {self._engine.name} makes of its functions",
            )
        return proves(self._loaded(), lambda: self.run(self._zeros()), folder).as_document()

    def close(self) -> None:
        """Drop the model."""
        self._model = None

    def _zeros(self) -> np.ndarray:
        shape = (self._request.batch, *self._request.item_shape)
        return np.zeros(shape, np.dtype(self._input.dtype))

    def _choose(self, model: Any) -> None:
        """Have the model compiled, or not, as the settings say.

        Raises:
            RunnerError: kind `unsupported`, where Keras would go on without being compiled, or
                compile above the ceiling on instruction sets.
        """
        self._set_compiled(model)
        if bool(model.jit_compile) and not self._engine.compiles:
            why = "the XLA of this TensorFlow can't be told; ask for jit_compile: false, or a newer one"
            asked = self._request.instruction_set
            raise unsupported(_NAME, "instruction set with jit_compile", asked, (OWN,), why=why)

    def _set_compiled(self, model: Any) -> None:
        model.run_eagerly = self._settings["run_eagerly"]
        wanted = self._settings["jit_compile"]
        if self._settings["run_eagerly"]:
            wanted = False
        if wanted == "auto":
            # Some versions of Keras 3 compile for every engine.
            if self._engine.name == "torch" and bool(model.jit_compile):
                raise _compiled_by_torch("auto", "ask for jit_compile: false")
            return
        model.jit_compile = wanted
        if bool(model.jit_compile) is not wanted:
            why = "one of the model's layers can't be compiled"
            raise unsupported(_NAME, "value of jit_compile", wanted, (False,), why=why)

    def _loaded(self) -> Any:
        if self._model is None:
            raise RunnerError("backend", f"{_NAME}: compile or describe before load")
        return self._model

    def _check_precision(self) -> None:
        if self._request.precision == "f32":
            tensorflow_operators.require_float32(_NAME, self._operators)


def _compiled_by_torch(asked: Any, instead: str) -> RunnerError:
    why = (
        "Keras would call torch.compile, which goes on in silence where it can't compile: "
        + instead
    )
    return unsupported(_NAME, "jit_compile with the engine torch", asked, (False,), why=why)


def create(request: LoadRequest) -> KerasPredict:
    """A model to be loaded."""
    return KerasPredict(request)


def probe() -> BackendProbe:
    """Whether Keras predicts with each engine that is installed.

    Keras takes one engine for good, so each is tried in a process of its own.
    """
    engines = predict_engines.check(None)
    started, refused = start_each(engines, _start)
    return BackendProbe(
        ok=bool(started),
        version=installed_version("keras"),
        detail="" if started else next(iter(refused.values())),
        formats=("keras",),
        offer=_offer(engines),
        providers=engines,
        started=started,
        refused=refused,
        builds={"keras": {"engines": ", ".join(started)}} if started else {},
    )


def _start(engine: str) -> Optional[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env={**os.environ, **keras_engine.variables(engine)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PROBE_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return None
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1] if said else f"the process ended with {done.returncode}"


def _offer(engines: Any) -> Offer:
    return Offer(
        backend=_NAME,
        formats=("keras",),
        devices=("cpu", "cuda"),
        instruction_sets=HONOURED[_NAME],
        settings={
            "engine": tuple(engines),
            "jit_compile": ("auto", True, False),
            "run_eagerly": (False, True),
        },
    )
