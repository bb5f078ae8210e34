"""The backend `null`: no framework, a seeded linear layer in NumPy, or nothing at all.

It is for tests and to measure what the harness itself adds to a query: an environment with only
NumPy, answers that are known in advance, and every way to fail. Never a stand-in for a model.

Its format is `json`, one object:

* `classes`: values of the one output `scores`, float32 [N, classes]; default 10;
* `seed`: of the weights; default 0;
* `work`: linear | nothing; default linear. With `nothing` a query does nothing: it returns the same
  outputs each time, which were made before, whatever it is fed. What such a query takes is what the
  harness adds to every query, and it is timed for that;
* `latency_ns`: time that a call lasts at least (it spins, as inference does); default 0;
* `input`: {`dtype`, `shape`, `scale`, `zero_point`} as in the event `loaded`; default float32 of
  any shape. `shape` includes the batch, null where dynamic;
* `outputs`: [{`name`, `dtype`, `shape` of one item, `scale`, `zero_point`}] instead of `scores`;
* `fault`: null | crash (SIGSEGV) | hang | nan | exit (status 0, no answer) | memory (MemoryError)
  | error (an exception) | shape (an output without the batch) | load (refuses the file);
* `compiling`: {`fault`: null | crash | hang, `mib`: memory that it takes and gives back, default 0,
  `keeps`: whether it leaves a file in the cell's cache; default false};
* `fault_after`: runs that still work before the fault; default 0, the inference at load is one.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from runner import fingerprints
from runner.backends.base import BackendProbe, Description, LoadRequest, Offer, TensorSpec
from runner.errors import RunnerError
from runner.fingerprints import count

_OFFER = Offer(backend="null", formats=("json",), settings={"offset": (0, 1)})

_KEYS = (
    "classes",
    "seed",
    "work",
    "latency_ns",
    "input",
    "outputs",
    "fault",
    "fault_after",
    "compiling",
)
_FAULTS = (None, "crash", "hang", "nan", "exit", "memory", "error", "shape", "load")
_WORK = ("linear", "nothing")
_FEATURES = 64


class Null:
    """`_FEATURES` values of the input, times seeded weights."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _OFFER.accept(request)
        self._request = request
        self._runs = 0

    def load(self) -> None:
        """Read and check the JSON file."""
        try:
            with open(self._request.path, encoding="utf-8") as file:
                model = json.load(file)
        except (OSError, ValueError) as error:
            raise RunnerError("model", f"{self._request.path}: {error}") from error
        unknown = [key for key in model if key not in _KEYS] if isinstance(model, dict) else ["?"]
        if unknown or model.get("fault") not in _FAULTS or model.get("fault") == "load":
            message = f"{self._request.path}: not a null model (keys: {', '.join(_KEYS)})"
            raise RunnerError("model", message)
        _check_work(self._request.path, model)
        self._model: Dict[str, Any] = model
        declared = model.get("outputs") or [
            {"name": "scores", "dtype": "float32", "shape": [model.get("classes", 10)]}
        ]
        self._outputs = tuple(_spec(output, (None,)) for output in declared)
        self._items = tuple(tuple(output["shape"]) for output in declared)
        given = dict({"name": "input", "dtype": "float32", "shape": None}, **model.get("input", {}))
        self._input = _spec(given, ())

    def compile(self) -> None:
        """Draw the weights: float64 [_FEATURES, values] for each output."""
        self._pretend_to_compile(**self._model.get("compiling", {}))
        generator = np.random.Generator(np.random.PCG64(self._model.get("seed", 0)))
        self._weights = [
            generator.standard_normal((_FEATURES, int(np.prod(item)))) for item in self._items
        ]
        if self._model.get("work") == "nothing":
            self.run = self._doing_nothing()  # type: ignore[method-assign, assignment]

    def describe(self) -> Description:
        """What the JSON file declares."""
        ran = _OFFER.ran(self._request, self._settings, "numpy")
        return Description(input=self._input, outputs=self._outputs, ran=ran)

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """The outputs, or the fault."""
        ends = time.perf_counter_ns() + int(self._model.get("latency_ns", 0))
        fault = (
            self._model.get("fault") if self._runs >= self._model.get("fault_after", 0) else None
        )
        self._runs += 1
        if fault is not None:
            _strike(fault)
        outputs = self._computed(batch, fault)
        while time.perf_counter_ns() < ends:
            pass
        return outputs

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:  # noqa: ARG002
        """NumPy runs on the CPU."""
        return {}

    def fingerprint(self, folder: str) -> Dict[str, Any]:  # noqa: ARG002
        """Of its weights and its offset: an offset is executed only where it is not zero."""
        offset = self._settings["offset"]
        steps = ["linear"] + (["add"] if offset else [])
        program = [f"{step} {offset}" if step == "add" else step for step in steps]
        found = fingerprints.of_lines("null", program, self._weights, operators=count(steps))
        return found.as_document()

    def close(self) -> None:
        """Nothing is held."""

    def _pretend_to_compile(
        self, fault: Optional[str] = None, mib: int = 0, keeps: bool = False
    ) -> None:
        """Do what compilers do beside compiling: take memory, keep files, crash, never end."""
        taken = np.ones((mib, 1 << 20), np.uint8)
        del taken
        if fault is not None:
            _strike(fault)
        if keeps and self._request.cache is not None:
            with open(os.path.join(self._request.cache, "kept"), "w", encoding="ascii") as file:
                file.write("compiled")

    def _doing_nothing(self) -> Callable[[np.ndarray], List[np.ndarray]]:
        """What is called instead of `run`: it gives the outputs of a batch of ones."""
        made = self._computed(np.ones((self._request.batch, _FEATURES)), None)
        return lambda batch: made  # noqa: ARG005

    def _computed(self, batch: np.ndarray, fault: Optional[str]) -> List[np.ndarray]:
        features = _features(batch)
        outputs = []
        for spec, item, weights in zip(self._outputs, self._items, self._weights):
            values = features @ weights + self._settings["offset"]
            if fault == "nan":
                values[0] = np.nan
            if np.dtype(spec.dtype).kind in "iu":
                info = np.iinfo(spec.dtype)
                stored = values / (spec.scale or 1.0) + (spec.zero_point or 0)
                values = np.clip(np.rint(np.nan_to_num(stored)), info.min, info.max)
            values = values.astype(spec.dtype).reshape((len(batch),) + item)
            outputs.append(values[0] if fault == "shape" else values)
        return outputs


def create(request: LoadRequest) -> Null:
    """A null model to be loaded."""
    return Null(request)


def probe() -> BackendProbe:
    """It always works: NumPy is there, or the runner itself would not be."""
    return BackendProbe(
        ok=True,
        version=np.__version__,
        formats=_OFFER.formats,
        offer=_OFFER,
        providers=("cpu",),
        started=("cpu",),
    )


def _features(batch: np.ndarray) -> np.ndarray:
    """Float64 [B, _FEATURES]: values at even steps through each flattened item, zeros if fewer.

    Not all values, so that a call costs microseconds and what is measured is the harness.
    """
    flat = batch.reshape(len(batch), -1)
    taken = flat[:, :: max(1, flat.shape[1] // _FEATURES)][:, :_FEATURES]
    features = np.zeros((len(batch), _FEATURES))
    features[:, : taken.shape[1]] = taken
    return features


def _check_work(path: str, model: Dict[str, Any]) -> None:
    """Refuse a kind of work that there is not, and one that does nothing and something else too."""
    work = model.get("work", _WORK[0])
    if work not in _WORK:
        message = f"{path}: `work` is one of {', '.join(_WORK)}, not {work!r}"
        raise RunnerError("model", message)
    beside = [key for key in ("latency_ns", "fault", "fault_after") if model.get(key)]
    if work == "nothing" and beside:
        message = f"{path}: a model whose work is nothing has no {', '.join(beside)}; leave it out"
        raise RunnerError("model", message)


def _spec(given: Dict[str, Any], lead: Tuple[Any, ...]) -> TensorSpec:
    shape = given["shape"]
    return TensorSpec(
        name=given["name"],
        dtype=given["dtype"],
        shape=None if shape is None else lead + tuple(shape),
        scale=given.get("scale"),
        zero_point=given.get("zero_point"),
    )


def _strike(fault: str) -> None:
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "exit":
        os._exit(0)
    if fault == "memory":
        raise MemoryError
    if fault == "error":
        raise RuntimeError("the null model was asked to fail")
    while fault == "hang":
        time.sleep(3600)
