"""The backend `tvm`: ONNX, TensorFlow Lite and Relax by Apache TVM, compiled in the cell.

ONNX and TensorFlow Lite files are imported in the cell too; a `relax` file is what an importer made
before, for a batch and shape that are fixed.

Settings: `target` = auto (llvm on the CPU, cuda on a GPU) | llvm | c (C source, by the C compiler that
is here) | cuda | opencl | vulkan. For the CPU's targets also `mcpu` = host | generic | x86-64-v2 |
x86-64-v3 | x86-64-v4, `pipeline` = default | default_build (TVM's own names; the second does not fuse
operators), `fast_math` = false | true.

Nothing is tuned, so TVM's schedules for the CPU are loops without threads: `parallel_kernels` says
how many kernels split their work, beside the `threads` of the pool.
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

from runner import tiny
from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    installed_version,
    stages_between,
    start_each,
    unsupported,
)
from runner.errors import RunnerError
from runner.instruction_sets import GCC, HONOURED, LLVM, OWN
from runner.support import ceiling, cuda, tvm_build, tvm_ir, tvm_model, tvm_relax
from runner.support.tally import most

STACK = "tvm"

_PACKAGE = "apache-tvm"
_TARGETS = {"cpu": tvm_build.CPU_TARGETS, "cuda": tvm_build.GPU_TARGETS}
_OFFER = Offer(
    backend="tvm",
    formats=("onnx", "tflite", "relax"),
    devices=("cpu", "cuda"),
    settings={
        "target": ("auto", *tvm_build.CPU_TARGETS, *tvm_build.GPU_TARGETS),
        "mcpu": tvm_build.PROCESSORS,
        "pipeline": tvm_build.PIPELINES,
        "fast_math": (False, True),
    },
    instruction_sets=HONOURED["tvm"],
)


class Tvm:
    """A Relax module, imported in `load`, compiled for the shape that is fed in `compile`."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _accept(request)
        self._request = request
        self._imported: Optional[tvm_model.Imported] = None
        self._main: Optional[Any] = None
        self._stages: Optional[Tuple[Any, Any, Any]] = None
        self._folder: Optional[str] = None
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
        self._device = self._gpu(kind) if self._request.device == "cuda" else tvm.cpu(0)
        target = self._target(kind)
        pipeline = self._settings.get("pipeline", "default")
        lowered = tvm_build.lower(self._imported.module, target, pipeline)
        executable = tvm_build.compile_lowered(lowered, target)
        if self._request.keep_ir:
            self._stages = (self._imported.module, lowered.module, executable)
        if kind == "c":
            executable = self._by_compiler(executable)
        self._machine = import_module("tvm.relax").VirtualMachine(executable, self._device)
        self._main = self._machine[tvm_model.ENTRY]
        self._check_threads()
        self._ran.update(
            target=str(target),
            llvm=tvm_build.llvm_version(),
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
        ran = _OFFER.ran(self._request, self._settings, _PACKAGE)
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

    def keep_ir(self, folder: str) -> None:
        """Relax before and after TVM's passes, the kernels in TIR, and the code made of them."""
        if self._stages is not None:
            tvm_ir.keep(*self._stages, folder)
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
            return tvm_build.gpu_target(kind, self._device)
        asked = self._request.instruction_set
        if asked != OWN:
            mcpu, features = LLVM[asked]
            settings["mcpu"] = "".join((mcpu, *features))
        else:
            mcpu, features = tvm_build.processor(settings["mcpu"]), ()
        return tvm_build.cpu_target(kind, mcpu, fast_math=settings["fast_math"], features=features)

    def _gpu(self, kind: str) -> Any:
        """The one GPU, as TVM's device of a kind.

        Raises:
            RunnerError: kind `wrong-device` or `unsupported`, if TVM does not reach it that way.
        """
        self._proof = cuda.require("tvm", self._request.precision)
        device, reason = _device(kind)
        if reason is not None:
            raise unsupported("tvm", "target", kind, tvm_build.GPU_TARGETS, why=reason)
        named = str(device.device_name)
        if named != self._proof["name"]:
            raise RunnerError(
                "wrong-device",
                f"tvm: its device {device} is {named!r} and the GPU of this cell is "
                f"{self._proof['name']!r}; make that one the first, or ask for target cuda",
            )
        return device

    def _by_compiler(self, executable: Any) -> Any:
        settings = self._settings
        path, said = tvm_build.compiler()
        asked = self._request.instruction_set
        arch = settings["mcpu"] if asked == OWN else GCC[asked]
        flags = tvm_build.compiler_flags(arch, fast_math=settings["fast_math"])
        self._ran.update(compiler=said, compiler_flags=flags)
        self._folder = tempfile.mkdtemp(prefix="tvm-c-")
        return tvm_build.compile_c(executable, self._folder, path, flags)

    def _check_threads(self) -> None:
        """Refuse a pool of another size, which TVM makes where there are too few cores."""
        count = tvm_build.ask("runtime.NumThreads")
        taken = self._request.threads if count is None else int(count())
        if taken != self._request.threads:
            raise unsupported("tvm", "number of threads", self._request.threads, (taken,))


def create(request: LoadRequest) -> Tvm:
    """A module to be loaded; its pool of threads is made when it is first used."""
    os.environ["TVM_NUM_THREADS"] = str(request.threads)
    return Tvm(request)


def probe() -> BackendProbe:
    """Whether TVM imports, and which of its targets run a tiny model."""
    providers = (*tvm_build.CPU_TARGETS, *tvm_build.GPU_TARGETS)
    started, refused = start_each(providers, _start)
    ok = "llvm" in started
    return BackendProbe(
        ok=ok,
        version=str(tvm.__version__),
        detail="" if ok else refused["llvm"],
        formats=_OFFER.formats,
        offer=_OFFER,
        providers=providers,
        started=started,
        refused=refused,
        builds={"tvm": {"llvm": tvm_build.llvm_version()}},
        cpu_used={"tvm": tvm_build.features()},
    )


def _accept(request: LoadRequest) -> Dict[str, Any]:
    """The effective settings: `target` is never `auto`, and those of the other device are refused.

    Raises:
        RunnerError: kind `unsupported`.
    """
    settings = _OFFER.accept(request)
    if request.instruction_set != OWN and settings["mcpu"] != "host":
        why = "both choose the processor; leave the setting away"
        asked = request.instruction_set
        raise unsupported("tvm", "instruction set with mcpu", asked, (OWN,), why=why)
    targets = _TARGETS[request.device]
    if settings["target"] == "auto":
        settings["target"] = targets[0]
    if settings["target"] not in targets:
        why = f"this cell runs on the device {request.device}, and that target is for another"
        raise unsupported("tvm", "target", settings["target"], targets, why=why)
    if request.device == "cpu":
        return settings
    others = [name for name in request.settings if name != "target"]
    if others:
        why = "the others are about code for the CPU"
        raise unsupported("tvm", "setting on a GPU", others[0], ("target",), why=why)
    return {"target": settings["target"]}


def _start(kind: str) -> Optional[str]:
    """Run a tiny model by one target; why it did not, where it did not."""
    device, reason = _device(kind)
    if reason is not None:
        return reason
    folder = tempfile.mkdtemp(prefix="tvm-probe-")
    try:
        imported = tvm_model.from_onnx(tiny.ONNX, folder, tiny.ROW.shape)
        if kind in tvm_build.GPU_TARGETS:
            target = tvm_build.gpu_target(kind, device)
        else:
            target = tvm_build.cpu_target(kind, tvm_build.processor("host"), fast_math=False)
        executable = tvm_build.compile_lowered(
            tvm_build.lower(imported.module, target, "default"), target
        )
        if kind == "c":
            path, _ = tvm_build.compiler()
            flags = tvm_build.compiler_flags("host", fast_math=False)
            executable = tvm_build.compile_c(executable, folder, path, flags)
        machine = import_module("tvm.relax").VirtualMachine(executable, device)
        output = machine[tvm_model.ENTRY](tvm.runtime.tensor(tiny.ROW, device)).numpy()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    right: bool = tiny.is_right(output)
    return None if right else f"a tiny model gave {output.tolist()}"


def _device(kind: str) -> Tuple[Any, Optional[str]]:
    """TVM's device for a target, and why there is none."""
    if kind in tvm_build.CPU_TARGETS:
        return tvm.cpu(0), None
    if tvm_build.ask(f"device_api.{kind}") is None:
        return None, tvm_build.no_runtime(kind)
    device = getattr(tvm, kind)(0)
    return (device, None) if device.exist else (None, "TVM finds no device of this kind")


def _flat(result: Any) -> List[Any]:
    return [result] if hasattr(result, "numpy") else list(result)
