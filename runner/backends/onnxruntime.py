"""The backend `onnxruntime`: ONNX models by ONNX Runtime, on the CPU or one NVIDIA GPU.

Settings: `graph_optimization_level` = all | extended | basic | disabled; `provider` = auto (the
device's own) | cpu | cuda | tensorrt (what it leaves is CUDA's); `execution_mode` = sequential |
parallel (on the CPU: nodes side by side, the threads between them, one in each); `allow_spinning` =
true | false (idle threads of the pool sleep at once); `arena`, `mem_pattern` = true | false (how
memory is kept and planned); `disabled_passes` = optimizers by name, which do not run; `passes` =
those that alone do, of what the level lets run. What ONNX Runtime needs to run a model at all is in
neither list.

The session that is timed is never profiled. After its first run a second one like it is made,
profiled for one run and dropped, which tells the provider of each node: on the GPU it is refused
unless every node that computes ran there. For that moment the model is in memory twice.

TensorRT builds an engine when its provider is first given a shape that the file leaves open, so with
that provider `compile` makes the first call; the second session builds its own engine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from typing import Any, Dict, List, Optional, Tuple

# From version 1.29 on importing it starts a thread for telemetry, which runs while others are timed,
# and leaves a file in the temporary folder. It reads this when it loads.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort

from runner import fingerprints, placement, tiny
from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    TensorSpec,
    only_input,
    require_file,
    stages_between,
    start_each,
)
from runner.errors import RunnerError
from runner.support import cuda, onnx_structure
from runner.support import onnxruntime_model as model
from runner.support import onnxruntime_options as telling
from runner.support import onnxruntime_passes as passes
from runner.support.onnxruntime_options import CPU, CUDA, TENSORRT

STACK = "onnxruntime"

_OPTIMISED = "optimized.onnx"


class OnnxRuntime:
    """One inference session. The library parses and optimises in one call, all in `compile`."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = telling.accept(ort, request)
        self._disabled = telling.disabled(ort, self._settings)
        self._request = request
        self._session: Optional[ort.InferenceSession] = None
        self._asked: List[Any] = []
        self._proof: Dict[str, Any] = {}
        self._pools: Dict[str, Any] = {}
        self._runs_in_compile = 0

    def load(self) -> None:
        """Check that there is a file; the session reads it."""
        require_file(self._request.path)

    def compile(self) -> None:
        """Create the session; with TensorRT, make the call that builds its engine."""
        request = self._request
        self._asked = telling.providers(ort, request, self._settings)
        if request.device == "cuda":
            self._proof = cuda.require("onnxruntime", request.precision)
            telling.preload(ort)
        options, self._pools = telling.options(ort, self._settings, request.threads)
        session = self._create(options)
        only_input("onnxruntime", [node.name for node in session.get_inputs()])
        self._session = session
        self._input_name = session.get_inputs()[0].name
        self._output_names = [node.name for node in session.get_outputs()]
        if self._settings["provider"] == "tensorrt":
            self._build_engine(model.spec(session.get_inputs()[0]))

    def describe(self) -> Description:
        """The session's input and outputs."""
        session = self._session
        if session is None:
            raise RunnerError("backend", "describe before compile")
        told = {name: value for name, value in self._settings.items() if value is not None}
        ran: Dict[str, Any] = telling.OFFER.ran(self._request, told, "onnxruntime")
        ran["version"] = ran["versions"]["onnxruntime"] = ort.__version__
        ran["providers"] = session.get_providers()
        ran["runs_in_compile"] = self._runs_in_compile
        ran.update(self._pools)
        if self._request.device == "cuda":
            given = session.get_provider_options()
            ran["provider_options"] = {
                name: dict(given[name]) for name in (TENSORRT, CUDA) if name in given
            }
        scales = model.scales(session)
        return Description(
            input=model.spec(session.get_inputs()[0], scales),
            outputs=tuple(model.spec(node, scales) for node in session.get_outputs()),
            ran=ran,
        )

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call of the session."""
        session: Any = self._session
        outputs: List[np.ndarray] = session.run(self._output_names, {self._input_name: batch})
        return outputs

    def run_in_stages(self, batch: np.ndarray) -> Tuple[List[np.ndarray], Dict[str, int]]:
        """One call on the GPU by an IO binding: its input is copied there, and its outputs stay there.

        `run` leaves both copies to the session, which makes them inside its one call. The provider
        is waited for after each part; its Python part has no events.
        """
        session: Any = self._session
        binding = session.io_binding()
        for name in self._output_names:
            binding.bind_output(name, "cuda", 0)
        clock = time.perf_counter_ns
        started = clock()
        fed = ort.OrtValue.ortvalue_from_numpy(batch, "cuda", 0)
        binding.bind_ortvalue_input(self._input_name, fed)
        binding.synchronize_inputs()
        copied = clock()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        computed = clock()
        outputs: List[np.ndarray] = binding.copy_outputs_to_cpu()
        ended = clock()
        return outputs, stages_between(started, copied, computed, ended)

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """The nodes that run, by the profile of another session like this one; the GPU, if on one."""
        options, _ = telling.options(ort, self._settings, self._request.threads)
        with tempfile.TemporaryDirectory(prefix="ort-profile-") as folder:
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(folder, "run")
            session = self._create(options)
            session.run(self._output_names, {self._input_name: batch})
            found = placement.read_profile(session.end_profiling())
        del session
        provider = self._settings["provider"]
        if provider == "cpu":
            return placement.told(found)
        if provider == "tensorrt":
            proof = placement.require(found, TENSORRT, beside=(CUDA,))
        else:
            proof = placement.require(found, CUDA)
        return dict(proof, device_proof=self._proof, tf32=self._request.precision != "f32")

    def fingerprint(self, folder: str) -> Dict[str, Any]:
        """The model as ONNX Runtime optimised it, by another session like this one, and how it runs.

        `passes` are the transformers that changed the graph. Rules have no name there: they are
        `Level1_RuleBasedTransformer` together.

        Raises:
            RunnerError: kind `unsupported` with TensorRT, whose engines it can't write.
        """
        options = passes.talkative(self._writing(os.path.join(folder, _OPTIMISED)))
        log = passes.logged(lambda: self._create(options))
        made = onnx_structure.read_file(os.path.join(folder, _OPTIMISED))
        # The same graph is run otherwise by these, so they are a part of what is executed.
        how = {name: self._settings[name] for name in telling.EXECUTION}
        whole = fingerprints.of_lines("onnx", [*made.lines, repr(sorted(how.items()))])
        return fingerprints.Fingerprint(
            form="onnx",
            sha256=whole.sha256,
            operators=made.operators,
            passes=passes.that_changed(log),
        ).as_document()

    def keep_ir(self, folder: str) -> None:
        """The model as ONNX Runtime optimised it, by another session like this one.

        Raises:
            RunnerError: kind `unsupported` with TensorRT, whose engines it can't write.
        """
        options = self._writing(os.path.join(folder, _OPTIMISED))
        # It warns that the file is for this processor, which is what is wanted.
        options.log_severity_level = 3
        self._create(options)

    def close(self) -> None:
        """Drop the session."""
        self._session = None

    def _writing(self, path: str) -> Any:
        """Options of a session that writes the model as it optimised it."""
        if self._settings["provider"] == "tensorrt":
            message = "onnxruntime: what TensorRT compiled is an engine, which ONNX can't hold"
            raise RunnerError("unsupported", message)
        options, _ = telling.options(ort, self._settings, self._request.threads)
        options.optimized_model_filepath = path
        return options

    def _create(self, options: Any) -> Any:
        """A session with the providers asked for, and no others."""
        path = self._request.path
        more = passes.session_arguments(self._disabled)
        try:
            session = ort.InferenceSession(path, options, providers=self._asked, **more)
        except Exception as error:
            raise model.load_error(error, ort.__version__, path) from error
        telling.check_taken(ort, self._asked, session.get_providers(), self._proof.get("name", ""))
        # Its Python part would otherwise answer an error of the GPU by going on without it.
        session.disable_fallback()
        return session

    def _build_engine(self, entry: TensorSpec) -> None:
        """Make one call with zeros, unless what will be fed does not fit, which is told later."""
        fed: Tuple[int, ...] = (self._request.batch, *self._request.item_shape)
        declared = fed if entry.shape is None else entry.shape
        if len(declared) == len(fed) and all(d in (None, f) for d, f in zip(declared, fed)):
            self.run(np.zeros(fed, entry.dtype))
            self._runs_in_compile = 1


def create(request: LoadRequest) -> OnnxRuntime:
    """A session to be loaded."""
    return OnnxRuntime(request)


def probe() -> BackendProbe:
    """Whether ONNX Runtime imports, and which of its providers run a tiny model."""
    providers = tuple(ort.get_available_providers())
    started, refused = start_each(providers, _start)
    ok = CPU in started
    return BackendProbe(
        ok=ok,
        version=ort.__version__,
        detail="" if ok else refused.get(CPU, f"{CPU} is not available"),
        formats=telling.OFFER.formats,
        offer=telling.offer(ort) if ok else telling.OFFER,
        providers=providers,
        started=started,
        refused=refused,
        builds={"onnxruntime": telling.build(ort)},
    )


def _start(provider: str) -> Optional[str]:
    """Run a tiny model by one provider; why it did not, where it did not."""
    if provider in (CUDA, TENSORRT):
        telling.preload(ort)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    # Its warnings about providers that do not start are what is told here.
    options.log_severity_level = 4
    folder = tempfile.mkdtemp(prefix="ort-profile-")
    try:
        options.profile_file_prefix = os.path.join(folder, "run")
        wanted = [provider] if provider == CPU else [provider, CPU]
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
    if found.nodes.get(provider, 0) - (found.copies if provider == CUDA else 0) < 1:
        return f"a tiny model ran on {', '.join(found.nodes)} instead"
    return None
