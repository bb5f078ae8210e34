"""The backend `iree`: models compiled by IREE for this processor, and run by its runtime.

ONNX files go through IREE's importer in the cell; `mlir` (StableHLO or Torch's dialect) is what an
importer made before, for a batch and shape that are fixed.

Settings:

- `driver` = auto | local-sync | local-task: in the calling thread, or by a pool of workers. `auto`
  takes local-sync for one thread.
- `target_cpu` = host | generic: all features of this processor, or those of any x86-64.
- `opt_level` = default | O0 | O1 | O2 | O3: `--iree-opt-level`; `default` does not pass it.
- `data_tiling` = default | true | false: `--iree-opt-data-tiling`, likewise.
- `compiler_flags`: further flags of its compiler, such as `{"iree-opt-const-eval": false}`.

IREE is imported when a model is loaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from runner import tiny
from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    installed_version,
    require_file,
    start_each,
    unsupported,
)
from runner.errors import RunnerError
from runner.instruction_sets import HONOURED, LLVM, OWN
from runner.support import ceiling, iree_flags, iree_form, iree_ir, native_threads, onnx_model

STACK = "iree"

_OFFER = Offer(
    backend="iree",
    formats=("onnx", "mlir"),
    settings={
        "driver": ("auto", "local-sync", "local-task"),
        "target_cpu": ("host", "generic"),
        "opt_level": ("default", "O0", "O1", "O2", "O3"),
        "data_tiling": ("default", True, False),
    },
    free={iree_flags.SETTING: "flags"},
    instruction_sets=HONOURED["iree"],
)
_DRIVERS = ("local-sync", "local-task")
_WORKER = "iree-worker"


class Iree:
    """One compiled module in a context of its own."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _accept(request)
        self._request = request
        self._driver = _driver(self._settings["driver"], request.threads)
        self._flags = iree_flags.of_settings(self._settings, request.instruction_set)
        self._device: Optional[Any] = None
        self._context: Optional[Any] = None
        self._function: Optional[Any] = None

    def load(self) -> None:
        """Read the model, and start the driver with its number of threads."""
        request = self._request
        require_file(request.path)
        self._model = self._read_mlir() if request.format == "mlir" else self._read_onnx()
        self._device = _device(self._driver, request.threads)

    def compile(self) -> None:
        """Import, compile for the batch asked for, and load the module."""
        self._compiled = self._compiled_with(())
        self._context, self._function = _loaded(self._compiled.module, self._device)

    def describe(self) -> Description:
        """The model's input and outputs, with the shapes that it was compiled for."""
        ran = _OFFER.ran(self._request, self._settings, "iree-base-compiler")
        used = ("iree-base-runtime",) + (() if self._request.format == "mlir" else ("onnx",))
        ran["versions"].update({name: installed_version(name) for name in used})
        ran["driver"] = self._driver
        ran["threads"] = _proven_threads(self._driver, self._request.threads)
        ran["flags"] = list(self._compiled.flags)
        if self._compiled.opset is not None:
            opset = onnx_model.opset(self._model)
            ran["opset"] = {"model": opset, "compiled": self._compiled.opset}
        ran["operators"] = dict(self._compiled.operators)
        ran["runs_in_compile"] = 0
        return Description(self._compiled.input, self._compiled.outputs, ran)

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call, and its outputs on the host."""
        function: Any = self._function
        results = function(batch)
        outputs = results if isinstance(results, (tuple, list)) else (results,)
        return [output.to_host() for output in outputs]

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """There is only the CPU: what shows that a ceiling on its instruction sets is kept."""
        flags = [flag for flag in self._compiled.flags if "target-cpu" in flag]
        proved = {"iree": f"compiled by {' '.join(flags)}"}
        return ceiling.told("iree", self._request, lambda: self.run(batch), proved)

    def fingerprint(self, folder: str) -> Dict[str, Any]:
        """The module that runs, less the bytes in it that nobody reads, and the driver."""
        compiled = self._compiled
        form = iree_form.fingerprint(compiled.module, compiled.operators, self._driver, folder)
        return form.as_document()

    def keep_ir(self, folder: str) -> None:
        """The module, and what the compiler makes on the way, by compiling once more."""
        iree_ir.keep(self._compiled_with, self._compiled.module, folder)

    def close(self) -> None:
        """Drop the function, its context and the device, in that order."""
        self._function = None
        self._context = None
        self._device = None

    def _compiled_with(self, more: Sequence[str]) -> Any:
        """The model compiled by the flags of the settings, and more."""
        from runner.support import iree_compile

        request = self._request
        flags = (*self._flags, *more)
        if request.format == "mlir":
            return iree_compile.compile_mlir(self._model, flags)
        return iree_compile.compile_model(self._model, (request.batch, *request.item_shape), flags)

    def _read_onnx(self) -> Any:
        from runner.support import iree_compile

        model = iree_compile.read(self._request.path)
        if self._request.precision == "f32":
            onnx_model.require_float32("iree", model)
        return model

    def _read_mlir(self) -> Any:
        from runner.support import iree_mlir

        source = iree_mlir.read(self._request.path)
        asked = (self._request.batch, *self._request.item_shape)
        if source.input.shape != asked:
            raise RunnerError(
                "unsupported",
                f"iree: the function takes {list(source.input.shape or ())} and {list(asked)} is "
                "to be fed: convert the model for that batch and shape",
            )
        if self._request.precision == "f32":
            onnx_model.refuse_narrow("iree", source.narrow)
        return source


def create(request: LoadRequest) -> Iree:
    """A model to be loaded; an ImportError where IREE is not installed, which it does not import."""
    if "iree" not in sys.modules and find_spec("iree") is None:
        raise ImportError("No module named 'iree'")
    return Iree(request)


def probe() -> BackendProbe:
    """Whether IREE compiles a tiny model here, and which of its drivers for the CPU run it."""
    import onnx
    from iree import runtime
    from iree.compiler import version

    from runner.support import iree_compile, iree_mlir

    model = onnx.load_from_string(tiny.ONNX)
    model.graph.name = iree_mlir.NAME
    compiled = iree_compile.compile_model(
        model, tiny.ROW.shape, ("--iree-llvmcpu-target-cpu=host",)
    )
    listed = tuple(name for name in _DRIVERS if name in runtime.query_available_drivers())
    started, refused = start_each(listed, lambda driver: _start(driver, compiled.module))
    ok = bool(started)
    return BackendProbe(
        ok=ok,
        version=installed_version("iree-base-compiler"),
        detail="" if ok else "; ".join(refused.values()) or "no driver for the CPU",
        formats=_OFFER.formats,
        offer=_OFFER,
        providers=listed,
        started=started,
        refused=refused,
        builds={
            "iree": {"version": version.VERSION, "git": str(version.REVISIONS.get("IREE", ""))}
        },
        cpu_used={"iree": _cpu_features()},
    )


def _start(driver: str, module: bytes) -> Optional[str]:
    """Run a tiny model by one driver; why it did not, where it did not."""
    from iree import runtime

    context, function = _loaded(module, runtime.get_device(driver, cache=False))
    output = np.array(function(tiny.ROW).to_host())
    del context
    return None if tiny.is_right(output) else f"a tiny model gave {output.tolist()}"


def _driver(asked: str, threads: int) -> str:
    """The driver that runs with a number of threads.

    Raises:
        RunnerError: kind `unsupported`, for several threads in the calling one.
    """
    if asked == "auto":
        return "local-sync" if threads == 1 else "local-task"
    if asked == "local-sync" and threads > 1:
        raise unsupported(
            "iree", "number of threads", threads, (1,), why="local-sync runs in the calling thread"
        )
    return asked


def _accept(request: LoadRequest) -> Dict[str, Any]:
    """The effective settings: under a ceiling `target_cpu` is LLVM's name for that.

    Raises:
        RunnerError: kind `unsupported`.
    """
    settings = _OFFER.accept(request)
    asked = request.instruction_set
    if asked != OWN:
        if settings["target_cpu"] != "host":
            why = "both choose the processor; leave the setting away"
            raise unsupported("iree", "instruction set with target_cpu", asked, (OWN,), why=why)
        settings["target_cpu"] = LLVM[asked][0]
    return settings


def _device(driver: str, threads: int) -> Any:
    """A device of the driver; the task system has exactly as many workers as threads."""
    from iree import runtime

    if driver == "local-task":
        runtime.flags.parse_flags(f"--task_topology_group_count={threads}")
    return runtime.get_device(driver, cache=False)


def _loaded(module: bytes, device: Any) -> Tuple[Any, Any]:
    """A context with the module in it, and its function."""
    from iree import runtime

    from runner.support.iree_mlir import NAME

    context = runtime.SystemContext(config=runtime.Config(device=device))
    loaded = runtime.VmModule.copy_buffer(context.instance, module)
    context.add_vm_module(loaded)
    return context, context.modules[loaded.name][NAME]


def _proven_threads(driver: str, threads: int) -> int:
    """The threads that compute: the calling one, or the workers that this process has.

    Raises:
        RunnerError: kind `unsupported`, where there are not as many as asked for.
    """
    found = 1 if driver == "local-sync" else native_threads.named(_WORKER)
    if found != threads:
        raise RunnerError(
            "unsupported",
            f"iree was asked to use {threads} threads and its task system has {'unknown' if found is None else found} workers: "
            "this version does not take --task_topology_group_count; use another version",
        )
    return found


def _cpu_features() -> Tuple[str, ...]:
    """The processor features that IREE's runtime finds; none where it has no such tool."""
    tool = os.path.join(os.path.dirname(sys.executable), "iree-cpuinfo")
    if not os.path.exists(tool):
        return ()
    said = subprocess.run([tool], capture_output=True, text=True, check=False, timeout=60)
    rows = [line.split() for line in said.stdout.splitlines()]
    return tuple(row[0] for row in rows if len(row) == 2 and row[1] == "1")
