"""The backend `tvm`: ONNX, TensorFlow Lite and Relax by Apache TVM, compiled in the cell.

ONNX and TensorFlow Lite files are imported in the cell too; a `relax` file is what an importer made
before, for a batch and shape that are fixed.

Settings: `target` = auto (llvm on the CPU, cuda on a GPU) | llvm | c (C source, by the C compiler that
is here) | cuda | opencl | vulkan; `mcpu` = host | generic | x86-64-v2 | x86-64-v3 | x86-64-v4 (on a
GPU that of its host code). For the CPU's targets also

* `pipeline` = default | default_build (TVM's own names; the second does not fuse operators);
* `passes`: these of the optional ones and no others; those on the graph (`FoldBatchnormToConv2D`,
  `ConvertLayout`, …) run first, in the order given, the others in their places in the pipeline;
* `disabled_passes`: the pipeline without these. (TVM's `opt_level` is not here: it does nothing.)
* `fast_math` = false | true, `code_level` = own | 0 | 1 | 2 | 3: of the compiler of kernels;
* `tuner` = none | metaschedule, for target llvm, and `trials`: how many candidates it may measure.

Untuned, TVM's schedules for the CPU are loops without threads: `parallel_kernels` says how many
kernels split their work, beside the `threads` of the pool. What a tuner found is kept in the cell's
cache, and its database's hash in `ran`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from importlib import import_module
from typing import Any, Dict, List, Optional, Tuple

# TVM's threads would leave the cores that this process may use: it binds them by number.
os.environ["TVM_BIND_THREADS"] = "0"

import numpy as np
import tvm

from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    installed_version,
    stages_between,
    start_each,
    unsupported,
)
from runner.errors import RunnerError
from runner.instruction_sets import GCC, LLVM, OWN
from runner.support import (
    ceiling,
    cuda,
    tvm_build,
    tvm_compiler,
    tvm_fingerprint,
    tvm_ir,
    tvm_model,
    tvm_passes,
    tvm_probe,
    tvm_relax,
    tvm_request,
    tvm_targets,
    tvm_tuning,
)
from runner.support.tally import most

STACK = "tvm"

_PACKAGE = "apache-tvm"
_DECIDES = ("target", "llvm", "compiler", "compiler_flags")
"""What is said in `ran` and decides the code of kernels."""


class Tvm:
    """A Relax module, imported in `load`, compiled for the shape that is fed in `compile`."""

    def __init__(self, request: LoadRequest) -> None:
        settings = tvm_request.accept(request)
        self._settings = settings
        self._pipeline = settings.get("pipeline", "default")
        self._chosen = tvm_passes.choose(
            settings.get("passes"), settings.get("disabled_passes"), self._pipeline
        )
        self._request = request
        self._imported: Optional[tvm_model.Imported] = None
        self._main: Optional[Any] = None
        self._stages: Optional[Tuple[Any, Any, Any]] = None
        self._folder: Optional[str] = None
        self._passes: List[str] = []
        self._proof: Dict[str, Any] = {}
        self._ran: Dict[str, Any] = {}

    def load(self) -> None:
        """Import or read the file, for the batch and shape that will be fed."""
        request = self._request
        fed = (request.batch, *request.item_shape)
        if request.format == "relax":
            self._imported = tvm_relax.read(request.path, fed, request.precision)
        else:
            self._imported = tvm_model.read(request.path, request.format, fed, request.precision)

    def compile(self) -> None:
        """Run TVM's passes, generate code, and load it into a virtual machine."""
        if self._imported is None:
            raise RunnerError("backend", "compile before load")
        kind = self._settings["target"]
        self._device = tvm.cpu(0)
        if self._request.device == "cuda":
            self._proof = cuda.require("tvm", self._request.precision)
            self._device = tvm_probe.the_gpu(kind, self._proof["name"])
        target = self._target(kind)
        pipeline, chosen = self._pipeline, self._chosen
        recorder = tvm_passes.Recorder(chosen)
        with recorder.context():
            lowered = tvm_build.lower(
                self._imported.module, target, pipeline, chosen.graph, self._tuner(target)
            )
            executable = tvm_build.compile_lowered(lowered, target)
        if self._request.keep_ir or self._request.fingerprint:
            self._stages = (self._imported.module, lowered, executable)
            self._passes = recorder.names()
        if kind == "c":
            executable = self._by_compiler(executable)
        self._machine = import_module("tvm.relax").VirtualMachine(executable, self._device)
        self._main = self._machine[tvm_model.ENTRY]
        self._check_threads()
        self._ran.update(
            target=str(target),
            llvm=tvm_targets.llvm_version(),
            pipeline=pipeline,
            executable="virtual machine, bytecode",
            kernels=lowered.kernels,
            parallel_kernels=lowered.parallel_kernels,
            operators=most({f"{name} ({kind})": n for name, n in lowered.calls.items()}),
        )
        if lowered.dtypes:
            self._ran["computes_in"] = list(lowered.dtypes)

    def describe(self) -> Description:
        """The module's input and outputs."""
        if self._imported is None or self._main is None:
            raise RunnerError("backend", "describe before compile")
        ran = tvm_request.OFFER.ran(self._request, self._settings, _PACKAGE)
        ran["versions"]["apache-tvm-ffi"] = installed_version("apache-tvm-ffi")
        ran.update(self._ran)
        return Description(self._imported.input, self._imported.outputs, ran)

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """Copy the input to TVM's memory, call the function, copy the outputs back."""
        main: Any = self._main
        result = main(tvm.runtime.tensor(batch, self._device))
        return [tensor.numpy() for tensor in _flat(result)]

    def run_in_stages(self, batch: np.ndarray) -> Tuple[List[np.ndarray], Dict[str, int]]:
        """One call, with the device waited for after each part."""
        main: Any = self._main
        clock, wait = time.perf_counter_ns, self._device.sync
        started = clock()
        fed = tvm.runtime.tensor(batch, self._device)
        wait()
        copied = clock()
        result = main(fed)
        wait()
        computed = clock()
        outputs = [tensor.numpy() for tensor in _flat(result)]
        ended = clock()
        return outputs, stages_between(started, copied, computed, ended)

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """On the GPU: its name by TVM, and that the outputs lie in its memory.

        On the CPU what shows that a ceiling on instruction sets is kept.
        """
        if self._request.device != "cuda":
            flags = self._ran.get("compiler_flags")
            words = f"{' '.join(flags)}" if flags else str(self._ran["target"])
            proved = {"tvm": f"compiled for {words}"}
            return ceiling.told("tvm", self._request, lambda: self.run(batch), proved)
        main: Any = self._main
        result = main(tvm.runtime.tensor(batch, self._device))
        places = sorted({str(tensor.device) for tensor in _flat(result)})
        if places != [str(self._device)]:
            raise RunnerError(
                "unsupported",
                f"tvm was asked to run on {self._device} and its outputs are on "
                f"{', '.join(places)}: its times would not be the GPU's",
            )
        return {"device_proof": self._proof, "outputs_on": places[0]}

    def fingerprint(self, folder: str) -> Dict[str, Any]:
        """What decides the outputs: the virtual machine's program, the kernels' code, the weights."""
        if self._stages is None:
            raise RunnerError("backend", "fingerprint of a module that was not held for it")
        _, lowered, executable = self._stages
        if not self._request.keep_ir:
            self._stages = None
        about = [str(self._ran[name]) for name in _DECIDES if name in self._ran]
        found = tvm_fingerprint.take(lowered, executable, about, self._passes, folder)
        return found.as_document()

    def keep_ir(self, folder: str) -> None:
        """Relax before and after TVM's passes, the kernels in TIR, and the code made of them."""
        if self._stages is not None:
            imported, lowered, executable = self._stages
            tvm_ir.keep(imported, lowered.module, executable, folder)
            self._stages = None

    def close(self) -> None:
        """Drop the virtual machine, and what was compiled on disk."""
        self._stages = None
        self._main = self._machine = self._imported = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _target(self, kind: str) -> Any:
        settings = self._settings
        if self._request.device == "cuda":
            host = tvm_targets.processor(settings["mcpu"])
            return tvm_targets.gpu_target(kind, self._device, host)
        asked = self._request.instruction_set
        if asked != OWN:
            mcpu, features = LLVM[asked]
            settings["mcpu"] = "".join((mcpu, *features))
        else:
            mcpu, features = tvm_targets.processor(settings["mcpu"]), ()
        return tvm_targets.cpu_target(
            kind,
            mcpu,
            fast_math=settings["fast_math"],
            features=features,
            code_level=settings["code_level"],
            cores=None if settings["tuner"] == "none" else self._request.threads,
        )

    def _tuner(self, target: Any) -> Optional[tvm_build.Rewrite]:
        """What tunes kernels, where that is asked for."""
        if self._settings.get("tuner", "none") == "none":
            return None
        tvm_compiler.compiler()
        cache = self._request.cache
        if cache is None:
            self._folder = cache = tempfile.mkdtemp(prefix="tvm-tuned-")
        cores = len(os.sched_getaffinity(0))
        budget = tvm_tuning.Budget(self._settings["trials"], cores, cache)

        def tune(module: Any) -> Any:
            changed, self._ran["tuning"] = tvm_tuning.tune(module, target, budget)
            return changed

        return tune

    def _by_compiler(self, executable: Any) -> Any:
        settings = self._settings
        path, said = tvm_compiler.compiler()
        asked = self._request.instruction_set
        arch = settings["mcpu"] if asked == OWN else GCC[asked]
        flags = tvm_compiler.compiler_flags(
            arch, fast_math=settings["fast_math"], code_level=settings["code_level"]
        )
        self._ran.update(compiler=said, compiler_flags=flags)
        self._folder = tempfile.mkdtemp(prefix="tvm-c-")
        return tvm_compiler.compile_c(executable, self._folder, path, flags)

    def _check_threads(self) -> None:
        """Refuse a pool of another size, which TVM makes where there are too few cores."""
        count = tvm_targets.ask("runtime.NumThreads")
        taken = self._request.threads if count is None else int(count())
        if taken != self._request.threads:
            raise unsupported("tvm", "number of threads", self._request.threads, (taken,))


def create(request: LoadRequest) -> Tvm:
    """A module to be loaded; its pool of threads is made when it is first used."""
    os.environ["TVM_NUM_THREADS"] = str(request.threads)
    return Tvm(request)


def probe() -> BackendProbe:
    """Whether TVM imports, and which of its targets run a tiny model."""
    providers = (*tvm_targets.CPU_TARGETS, *tvm_targets.GPU_TARGETS)
    started, refused = start_each(providers, tvm_probe.start)
    ok = "llvm" in started
    return BackendProbe(
        ok=ok,
        version=str(tvm.__version__),
        detail="" if ok else refused["llvm"],
        formats=tvm_request.OFFER.formats,
        offer=tvm_request.OFFER,
        providers=providers,
        started=started,
        refused=refused,
        builds={"tvm": {"llvm": tvm_targets.llvm_version()}},
        cpu_used={"tvm": tvm_targets.features()},
    )


def _flat(result: Any) -> List[Any]:
    return [result] if hasattr(result, "numpy") else list(result)
