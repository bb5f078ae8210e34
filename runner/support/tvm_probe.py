"""Which of TVM's targets run a tiny model here."""

from __future__ import annotations

import shutil
import tempfile
from importlib import import_module
from typing import Any, Optional, Tuple

import tvm

from runner import tiny
from runner.errors import RunnerError
from runner.refusals import unsupported
from runner.support import tvm_build, tvm_compiler, tvm_model, tvm_targets


def start(kind: str) -> Optional[str]:
    """Run a tiny model by one target; why it did not, where it did not."""
    found, reason = device(kind)
    if reason is not None:
        return reason
    folder = tempfile.mkdtemp(prefix="tvm-probe-")
    try:
        imported = tvm_model.from_onnx(tiny.ONNX, folder, tiny.ROW.shape)
        host = tvm_targets.processor("host")
        if kind in tvm_targets.GPU_TARGETS:
            target = tvm_targets.gpu_target(kind, found, host)
        else:
            target = tvm_targets.cpu_target(kind, host)
        lowered = tvm_build.lower(imported.module, target, "default")
        executable = tvm_build.compile_lowered(lowered, target)
        if kind == "c":
            path, _ = tvm_compiler.compiler()
            flags = tvm_compiler.compiler_flags("host", fast_math=False)
            executable = tvm_compiler.compile_c(executable, folder, path, flags)
        machine = import_module("tvm.relax").VirtualMachine(executable, found)
        output = machine[tvm_model.ENTRY](tvm.runtime.tensor(tiny.ROW, found)).numpy()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    right: bool = tiny.is_right(output)
    return None if right else f"a tiny model gave {output.tolist()}"


def device(kind: str) -> Tuple[Any, Optional[str]]:
    """TVM's device for a target, and why there is none."""
    if kind in tvm_targets.CPU_TARGETS:
        return tvm.cpu(0), None
    if tvm_targets.ask(f"device_api.{kind}") is None:
        return None, tvm_targets.no_runtime(kind)
    found = getattr(tvm, kind)(0)
    return (found, None) if found.exist else (None, "TVM finds no device of this kind")


def the_gpu(kind: str, name: str) -> Any:
    """The one GPU, as TVM's device of a kind; `name` is what the driver calls it.

    Raises:
        RunnerError: kind `wrong-device` or `unsupported`, if TVM does not reach it that way.
    """
    found, reason = device(kind)
    if reason is not None:
        raise unsupported("tvm", "target", kind, tvm_targets.GPU_TARGETS, why=reason)
    named = str(found.device_name)
    if named != name:
        raise RunnerError(
            "wrong-device",
            f"tvm: its device {found} is {named!r} and the GPU of this cell is {name!r}; make that "
            "one the first, or ask for target cuda",
        )
    return found
