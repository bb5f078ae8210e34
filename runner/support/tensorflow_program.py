"""The life of a model in TensorFlow, whichever way it is executed.

A backend says how a function of a tensor becomes what is called (`Way`); the rest is the same.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    installed_version,
    stages_between,
    start_each,
)
from runner.errors import RunnerError
from runner.fingerprints import Fingerprint
from runner.inputs import check_fit
from runner.support import (
    ceiling,
    keras_engine,
    keras_saved,
    tensorflow_fingerprint,
    tensorflow_operators,
    tensorflow_source,
    tensorflow_stack,
)
from runner.support.tensorflow_operators import Operator
from runner.support.tensorflow_source import Source, Step
from runner.support.tensorflow_stack import Stack

Call = Callable[[Any], List[Any]]


@dataclass(frozen=True)
class Way:
    """A way to execute a function.

    `make(tf, step, spec, settings)` gives what is called. `first(call, fed)` is its first call,
    where that optimises or compiles, and gives the operators where they are told then.
    `watched(call, fed)` gives the operators where they can be asked for later. `shown(call, fed,
    folder)` writes what TensorFlow makes of a function that was not called yet, and `proof(call, fed,
    folder, about)` gives the fingerprint of that. `without(backend, settings)` gives grappler's
    optimizers that are left out. `options(backend, settings)` gives XLA's flags: it is there where
    XLA compiles.
    """

    offer: Offer
    make: Callable[[Any, Step, Any, Mapping[str, Any]], Call]
    first: Optional[Callable[[Call, Any], List[Operator]]] = None
    watched: Optional[Callable[[Call, Any], List[Operator]]] = None
    shown: Optional[Callable[[Call, Any, str], None]] = None
    proof: Optional[Callable[[Call, Any, str, Sequence[str]], Fingerprint]] = None
    without: Optional[Callable[[str, Mapping[str, Any]], Tuple[str, ...]]] = None
    options: Optional[Callable[[str, Mapping[str, Any]], Dict[str, Any]]] = None


class TensorFlowProgram:
    """One model, executed in one way."""

    def __init__(self, request: LoadRequest, way: Way) -> None:
        self._settings = way.offer.accept(request)
        self._request = request
        self._way = way
        self._name = way.offer.backend
        self._operators: List[Operator] = []
        self._source: Optional[Source] = None
        self._call: Optional[Call] = None
        without = way.without(self._name, self._settings) if way.without is not None else ()
        options = None if way.options is None else way.options(self._name, self._settings)
        self._dump: Optional[str] = None
        if options is not None and request.fingerprint:
            self._dump = tempfile.mkdtemp(prefix="xla-")
            options.update(tensorflow_fingerprint.dump_options(self._dump))
        try:
            self._stack = self._started(request, without, options)
        except BaseException:
            self._remove_dump()
            raise

    def _started(
        self, request: LoadRequest, without: Sequence[str], options: Optional[Dict[str, Any]]
    ) -> Stack:
        """TensorFlow, imported and set up for the cell."""
        # Importing takes seconds, which are no part of reading a model.
        os.environ.update(keras_engine.variables("tensorflow"))
        with keras_saved.warnings_are_no_errors():
            stack: Stack = tensorflow_stack.start(
                self._name,
                request,
                onednn=self._settings.get("onednn", True),
                grappler=self._settings.get("grappler", True),
                compiles=options is not None,
                without=without,
                xla=options or {},
            )
            if request.format == "keras":
                import_module("keras")
        return stack

    def _remove_dump(self) -> None:
        if self._dump is not None:
            shutil.rmtree(self._dump, ignore_errors=True)

    def load(self) -> None:
        """Read the model."""
        with keras_saved.warnings_are_no_errors(), self._stack.tf.device(self._stack.device):
            self._source = tensorflow_source.read(self._name, self._stack.tf, self._request)

    def compile(self) -> None:
        """Trace, optimise, compile: for the batch of the request, by a first call on zeros."""
        source, request = self._loaded(), self._request
        check_fit(source.input, request.item_shape, request.batch)
        with keras_saved.warnings_are_no_errors(), self._stack.tf.device(self._stack.device):
            self._call = self._made()
            if self._way.first is None:
                return
            self._operators = self._way.first(self._call, self._zeros())
        self._check_precision()

    def describe(self) -> Description:
        """The input and outputs that the model declares."""
        source = self._loaded()
        ran = self._way.offer.ran(self._request, self._settings, tensorflow_stack.package())
        ran["runs_in_compile"] = 0 if self._way.first is None else 1
        ran["versions"].update(source.ran.get("versions", {}))
        ran.update({name: value for name, value in source.ran.items() if name != "versions"})
        ran.update(self._stack.ran)
        if self._operators:
            ran["operators"] = tensorflow_operators.count(self._operators)
        return Description(input=source.input, outputs=source.outputs, ran=ran)

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call; NumPy arrays of one's own, which waits for the GPU."""
        call: Any = self._call
        return [tensor.numpy() for tensor in call(self._stack.tf.constant(batch))]

    def run_in_stages(self, batch: np.ndarray) -> Tuple[List[np.ndarray], Dict[str, int]]:
        """One call, with the GPU waited for after each part; TensorFlow has no events of its own.

        Raises:
            RunnerError: kind `unsupported`, where this TensorFlow can't wait for a device.
        """
        call: Any = self._call
        tf = self._stack.tf
        wait = getattr(getattr(tf.test, "experimental", None), "sync_devices", None)
        if wait is None:
            message = f"TensorFlow {tf.__version__} has no way to wait for a GPU before a copy"
            raise RunnerError("unsupported", message)
        clock = time.perf_counter_ns
        started = clock()
        with tf.device(self._stack.device):
            fed = tf.constant(batch)
        wait()
        copied = clock()
        tensors = call(fed)
        wait()
        computed = clock()
        outputs = [tensor.numpy() for tensor in tensors]
        ended = clock()
        return outputs, stages_between(started, copied, computed, ended)

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """The operators, where they were not told yet; on the GPU, that all of them ran there."""
        call: Any = self._call
        tf = self._stack.tf
        found: Dict[str, Any] = {}
        if self._way.watched is not None:
            self._operators = self._way.watched(call, tf.constant(batch))
            self._check_precision()
            found["operators"] = tensorflow_operators.count(self._operators)
        if self._request.device == "cuda":
            placed = tensorflow_operators.require_gpu(self._name, self._operators)
            devices = [str(tensor.device) for tensor in call(tf.constant(batch))]
            check_outputs_on_gpu(self._name, devices)
            found["device_proof"] = dict(self._stack.proof, device=devices[0], **placed)
        untold = tensorflow_stack.untold(self._request)
        found.update(
            ceiling.told(self._name, self._request, lambda: self.run(batch), unproved=untold)
        )
        return found

    def fingerprint(self, folder: str) -> Dict[str, Any]:
        """What TensorFlow makes of the function, by making it once more: it tells only then.

        Raises:
            RunnerError: kind `unsupported`, where it does not show what it makes.
        """
        if self._way.proof is None:
            message = f"{self._name} does not show what it executes"
            raise RunnerError("unsupported", message)
        about = tensorflow_stack.choosing_kernels(self._stack)
        with keras_saved.warnings_are_no_errors(), self._stack.tf.device(self._stack.device):
            call = self._made(tensorflow_fingerprint.renamed(self._loaded().step))
            made = self._way.proof(call, self._zeros(), self._dump or folder, about)
        return made.as_document()

    def keep_ir(self, folder: str) -> None:
        """What TensorFlow makes of the function, by making it once more: it tells only then."""
        if self._way.shown is None:
            return
        with keras_saved.warnings_are_no_errors(), self._stack.tf.device(self._stack.device):
            self._way.shown(self._made(), self._zeros(), folder)

    def close(self) -> None:
        """Drop the function and what owns its variables."""
        self._call = None
        self._source = None
        self._remove_dump()

    def _made(self, step: Optional[Step] = None) -> Call:
        """The function, for the batch of the request; of another step than the model's own."""
        source, tf = self._loaded(), self._stack.tf
        dtype = tf.dtypes.as_dtype(source.input.dtype)
        spec = tf.TensorSpec(self._fed_shape(), dtype, name="fed")
        return self._way.make(tf, step or source.step, spec, self._settings)

    def _zeros(self) -> Any:
        return self._stack.tf.constant(
            np.zeros(self._fed_shape(), np.dtype(self._loaded().input.dtype))
        )

    def _fed_shape(self) -> Tuple[int, ...]:
        return (self._request.batch, *self._request.item_shape)

    def _loaded(self) -> Source:
        if self._source is None:
            raise RunnerError("backend", f"{self._name}: compile or describe before load")
        return self._source

    def _check_precision(self) -> None:
        if self._request.precision == "f32":
            tensorflow_operators.require_float32(self._name, self._operators)


def check_outputs_on_gpu(backend: str, devices: List[str]) -> None:
    """Refuse outputs that came from elsewhere.

    Raises:
        RunnerError: kind `unsupported`.
    """
    elsewhere = [device for device in devices if "GPU" not in device]
    if elsewhere:
        raise RunnerError(
            "unsupported",
            f"{backend} was asked for the GPU and {len(elsewhere)} of its outputs came from "
            f"{elsewhere[0] or 'an unknown place'}: its times would not be the GPU's; ask for the "
            "device cpu",
        )


def probe(way: Way) -> BackendProbe:
    """Whether TensorFlow computes in this way, on the CPU and on the GPU where it is built for one."""
    with keras_saved.warnings_are_no_errors(), keras_engine.variables_put_back():
        os.environ.update(keras_engine.variables("tensorflow"))
        tf = import_module("tensorflow")
    providers = ["cpu", *(["cuda"] if tf.test.is_built_with_cuda() else [])]
    settings = {name: values[0] for name, values in way.offer.settings.items()}

    def start(provider: str) -> Optional[str]:
        if provider == "cuda" and not tf.config.list_physical_devices("GPU"):
            return "TensorFlow finds no GPU that it can use"
        with tf.device(tensorflow_stack.GPU if provider == "cuda" else "/CPU:0"):
            identity = tf.constant(np.eye(4, dtype=np.float32))
            call = way.make(
                tf,
                lambda fed: [tf.linalg.matmul(fed, identity)],
                tf.TensorSpec((1, 4), tf.float32),
                settings,
            )
            row = np.array([[1.0, -2.0, 3.0, 0.5]], np.float32)
            (output,) = call(tf.constant(row))
        if not (output.numpy() == row).all():
            return f"a product with the identity gave {output.numpy().tolist()}"
        return None

    started, refused = start_each(providers, start)
    ok = "cpu" in started
    return BackendProbe(
        ok=ok,
        version=installed_version(tensorflow_stack.package()),
        detail="" if ok else refused["cpu"],
        formats=way.offer.formats,
        offer=way.offer,
        providers=tuple(providers),
        started=started,
        refused=refused,
        builds={"tensorflow": tensorflow_stack.builds()},
    )
