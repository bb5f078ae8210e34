"""Keras on the engine that this environment has, told before Keras is imported.

Keras 3 reads its engine at import. Keras 2 has TensorFlow only and no `keras.ops`; there
TensorFlow's own functions stand in, which Keras records as layers and saves like any other.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from importlib import import_module, util
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from runner.backends.base import installed_version
from runner.errors import RunnerError

ENGINES = ("tensorflow", "jax", "torch")
"""In the order in which one is chosen where the environment variable names none."""

_VARIABLES = ("KERAS_BACKEND", "KERAS_HOME", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS")


@dataclass(frozen=True)
class Keras:
    """The imported library: `module`, its `ops` by the names of `keras.ops`, and what it is."""

    module: Any
    ops: Any
    engine: str
    version: str

    @property
    def major(self) -> int:
        """2 or 3."""
        return int(self.version.split(".", 1)[0])

    @property
    def layers(self) -> Any:
        """`keras.layers`."""
        return self.module.layers

    def run(self, model: Any, fed: Any) -> List[Any]:
        """A model's outputs as NumPy arrays, without training."""
        result = model(fed, training=False)
        tensors = list(result) if isinstance(result, (list, tuple)) else [result]
        if self.major < 3:
            return [tensor.numpy() for tensor in tensors]
        return [self.module.ops.convert_to_numpy(tensor) for tensor in tensors]


def installed() -> Tuple[str, ...]:
    """The engines that import here and that this Keras can use, the preferred first."""
    # Before version 3 Keras was a part of TensorFlow.
    major = installed_version("keras").partition(".")[0]
    usable = ENGINES[:1] if major.isdigit() and int(major) < 3 else ENGINES
    return tuple(name for name in usable if util.find_spec(name) is not None)


def variables(engine: str) -> Dict[str, str]:
    """What Keras reads when it is imported.

    A folder that can't exist: the user's own settings are not read, and none are left behind.
    """
    return {"KERAS_BACKEND": engine, "KERAS_HOME": os.path.join(os.devnull, "keras")}


@contextlib.contextmanager
def variables_put_back() -> Iterator[None]:
    """Put the environment variables that are set here back: a probe is followed by others."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def choose(asked: Optional[str], here: Sequence[str]) -> str:
    """The engine to run on: the one asked for, else the first of those that are here.

    Raises:
        RunnerError: kind `unsupported`, if it is unknown, not installed, or there is none.
    """
    if asked and asked not in ENGINES:
        message = f"KERAS_BACKEND={asked} is not an engine this converter knows: {_choices()}"
        raise RunnerError("unsupported", message)
    if asked and asked not in here:
        message = (
            f"Keras can't run on {asked} here, as asked for; it can on: {', '.join(here) or 'none'}"
        )
        raise RunnerError("unsupported", message)
    if not here:
        message = (
            "Keras needs an engine and none is installed here that it can run on; add one of: "
            f"{_choices()} (before Keras 3: tensorflow)"
        )
        raise RunnerError("unsupported", message)
    return asked or here[0]


def load(threads: Optional[int] = 1, engine: Optional[str] = None) -> Keras:
    """Import Keras on the processor, and hold its engine to a number of threads.

    Environment variables stay set, for what reads them later: see `variables_put_back`.

    Args:
        threads: for TensorFlow and PyTorch; JAX has no such setting. None: as they are, for a
            process in which TensorFlow may have run something already.
        engine: the one there must be; None: what the environment asks for, or has.

    Raises:
        RunnerError: kind `unsupported`, as `choose`.
        ImportError: if Keras or its engine does not import.
    """
    asked = engine or os.environ.get("KERAS_BACKEND")
    engine = choose(asked, installed())
    prepare_environment(os.environ, engine)
    if threads is not None and engine == "tensorflow":
        _limit_tensorflow(threads)
    elif threads is not None and engine == "torch":
        import_module("torch").set_num_threads(threads)
    keras = import_module("keras")
    keras.backend.set_floatx("float32")
    version = str(keras.__version__)
    if int(version.split(".", 1)[0]) >= 3:
        return Keras(keras, keras.ops, engine, version)
    return Keras(keras, tensorflow_ops(import_module("tensorflow")), engine, version)


def prepare_environment(environment: Any, engine: str) -> None:
    """Set what the libraries read when they are imported: a conversion never touches a GPU."""
    environment["KERAS_BACKEND"] = engine
    environment["CUDA_VISIBLE_DEVICES"] = "-1"
    if engine == "jax":
        environment["JAX_PLATFORMS"] = "cpu"


def import_keras() -> Any:
    """Keras, as a probe tries it."""
    with variables_put_back():
        return load(None).module


def import_keras_on_tensorflow() -> Any:
    """Keras on TensorFlow, as a probe tries it."""
    with variables_put_back():
        return load(None, engine="tensorflow").module


def _limit_tensorflow(threads: int) -> None:
    threading = import_module("tensorflow").config.threading
    if threading.get_intra_op_parallelism_threads() != threads:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)


def _choices() -> str:
    return ", ".join(ENGINES)


def tensorflow_ops(tf: Any) -> Any:
    """TensorFlow's functions by the names and arguments of `keras.ops`, for Keras 2."""

    def reduction(function: Any) -> Callable[..., Any]:
        def reduce(x: Any, axis: Optional[Sequence[int]] = None, keepdims: bool = False) -> Any:
            return function(x, axis=axis, keepdims=keepdims)

        return reduce

    def pad(
        x: Any,
        pad_width: Sequence[Tuple[int, int]],
        mode: str = "constant",
        constant_values: float = 0.0,
    ) -> Any:
        return tf.pad(x, pad_width, mode=mode.upper(), constant_values=constant_values)

    functions: Mapping[str, Any] = {
        "abs": tf.abs,
        "add": tf.add,
        "ceil": tf.math.ceil,
        "clip": tf.clip_by_value,
        "concatenate": tf.concat,
        "cos": tf.math.cos,
        "divide": tf.divide,
        "erf": tf.math.erf,
        "exp": tf.exp,
        "floor": tf.floor,
        "log": tf.math.log,
        "log_softmax": lambda x, axis: tf.nn.log_softmax(x, axis=axis),
        "matmul": tf.matmul,
        "max": reduction(tf.reduce_max),
        "maximum": tf.maximum,
        "mean": reduction(tf.reduce_mean),
        "min": reduction(tf.reduce_min),
        "minimum": tf.minimum,
        "multiply": tf.multiply,
        "negative": tf.negative,
        "pad": pad,
        "power": tf.pow,
        "prod": reduction(tf.reduce_prod),
        "reciprocal": tf.math.reciprocal,
        "relu": tf.nn.relu,
        "reshape": tf.reshape,
        "round": tf.round,
        "rsqrt": tf.math.rsqrt,
        "sign": tf.sign,
        "sin": tf.math.sin,
        "sqrt": tf.sqrt,
        "square": tf.square,
        "subtract": tf.subtract,
        "sum": reduction(tf.reduce_sum),
        "take": lambda x, indices, axis: tf.gather(x, indices, axis=axis),
        "transpose": tf.transpose,
        "zeros_like": tf.zeros_like,
    }
    return SimpleNamespace(**functions)
