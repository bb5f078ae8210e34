"""The backend `onnxruntime`: ONNX models by ONNX Runtime, on the CPU or one NVIDIA GPU.

Settings: `graph_optimization_level` = all | extended | basic | disabled.

On the GPU the first run is profiled, and refused unless every node that computes ran there.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from importlib import import_module
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import onnxruntime as ort

from runner import placement, tiny
from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    TensorSpec,
    only_input,
    start_each,
    unsupported,
)
from runner.errors import RunnerError, classify
from runner.support import cuda

_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

STACK = "onnxruntime"

_OFFER = Offer(
    backend="onnxruntime",
    formats=("onnx",),
    devices=("cpu", "cuda"),
    settings={"graph_optimization_level": tuple(_LEVELS)},
)

_CPU = placement.CPU
_CUDA = "CUDAExecutionProvider"
_TF32_SINCE = (1, 18)
"""Older ones do not know the option; NVIDIA's own switch works with all."""

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
}

_NO_CUDA = "this onnxruntime is built for the CPU; install onnxruntime-gpu in its place"

# ONNX Runtime's own exception classes differ between versions; its words do not.
_MODEL_WORDS = (
    "INVALID_PROTOBUF",
    "INVALID_GRAPH",
    "NO_SUCHFILE",
    "NO_MODEL",
    "INVALID_ARGUMENT",
    "External data",
    "External initializer",
    "GetFileLength",
)
_UNSUPPORTED_WORDS = re.compile(
    r"Unsupported model IR version: \d+, max supported IR version: \d+"
    r"|Opset \d+ is under development|.*official support for.*opset.*till opset \d+"
    r"|NOT_IMPLEMENTED : .*"
)


class OnnxRuntime:
    """One inference session. The library parses and optimises in one call, all in `compile`."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _OFFER.accept(request)
        self._request = request
        self._session: Optional[ort.InferenceSession] = None
        self._proof: Dict[str, Any] = {}
        self._profiles: Optional[str] = None

    def load(self) -> None:
        """Check that there is a file; the session reads it."""
        if not os.path.isfile(self._request.path):
            raise RunnerError("model", f"no such model file: {self._request.path}")

    def compile(self) -> None:
        """Create the session."""
        try:
            self._create()
        except BaseException:
            self._forget_profiles()
            raise

    def describe(self) -> Description:
        """The session's input and outputs."""
        session = self._session
        if session is None:
            raise RunnerError("backend", "describe before compile")
        ran: Dict[str, Any] = _OFFER.ran(self._request, self._settings, "onnxruntime")
        ran["version"] = ran["versions"]["onnxruntime"] = ort.__version__
        ran["providers"] = session.get_providers()
        ran["inter_op_threads"] = 1
        if self._request.device == "cuda":
            ran["provider_options"] = dict(session.get_provider_options().get(_CUDA, {}))
        return Description(
            input=_spec(session.get_inputs()[0]),
            outputs=tuple(_spec(node) for node in session.get_outputs()),
            ran=ran,
        )

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call of the session."""
        session: Any = self._session
        outputs: List[np.ndarray] = session.run(self._output_names, {self._input_name: batch})
        return outputs

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:  # noqa: ARG002
        """The GPU, and the nodes that ran there in the first run, by ONNX Runtime's profile."""
        if self._request.device != "cuda":
            return {}
        session: Any = self._session
        try:
            found = placement.read_profile(session.end_profiling())
        finally:
            self._forget_profiles()
        proof = placement.require(found, _CUDA)
        return dict(proof, device_proof=self._proof, tf32=self._request.precision != "f32")

    def close(self) -> None:
        """Drop the session."""
        self._session = None
        self._forget_profiles()

    def _create(self) -> None:
        options = ort.SessionOptions()
        options.graph_optimization_level = _LEVELS[self._settings["graph_optimization_level"]]
        options.intra_op_num_threads = self._request.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        on_cuda = self._request.device == "cuda"
        providers = self._cuda(options) if on_cuda else [_CPU]
        try:
            session = ort.InferenceSession(self._request.path, options, providers=providers)
        except Exception as error:
            raise _load_error(error, self._request.path) from error
        taken = session.get_providers()
        if on_cuda and taken[:1] != [_CUDA]:
            raise RunnerError(
                "unsupported",
                f"onnxruntime {ort.__version__} could not start {_CUDA} on {self._proof['name']} "
                f"and took {', '.join(taken)}: the log names the library of CUDA or cuDNN that "
                "does not load or does not fit the driver",
            )
        if not on_cuda and taken != [_CPU]:
            raise RunnerError(
                "backend", f"asked for {_CPU} and ONNX Runtime took {', '.join(taken)}"
            )
        # Its Python part would otherwise answer an error of the GPU by going on without it.
        session.disable_fallback()
        only_input("onnxruntime", [node.name for node in session.get_inputs()])
        self._session = session
        self._input_name = session.get_inputs()[0].name
        self._output_names = [node.name for node in session.get_outputs()]

    def _cuda(self, options: ort.SessionOptions) -> List[Any]:
        """The providers for the GPU; profiling is on until the first run is over.

        Raises:
            RunnerError: kind `unsupported`, if there is no GPU or this build is without CUDA.
        """
        if _CUDA not in ort.get_available_providers():
            raise unsupported("onnxruntime", "device", "cuda", ("cpu",), why=_NO_CUDA)
        self._proof = cuda.require("onnxruntime", self._request.precision)
        _preload()
        self._profiles = tempfile.mkdtemp(prefix="ort-profile-")
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(self._profiles, "run")
        chosen = {"device_id": "0"}
        if self._request.precision == "f32" and _version() >= _TF32_SINCE:
            chosen["use_tf32"] = "0"
        return [(_CUDA, chosen), _CPU]

    def _forget_profiles(self) -> None:
        if self._profiles is not None:
            shutil.rmtree(self._profiles, ignore_errors=True)
            self._profiles = None


def create(request: LoadRequest) -> OnnxRuntime:
    """A session to be loaded."""
    return OnnxRuntime(request)


def probe() -> BackendProbe:
    """Whether ONNX Runtime imports, and which of its providers run a tiny model."""
    providers = tuple(ort.get_available_providers())
    started, refused = start_each(providers, _start)
    ok = _CPU in started
    return BackendProbe(
        ok=ok,
        version=ort.__version__,
        detail="" if ok else refused.get(_CPU, f"{_CPU} is not available"),
        formats=_OFFER.formats,
        providers=providers,
        started=started,
        refused=refused,
        builds={"onnxruntime": _build()},
    )


def _start(provider: str) -> Optional[str]:
    """Run a tiny model by one provider; why it did not, where it did not."""
    if provider == _CUDA:
        _preload()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    # Its warnings about providers that do not start are what is told here.
    options.log_severity_level = 4
    folder = tempfile.mkdtemp(prefix="ort-profile-")
    try:
        options.profile_file_prefix = os.path.join(folder, "run")
        wanted = [provider] if provider == _CPU else [provider, _CPU]
        session = ort.InferenceSession(tiny.ONNX, options, providers=wanted)
        if provider not in session.get_providers():
            return "ONNX Runtime lists it and drops it: a library that it needs does not load"
        session.disable_fallback()
        output = session.run(None, {"x": tiny.ROW})[0]
        found = placement.read_profile(session.end_profiling())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not tiny.is_right(output):
        return f"a tiny model gave {output.tolist()}"
    if found.nodes.get(provider, 0) - (found.copies if provider != _CPU else 0) < 1:
        return f"a tiny model ran on {', '.join(found.nodes)} instead"
    return None


def _preload() -> None:
    """Load the libraries of CUDA and cuDNN that lie in wheels, where this version can."""
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()


def _build() -> Dict[str, str]:
    """The commit and kind of the build, and the CUDA and cuDNN that it was made for."""
    found = {}
    said = ort.get_build_info() if hasattr(ort, "get_build_info") else ""
    for name, key in (("git", "git-commit-id"), ("type", "build type")):
        value = re.search(re.escape(key) + r"=([^,]+)", said)
        if value:
            found[name] = value.group(1).strip()
    try:
        info = import_module("onnxruntime.capi.build_and_package_info")
    except ImportError:
        return found
    for name in ("cuda_version", "cudnn_version"):
        value = getattr(info, name, None)
        if value:
            found[name] = str(value)
    return found


def _version() -> Tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", ort.__version__)[:2])


def _spec(node: Any) -> TensorSpec:
    kind = node.type
    if not kind.startswith("tensor("):
        message = f"onnxruntime: {node.name} is {kind}, and only tensors can be compared"
        raise RunnerError("unsupported", message)
    dtype = _DTYPES.get(kind, kind[len("tensor(") : -1])
    if dtype not in _DTYPES.values() and not dtype.lstrip("u").startswith("int"):
        numeric = (*_DTYPES.values(), "int8", "uint8", "int16", "int32", "int64")
        raise unsupported("onnxruntime", f"dtype of {node.name}", dtype, numeric)
    shape = tuple(d if isinstance(d, int) and d >= 0 else None for d in node.shape)
    return TensorSpec(name=node.name, dtype=dtype, shape=shape)


def _load_error(error: Exception, path: str) -> RunnerError:
    text = str(error)
    refused_for = _UNSUPPORTED_WORDS.search(text)
    if refused_for:
        return RunnerError(
            "unsupported",
            f"onnxruntime {ort.__version__} can't run {path}: {refused_for.group()}; use a newer "
            "onnxruntime, or export with an older opset and IR version",
            classify(error).detail,
        )
    refused = classify(error, "model" if any(w in text for w in _MODEL_WORDS) else "backend")
    return RunnerError(refused.kind, f"{path}: {refused.message}", refused.detail)
