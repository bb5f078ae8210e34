"""The backend `tensorrt`: ONNX models by NVIDIA TensorRT 8.6 to 11, on one GPU.

Settings: `builder_optimization_level` = 3 | 0 | 1 | 2 | 4 | 5, `typing` = auto | strong | weak
(whether the types of the file are binding; each version has its own choice), `workspace_mib` = 0
(TensorRT's own limit) | 256 | 1024 | 4096, `tactic_sources` (a list: the libraries that kernels may
come from, by TensorRT's names; `[]` is its own kernels alone).

There is no folder for it below images/: its libraries can't be locked from the public index, where
the package `tensorrt` is a stub that fetches them from elsewhere. An image that holds them is named
with `image:`. The engine is built in `compile`, for the shape that is fed, by timing kernels: two
builds may choose different ones, so the kernels that were chosen are told. What it measured is kept
in the cell's cache, so that a cell that is opened again has the same ones. For `f32` TF32 is off.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from runner import gpus, tiny
from runner.backends.base import (
    STAGES,
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    Shape,
    TensorSpec,
    require_file,
    start_each,
    unsupported,
)
from runner.errors import RunnerError
from runner.support import cuda
from runner.support import tensorrt_engine as building
from runner.support.cuda_memory import CudaMemory

STACK = "tensorrt"

_OFFER = Offer(
    backend="tensorrt",
    formats=("onnx",),
    devices=("cuda",),
    settings={
        "builder_optimization_level": building.OPTIMIZATION_LEVELS,
        "typing": building.TYPING,
        "workspace_mib": building.WORKSPACES_MIB,
    },
    free={"tactic_sources": "names"},
)
_PROVIDER = "cuda"


class TensorRt:
    """A network, parsed in `load`; its engine and buffers on the GPU, made in `compile`."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _OFFER.accept(request)
        self._request = request
        # CUDA's libraries read what this sets when they load, so TensorRT is imported after it.
        self._proof = cuda.require("tensorrt", request.precision)
        self._trt: Any = import_module("tensorrt")
        self._settings["typing"] = building.typing_of(self._trt, self._settings["typing"])
        self._log = building.Log()
        self._logger = building.logger(self._trt, self._log)
        self._model: Optional[_Parsed] = None
        self._engine: Optional[_Engine] = None
        self._timings = None if request.cache is None else building.TimingCache(request.cache)

    def load(self) -> None:
        """Parse the file."""
        path = self._request.path
        require_file(path)
        self._model = _Parsed(self._trt, self._logger, path, self._settings["typing"])
        if hasattr(self._model.builder, "max_threads"):
            self._model.builder.max_threads = self._request.threads

    def compile(self) -> None:
        """Build the engine for what will be fed, and make its buffers."""
        model, request = self._model, self._request
        if model is None:
            raise RunnerError("backend", "compile before load")
        settings = dict(self._settings, tf32=request.precision != "f32")
        fed = (request.batch, *request.item_shape)
        plan = building.build(self._trt, model.builder, model.network, settings, fed, self._timings)
        self._engine = _Engine(self._trt, self._logger, self._log, plan, fed)

    def describe(self) -> Description:
        """The network's input as the file declares it, and the outputs for what will be fed."""
        engine, model = self._engine, self._model
        if engine is None or model is None:
            raise RunnerError("backend", "describe before compile")
        ran = _OFFER.ran(self._request, self._settings, "tensorrt")
        ran["version"] = ran["versions"]["tensorrt"] = str(self._trt.__version__)
        ran["tf32"] = self._request.precision != "f32"
        ran["timing_cache"] = self._timings is not None and ("cold", "warm")[self._timings.warm]
        operators = building.layers(self._trt, engine.engine)
        if operators:
            ran["operators"] = operators
        entry = TensorSpec(engine.input.name, engine.input.dtype, model.declared)
        return Description(entry, engine.outputs, ran)

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """Copy in, execute, copy out, wait."""
        engine: Any = self._engine
        outputs: List[np.ndarray] = engine.run(batch)
        return outputs

    def run_in_stages(self, batch: np.ndarray) -> Tuple[List[np.ndarray], Dict[str, int]]:
        """The same between events of the driver, which the stream passes in order."""
        engine: Any = self._engine
        outputs: List[np.ndarray]
        outputs, durations = engine.run_between_events(batch)
        return outputs, durations

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:  # noqa: ARG002
        """The GPU that the buffers lie on; TensorRT has no kernels for anything else.

        Raises:
            RunnerError: kind `wrong-device`, if it is another one than the one that is visible.
        """
        engine: Any = self._engine
        places = engine.places()
        if places != [0]:
            raise RunnerError(
                "wrong-device",
                f"tensorrt: the engine's tensors lie on the GPUs {places} and this cell has GPU 0 "
                f"({self._proof['name']})",
            )
        return {"device_proof": self._proof}

    def fingerprint(self, folder: str) -> Dict[str, Any]:  # noqa: ARG002
        """The engine's layers with their kernels, and the file that its weights are from."""
        engine: Any = self._engine
        with open(self._request.path, "rb") as file:
            weights = file.read()
        return building.fingerprint(
            self._trt, engine.engine, weights, engine.size_bytes
        ).as_document()

    def close(self) -> None:
        """Free the engine before its memory, and the network."""
        if self._engine is not None:
            self._engine.close()
        self._engine = self._model = None


class _Parsed:
    """A builder and the network that it read; the parser lives as long as the network."""

    def __init__(self, trt: Any, logger: Any, source: Any, typing: str) -> None:
        # Some operators are TensorRT's own plug-ins, which its parser looks up.
        trt.init_libnvinfer_plugins(logger, "")
        self.builder = trt.Builder(logger)
        self.network, self._parser = building.parse(trt, self.builder, logger, source, typing)
        self.declared: Optional[Shape] = building.shape_of(self.network.get_input(0).shape)


class _Engine:
    """An engine with an execution context and a buffer for each tensor."""

    def __init__(self, trt: Any, logger: Any, log: building.Log, plan: Any, fed: Any) -> None:
        if plan is None:
            message = f"TensorRT {trt.__version__} could not build an engine: {log.said()}"
            raise RunnerError("backend", message)
        self._log = log
        self.size_bytes = int(getattr(plan, "nbytes", 0)) or len(bytes(plan))
        self._memory = CudaMemory()
        self._addresses: List[int] = []
        self._marks: List[Any] = []
        try:
            self._runtime: Any = trt.Runtime(logger)
            self.engine: Any = self._runtime.deserialize_cuda_engine(plan)
            self._context: Any = self._new_context()
            self._bind(trt, fed)
        except BaseException:
            self.close()
            raise

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """The outputs for one batch, as new arrays."""
        memory = self._memory
        memory.copy_in(self._addresses[0], np.ascontiguousarray(batch))
        self._execute()
        outputs = self._fetch()
        memory.synchronize()
        return outputs

    def run_between_events(self, batch: np.ndarray) -> Tuple[List[np.ndarray], Dict[str, int]]:
        """The outputs for one batch, and the nanoseconds of each part."""
        memory = self._memory
        if not self._marks:
            self._marks = [memory.event() for _ in range(len(STAGES) + 1)]
        marks = self._marks
        fed = np.ascontiguousarray(batch)
        memory.synchronize()
        memory.record(marks[0])
        memory.copy_in(self._addresses[0], fed)
        memory.record(marks[1])
        self._execute()
        memory.record(marks[2])
        outputs = self._fetch()
        memory.record(marks[3])
        memory.synchronize()
        durations = {
            stage: memory.between_ns(begin, end)
            for stage, begin, end in zip(STAGES, marks, marks[1:])
        }
        return outputs, durations

    def places(self) -> List[int]:
        """The numbers of the GPUs that the buffers lie on."""
        return sorted({self._memory.place(address) for address in self._addresses})

    def close(self) -> None:
        """Drop the context and the engine, then free the memory."""
        self._context = self.engine = self._runtime = None
        self._memory.close()

    def _execute(self) -> None:
        """Queue the engine in the stream."""
        if not self._context.execute_async_v3(self._memory.stream):
            raise RunnerError("backend", f"TensorRT could not run the engine: {self._log.said()}")

    def _fetch(self) -> List[np.ndarray]:
        """New arrays, and the copies to them queued in the stream."""
        outputs = [np.empty(shape, spec.dtype) for spec, shape in zip(self.outputs, self._shapes)]
        for array, address in zip(outputs, self._addresses[1:]):
            self._memory.copy_out(array, address)
        return outputs

    def _new_context(self) -> Any:
        context = self.engine.create_execution_context() if self.engine is not None else None
        if context is None:
            message = f"TensorRT could not load the engine that it built: {self._log.said()}"
            raise RunnerError("backend", message)
        return context

    def _bind(self, trt: Any, fed: Any) -> None:
        engine, context = self.engine, self._context
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        shape = building.fixed(building.shape_of(engine.get_tensor_shape(inputs[0])), fed)
        if not context.set_input_shape(inputs[0], shape):
            raise RunnerError("model", f"tensorrt: {inputs[0]} can't be fed {list(shape)}")
        self.input = _spec(trt, engine, inputs[0], shape)
        self.outputs = tuple(
            _spec(trt, engine, name, building.shape_of(context.get_tensor_shape(name)))
            for name in names
            if name not in inputs
        )
        self._shapes = [_known(spec) for spec in self.outputs]
        for spec in (self.input, *self.outputs):
            items = int(np.prod(_known(spec), dtype=np.int64))
            address = self._memory.allocate(items * np.dtype(spec.dtype).itemsize)
            self._addresses.append(address)
            context.set_tensor_address(spec.name, address)


def create(request: LoadRequest) -> TensorRt:
    """A network to be loaded."""
    return TensorRt(request)


def probe() -> BackendProbe:
    """Whether TensorRT imports, and whether it runs a tiny model on the GPU that is here.

    It is offered without a GPU too: what an environment holds does not depend on the machine.
    """
    trt = import_module("tensorrt")
    started, refused = start_each((_PROVIDER,), lambda _: _start(trt))
    return BackendProbe(
        ok=True,
        version=str(trt.__version__),
        formats=_OFFER.formats,
        offer=_OFFER,
        providers=(_PROVIDER,),
        started=started,
        refused=refused,
    )


def _start(trt: Any) -> Optional[str]:
    seen = gpus.seen()
    if not seen.gpus:
        return f"no GPU is here: {seen.detail}"
    log = building.Log()
    logger = building.logger(trt, log)
    parsed = _Parsed(trt, logger, tiny.ONNX, building.typing_of(trt, "auto"))
    settings = {"builder_optimization_level": 0, "workspace_mib": 0, "tf32": False}
    plan = building.build(trt, parsed.builder, parsed.network, settings, tiny.ROW.shape)
    engine = _Engine(trt, logger, log, plan, tiny.ROW.shape)
    try:
        output = engine.run(tiny.ROW)[0]
    finally:
        engine.close()
    return None if tiny.is_right(output) else f"a tiny model gave {output.tolist()}"


def _known(spec: TensorSpec) -> Tuple[int, ...]:
    """A tensor's shape.

    Raises:
        RunnerError: kind `unsupported`, if it is known only once the engine has run.
    """
    sizes = [size for size in spec.shape or () if size is not None]
    if spec.shape is None or len(sizes) != len(spec.shape):
        raise RunnerError(
            "unsupported",
            f"tensorrt: the shape of {spec.name} depends on the data; only models whose outputs "
            "are of fixed shape can be compared",
        )
    return tuple(sizes)


def _spec(trt: Any, engine: Any, name: str, shape: Optional[Shape]) -> TensorSpec:
    kind = engine.get_tensor_dtype(name)
    try:
        dtype = np.dtype(trt.nptype(kind)).name
    except TypeError:
        numeric = ("float32", "float16", "int8", "int32", "int64", "bool", "uint8")
        raise unsupported("tensorrt", f"dtype of {name}", str(kind), numeric) from None
    return TensorSpec(name, dtype, shape)
