"""TensorFlow made ready for one cell: threads, device and precision, before anything of it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Dict, List, Mapping, Optional, Tuple

from runner.backends.base import LoadRequest, installed_version, unsupported
from runner.errors import RunnerError
from runner.instruction_sets import OWN
from runner.support import (
    cuda,
    native_threads,
    pass_log,
    tensorflow_grappler,
    xla_ceiling,
    xla_flags,
    xla_passes,
)

GPU = "/GPU:0"
_CPU = "/CPU:0"
_PACKAGES = ("tensorflow", "tensorflow-cpu")

_KERNEL_VARIABLES = ("ONEDNN_", "DNNL_", "TF_ENABLE_ONEDNN_OPTS", "TF_SET_ONEDNN_")
"""Beginnings of the names of variables that oneDNN and TensorFlow read to choose kernels."""

# Which float the rewriters of graphs may make smaller: none, where whole float32 was asked for.
_MIXED = (
    "auto_mixed_precision",
    "auto_mixed_precision_mkl",
    "auto_mixed_precision_cpu",
    "auto_mixed_precision_onednn_bfloat16",
)


@dataclass(frozen=True)
class Stack:
    """TensorFlow as it was set up: the module, where tensors go, and what the GPU is."""

    tf: Any
    device: str
    onednn: Optional[bool]
    """Whether oneDNN's kernels are on; None where this build does not tell."""
    ran: Dict[str, Any] = field(default_factory=dict)
    """What `Description.ran` says of threads, oneDNN and TF32."""
    proof: Dict[str, Any] = field(default_factory=dict)


def package() -> str:
    """The distribution that TensorFlow came in; `tensorflow` where there is none."""
    return next((name for name in _PACKAGES if installed_version(name)), _PACKAGES[0])


def start(
    backend: str,
    request: LoadRequest,
    *,
    onednn: bool = True,
    grappler: bool = True,
    compiles: Optional[bool] = False,
    without: Tuple[str, ...] = (),
    xla: Optional[Mapping[str, Any]] = None,
) -> Stack:
    """Import TensorFlow, and hold it to the threads, device and precision of a request.

    Args:
        backend: who asks, for messages.
        request: what is asked for.
        onednn: whether oneDNN's kernels may be used on the CPU.
        grappler: whether graphs are optimised before they run.
        compiles: whether XLA compiles; None: the model decides, and this XLA need not know of
            ceilings on instruction sets.
        without: grappler's optimizers that are left out.
        xla: flags for XLA, by name.

    Raises:
        RunnerError: kind `unsupported`, where this TensorFlow can't be held to it; `wrong-device`,
            where there is no GPU, or more than one.
    """
    on_gpu = request.device == "cuda"
    if on_gpu and not onednn:
        raise unsupported(backend, "value of onednn on the GPU", False, (True,))
    proof = cuda.require(backend, request.precision) if on_gpu else {}
    _say_before_import(onednn, request.precision)
    _tell_xla(backend, request, compiles, xla or {})
    if request.fingerprint:
        pass_log.ask()
    # Threads take their cores from the one that starts them, and TensorFlow's import starts some.
    cores = None if on_gpu else native_threads.hold_to_cores(backend, request.threads)
    tf = import_module("tensorflow")
    _hold_threads(backend, tf, request.threads)
    if on_gpu:
        _take_gpu(backend, tf, proof)
    else:
        tf.config.set_visible_devices([], "GPU")
    # A place that is asked for and can't be had is an error, and not another place.
    tf.config.set_soft_device_placement(False)
    options: Dict[str, bool] = {"disable_meta_optimizer": not grappler}
    if request.precision == "f32":
        options.update((name, False) for name in _MIXED)
        tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.config.optimizer.set_experimental_options(options)
    tensorflow_grappler.switch_off(backend, without)
    enabled = _onednn_enabled()
    if not on_gpu and enabled is not None and enabled is not onednn:
        raise unsupported(
            backend, "value of onednn", onednn, (enabled,), why="this build of TensorFlow says so"
        )
    ran: Dict[str, Any] = {
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
    }
    if cores is not None:
        # The thread that calls works beside the pool, which would be one too many now and then.
        ran["cores"] = cores
    if enabled is not None:
        ran["onednn"] = enabled
    if on_gpu:
        ran["tf32"] = bool(tf.config.experimental.tensor_float_32_execution_enabled())
    return Stack(tf, GPU if on_gpu else _CPU, enabled, ran, proof)


def can_compile(request: LoadRequest) -> bool:
    """Whether XLA may be used for a request: it keeps to the ceiling, or there is none."""
    return request.instruction_set == OWN or xla_ceiling.can_be_told("tensorflow")


def untold(request: LoadRequest) -> Dict[str, str]:
    """What TensorFlow does not tell of the instruction sets that it uses."""
    words = "it does not say which instructions oneDNN and its own kernels take"
    flags = os.environ.get("XLA_FLAGS", "")
    told = request.instruction_set != OWN and "xla_cpu_max_isa" in flags
    return {"tensorflow": words, **(xla_ceiling.shown(flags) if told else {})}


def choosing_kernels(stack: Stack) -> List[str]:
    """What chooses between kernels and is seen in no graph, for a fingerprint."""
    variables = sorted(name for name in os.environ if name.startswith(_KERNEL_VARIABLES))
    return [
        f"onednn={stack.onednn}",
        f"tf32={stack.ran.get('tf32')}",
        *(f"{name}={os.environ[name]}" for name in variables),
    ]


def builds() -> Dict[str, str]:
    """The parts inside this build of TensorFlow: commit, compiler, CUDA, oneDNN, XLA."""
    tf = import_module("tensorflow")
    found = {
        "git": str(getattr(tf.version, "GIT_VERSION", "")),
        "compiler": str(getattr(tf.version, "COMPILER_VERSION", "")),
    }
    told = dict(tf.sysconfig.get_build_info())
    for name in ("cuda_version", "cudnn_version"):
        found[name] = str(told.get(name, "") or "")
    enabled = _onednn_enabled()
    if enabled is not None:
        found["onednn"] = "on" if enabled else "off"
    found["xla"] = "yes" if tf.test.is_built_with_xla() else "no"
    return {name: value for name, value in found.items() if value}


def _say_before_import(onednn: bool, precision: str) -> None:
    """What TensorFlow and oneDNN read from the environment when they load."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1" if onednn else "0"
    if precision == "f32":
        os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] = "STRICT"
        os.environ.pop("TF_SET_ONEDNN_FPMATH_MODE", None)


def _tell_xla(
    backend: str, request: LoadRequest, compiles: Optional[bool], added: Mapping[str, Any]
) -> None:
    """XLA's flags, which it reads when it starts: a ceiling, and those that are asked for."""
    xla_flags.check_passes(backend, "tensorflow")
    flags = xla_passes.as_flags(os.environ.get("XLA_FLAGS", ""), (), added)
    if compiles or (compiles is None and can_compile(request)):
        flags = xla_ceiling.set_flags(backend, "tensorflow", request.instruction_set, flags)
    if flags:
        os.environ["XLA_FLAGS"] = flags


def _hold_threads(backend: str, tf: Any, threads: int) -> None:
    """One operation at a time, and inside it as many threads as were asked for."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        raise RunnerError(
            "unsupported",
            f"{backend}: TensorFlow runs already in this process and can't be held to {threads} "
            f"threads any more ({error}); start a process of its own for each cell",
        ) from error


def _take_gpu(backend: str, tf: Any, proof: Dict[str, Any]) -> None:
    """Show TensorFlow the one GPU, of whose memory it takes as much as it needs.

    Raises:
        RunnerError: kind `unsupported`, where TensorFlow can't use it.
    """
    if not tf.test.is_built_with_cuda():
        why = "this TensorFlow is built for the CPU; install `tensorflow[and-cuda]`"
        raise unsupported(backend, "device", "cuda", ("cpu",), why=why)
    found = tf.config.list_physical_devices("GPU")
    if len(found) != 1:
        told = dict(tf.sysconfig.get_build_info())
        raise RunnerError(
            "unsupported",
            f"TensorFlow {tf.__version__} lists {len(found)} GPUs where {proof['name']} is "
            f"(driver {proof['driver']}, which serves CUDA {proof['cuda']}; TensorFlow is built for "
            f"CUDA {told.get('cuda_version', 'of an unknown version')} and cuDNN "
            f"{told.get('cudnn_version', 'of an unknown version')}): its log names the library that "
            "did not load; use a newer driver, or install `tensorflow[and-cuda]`",
        )
    tf.config.experimental.set_memory_growth(found[0], True)
    tf.config.set_visible_devices(found, "GPU")


def _onednn_enabled() -> Optional[bool]:
    """Whether TensorFlow takes oneDNN's kernels here, by its own word."""
    try:
        port = import_module("tensorflow.python.util._pywrap_util_port")
    except ImportError:
        return None
    return bool(port.IsMklEnabled())
