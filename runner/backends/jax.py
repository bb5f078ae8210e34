"""The backend `jax`: a function exported by JAX (`jax`), compiled by XLA.

On the CPU or one NVIDIA GPU. Settings:

- `weights` = arguments | constants: handed over with each call, as a model's parameters usually
  are, or compiled in, where XLA can lay them out beforehand.
- `matmul_precision` = auto | default | high | highest: JAX's name for how products and
  convolutions compute. `auto` is highest for the precision f32, else JAX's own default.
- `ynnpack` = true | false: whether XLA gives convolutions and products to YNNPACK on the CPU; false
  under a ceiling on instruction sets.
- `optimization_level` = 3 | 2 | 1 | 0: XLA's backend optimisation.
- `disabled_passes`, `passes`, `xla_flags`: XLA's passes and flags by name (`xla_passes`).

JAX is imported when a model is loaded: it reads its platform and number of threads then.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    TensorSpec,
    comparable,
    installed_version,
    only_input,
    require_file,
    stages_between,
    start_each,
    unsupported,
)
from runner.errors import RunnerError, classify
from runner.instruction_sets import OWN
from runner.support import (
    ceiling,
    cuda,
    jax_archive,
    jax_compiling,
    jax_ir,
    jax_runtime,
    native_threads,
    onnx_model,
    xla_ceiling,
    xla_flags,
    xla_hlo,
)

STACK = "jax"

_OFFER = jax_compiling.offer()


class Jax:
    """A compiled function, and its weights where it takes them."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _accept(request)
        self._request = request
        self._on_gpu = request.device == "cuda"
        self._matmul = _matmul_precision(request, self._settings["matmul_precision"])
        self._options = jax_compiling.options(self._settings, on_gpu=self._on_gpu)
        if request.instruction_set != OWN:
            # The flags of the process say so already, as far as this XLA knows of it.
            self._options.pop(xla_ceiling.YNNPACK, None)
        self._found = jax_compiling.CacheCount()
        self._proof: Dict[str, Any] = {}
        self._lowered: Optional[Any] = None
        self._compiled: Optional[Any] = None
        self._arguments: Tuple[Any, ...] = ()

    def load(self) -> None:
        """Import JAX, read the artifact, and put the weights on the device."""
        request = self._request
        require_file(request.path)
        if self._on_gpu:
            self._proof = cuda.require("jax", request.precision)
        xla_flags.check_passes("jax", "jaxlib")
        self._told = jax_runtime.prepare(
            request.device, request.threads, request.instruction_set, request.cache
        )
        archive = jax_archive.read(request.path)
        self._about = archive.about
        if request.precision == "f32":
            onnx_model.refuse_narrow("jax", archive.about.get("computes_in", ()))
        import jax

        before = native_threads.count()
        self._device = _device(request.device, self._proof)
        if not self._on_gpu:
            started = native_threads.started_since(before)
            self._told["pool_threads"] = jax_runtime.proven_threads(request.threads, started)
        self._exported = _deserialised(archive.functions[self._matmul], request.path)
        self._arguments = tuple(jax.device_put(value, self._device) for value in archive.weights)

    def compile(self) -> None:
        """Lower and compile for the input asked for."""
        import jax

        exported, weights = self._exported, self._arguments
        fed, *taken = exported.in_avals
        if len(taken) != len(weights):
            only_input("jax", [f"argument {i}" for i in range(1 + len(taken) - len(weights))])
        self._check_shape(tuple(fed.shape))
        placed = jax.device_put(np.zeros(fed.shape, fed.dtype), self._device)
        try:
            if self._settings["weights"] == "constants":
                lowered = jax.jit(lambda x: exported.call(x, *weights)).lower(placed)
                self._arguments = ()
            else:
                lowered = jax.jit(exported.call).lower(placed, *weights)
            if self._request.keep_ir or self._request.fingerprint:
                self._lowered = lowered
            if self._request.cache:
                self._found.listen(jax)
            self._compiled = lowered.compile(compiler_options=self._options or None)
        except Exception as error:
            raise jax_compiling.error_of(error) from error
        self._wait = jax.block_until_ready
        self._put = jax.device_put

    def describe(self) -> Description:
        """The input and outputs that the function was exported with."""
        compiled: Any = self._compiled
        ran = _OFFER.ran(self._request, self._settings, "jax")
        for name in ("jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin"):
            if installed_version(name):
                ran["versions"][name] = installed_version(name)
        ran.update(self._told)
        ran["platform"] = self._device.platform
        ran["calling_convention_version"] = self._about.get("calling_convention_version")
        ran["converted_with"] = f"jax {self._about.get('jax')}"
        ran["matmul_precision"] = self._matmul
        ran["compiler_options"] = dict(self._options)
        if self._on_gpu:
            ran["tf32"] = self._request.precision != "f32" and self._matmul == "default"
        text = compiled.as_text()
        if text:
            ran["operators"] = xla_hlo.operators(text)
        ran["cost"] = jax_compiling.cost(compiled)
        if self._request.cache:
            ran["compilation_cache"] = self._found.told()
        ran["runs_in_compile"] = 0
        exported = self._exported
        names = list(self._about.get("outputs", ()))
        return Description(
            input=_spec(str(self._about.get("input", "input")), exported.in_avals[0]),
            outputs=tuple(_spec(name, aval) for name, aval in zip(names, exported.out_avals)),
            ran=ran,
        )

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call; from the GPU the outputs come back."""
        return [np.asarray(output) for output in self._wait(self._call(batch))]

    def run_in_stages(self, batch: np.ndarray) -> Tuple[List[np.ndarray], Dict[str, int]]:
        """One call, with the device waited for after each part; JAX has no events of its own."""
        compiled: Any = self._compiled
        clock = time.perf_counter_ns
        started = clock()
        fed = self._wait(self._put(batch, self._device))
        copied = clock()
        ready = self._wait(compiled(fed, *self._arguments))
        computed = clock()
        outputs = [np.asarray(output) for output in ready]
        ended = clock()
        return outputs, stages_between(started, copied, computed, ended)

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """The GPU, and how many weights and outputs are on it: all of them."""
        if not self._on_gpu:
            untold = xla_ceiling.shown(str(self._told["xla_flags"]))
            return ceiling.told("jax", self._request, lambda: self.run(batch), unproved=untold)
        held = {f"weight {i}": value for i, value in enumerate(self._arguments)}
        held.update((f"output {i}", value) for i, value in enumerate(self._call(batch)))
        elsewhere = {
            name: ", ".join(sorted(str(device) for device in value.devices()))
            for name, value in held.items()
            if value.devices() != {self._device}
        }
        if elsewhere:
            listed = "; ".join(f"{name} on {where}" for name, where in list(elsewhere.items())[:6])
            raise RunnerError(
                "unsupported",
                f"jax was asked to run on {self._device} and {len(elsewhere)} of the arrays are "
                f"elsewhere ({listed}): ask for the device cpu, or convert the model again",
            )
        statistics = self._device.memory_stats() or {}
        return {
            "device_proof": dict(
                self._proof,
                device=str(self._device),
                tensors=len(held),
                allocated_bytes=int(statistics.get("bytes_in_use", 0)),
            )
        }

    def fingerprint(self, folder: str) -> Dict[str, Any]:
        """The optimised HLO, its constants, the weights, and the code that was made of it."""
        called_with: List[Any] = list(self._arguments)
        if self._on_gpu:
            # How a GPU is driven (graphs of CUDA, streams) is chosen by flags too, and not shown.
            called_with.append(jax_compiling.flags_told(self._settings))
        found = jax_compiling.fingerprint(
            self._lowered,
            self._compiled,
            self._options,
            called_with,
            folder,
            jax_compiling.running(self._settings),
        )
        if not self._request.keep_ir:
            self._lowered = None
        return found.as_document()

    def keep_ir(self, folder: str) -> None:
        """The program as it was handed to XLA, and as XLA optimised it."""
        jax_ir.keep(self._lowered, self._compiled, folder)
        self._lowered = None

    def close(self) -> None:
        """Drop the executable and the weights."""
        self._lowered = None
        self._compiled = None
        self._arguments = ()

    def _call(self, batch: np.ndarray) -> Tuple[Any, ...]:
        """The outputs, on the device and perhaps not ready yet."""
        compiled: Any = self._compiled
        outputs: Tuple[Any, ...] = compiled(self._put(batch, self._device), *self._arguments)
        return outputs

    def _check_shape(self, shape: Tuple[int, ...]) -> None:
        asked = (self._request.batch, *self._request.item_shape)
        if shape != asked:
            raise RunnerError(
                "unsupported",
                f"jax: the function takes {list(shape)} and {list(asked)} is to be fed; convert "
                "the model for that batch and shape",
            )


def _accept(request: LoadRequest) -> Dict[str, Any]:
    """The effective settings; YNNPACK takes what the processor has, so a ceiling is without it.

    Raises:
        RunnerError: kind `unsupported`.
    """
    settings = _OFFER.accept(request)
    if request.instruction_set != OWN:
        if request.settings.get("ynnpack"):
            why = "YNNPACK keeps to no instruction set"
            asked = request.instruction_set
            raise unsupported("jax", "instruction set with ynnpack", asked, (OWN,), why=why)
        settings["ynnpack"] = False
    return settings


def create(request: LoadRequest) -> Jax:
    """A function to be loaded; an ImportError where JAX is not installed, which it does not import."""
    if "jax" not in sys.modules and find_spec("jax") is None:
        raise ImportError("No module named 'jax'")
    return Jax(request)


def probe() -> BackendProbe:
    """Whether JAX imports, and which of its platforms compute here."""
    import jax
    import jaxlib

    listed = ["cpu"]
    if any(installed_version(f"jax-cuda{major}-plugin") for major in (13, 12)):
        listed.append("cuda")
    started, refused = start_each(listed, _start)
    ok = "cpu" in started
    return BackendProbe(
        ok=ok,
        version=jax.__version__,
        detail="" if ok else refused["cpu"],
        formats=_OFFER.formats,
        offer=_OFFER,
        providers=tuple(listed),
        started=started,
        refused=refused,
        builds={"jax": {"jaxlib": jaxlib.__version__}},
    )


def _start(platform: str) -> Optional[str]:
    """Compute a little on a platform; why it did not, where it did not."""
    import jax

    device = jax.devices(platform)[0]
    ones = jax.device_put(np.ones((2, 2), np.float32), device)
    total = float(np.asarray(jax.jit(lambda x: (x @ x).sum())(ones)))
    return None if total == 8 else f"the sum of a product of ones is {total}"


def _matmul_precision(request: LoadRequest, asked: str) -> str:
    """Which of the exported functions runs.

    Raises:
        RunnerError: kind `unsupported` for less than whole float32 where that is asked for.
    """
    if request.precision == "f32":
        if asked not in ("auto", "highest"):
            raise unsupported(
                "jax",
                "matmul_precision",
                asked,
                ("auto", "highest"),
                why="the precision f32 is whole float32; ask for the precision default",
            )
        return "highest"
    return "default" if asked == "auto" else asked


def _device(kind: str, proof: Dict[str, Any]) -> Any:
    """The one device of a kind.

    Raises:
        RunnerError: kind `unsupported`, where JAX has none.
    """
    import jax

    try:
        return jax.devices(kind)[0]
    except RuntimeError as error:
        if kind == "cpu":
            raise
        said = " ".join(str(error).split())[:500]
        raise RunnerError(
            "unsupported",
            f"JAX {jax.__version__} can't use {proof['name']} (driver {proof['driver']}, which "
            f"serves CUDA {proof['cuda']}): {said}; install jax-cuda13-plugin and its CUDA "
            "packages, or use a newer driver",
        ) from error


def _deserialised(function: bytes, path: str) -> Any:
    from jax import export

    try:
        return export.deserialize(bytearray(function))
    except Exception as error:
        refused = classify(error, "unsupported")
        raise RunnerError(
            refused.kind,
            f"{path} can't be read by this JAX: {refused.message}; convert the model in this "
            "environment, or with a version of JAX that is no newer",
            refused.detail,
        ) from error


def _spec(name: str, aval: Any) -> TensorSpec:
    dtype = comparable("jax", name, str(aval.dtype))
    return TensorSpec(name=name, dtype=dtype, shape=tuple(int(size) for size in aval.shape))
