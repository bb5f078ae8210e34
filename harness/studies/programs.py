"""The lines of a reproducer that run a model by one library, as its users would write them.

Each backend that is written out here becomes a function of ten lines that imports its own library
alone. Another backend, or a setting that is not written out, is run by the harness's runner, which
then lies beside the script.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Lines = list[str]

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True)
class Asked:
    """How one side runs a model.

    Attributes:
        backend: by its name.
        file: the model, beside the script.
        format: of the file.
        settings: of the backend.
        precision: `f32` or `default`.
        threads: how many.
        device: `cpu` or `cuda`.
        instruction_set: a ceiling, or `own`.
        input_axes: how the input is transposed before; None: not at all.
        output_axes: likewise the output.
        known: every name that a list of the backend's may hold, by setting.
    """

    backend: str
    file: str
    format: str
    settings: Mapping[str, Any]
    precision: str = "f32"
    threads: int = 1
    device: str = "cpu"
    instruction_set: str = "own"
    input_axes: Sequence[int] | None = None
    output_axes: Sequence[int] | None = None
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)


def program(asked: Asked) -> tuple[Lines, bool]:
    """The body of a function of `x` that returns the first output, and whether it needs the runner."""
    written = _WRITTEN.get(asked.backend)
    if written is not None and asked.device == "cpu" and asked.instruction_set == "own":
        rest = dict(asked.settings)
        lines = _variables(rest.pop("variables", None) or {})
        body = written(asked, rest)
        # What was not taken out of the settings is not in the lines.
        if body is not None and not rest:
            given = _given(body, asked.output_axes)
            return [*lines, *_transposed(asked.input_axes), *given], False
    return _by_runner(asked), True


def _variables(variables: Mapping[str, str]) -> Lines:
    return ["import os", f"os.environ.update({dict(variables)!r})"] if variables else []


def _transposed(axes: Sequence[int] | None) -> Lines:
    return [] if axes is None else [f"x = np.ascontiguousarray(x.transpose({list(axes)}))"]


def _given(body: Lines, axes: Sequence[int] | None) -> Lines:
    *before, last = body
    return [*before, last if axes is None else f"{last}.transpose({list(axes)})"]


def _onnxruntime(asked: Asked, rest: dict[str, Any]) -> Lines | None:
    level = rest.pop("graph_optimization_level", "all")
    name = {"all": "ORT_ENABLE_ALL", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC",
            "disabled": "ORT_DISABLE_ALL"}[level]  # fmt: skip
    off = list(rest.pop("disabled_passes", None) or ())
    only = rest.pop("passes", None)
    if only is not None:
        off += [one for one in asked.known.get("passes", ()) if one not in {*only, *off}]
    if rest.pop("provider", "auto") not in {"auto", "cpu"}:
        return None
    off_lines = [f"off = {off!r}"] if off else []
    disabled = ", disabled_optimizers=off" if off else ""
    return [
        "import onnxruntime as ort",
        "options = ort.SessionOptions()",
        f"options.intra_op_num_threads = {asked.threads}",
        f"options.graph_optimization_level = ort.GraphOptimizationLevel.{name}",
        *off_lines,
        f"session = ort.InferenceSession(HERE / {asked.file!r}, options{disabled},",
        '                               providers=["CPUExecutionProvider"])',
        "return session.run(None, {session.get_inputs()[0].name: x})[0]",
    ]


def _openvino(asked: Asked, rest: dict[str, Any]) -> Lines | None:
    if asked.format != "onnx":
        return None
    wanted: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": asked.threads,
    }  # fmt: skip
    if asked.precision == "f32":
        wanted["INFERENCE_PRECISION_HINT"] = "f32"
    if "execution_mode" in rest:
        wanted["EXECUTION_MODE_HINT"] = str(rest.pop("execution_mode")).upper()
    if "cpu_pinning" in rest:
        wanted["ENABLE_CPU_PINNING"] = rest.pop("cpu_pinning")
    if not rest.pop("snippets", True):
        wanted["SNIPPETS_MODE"] = "DISABLE"
    if (denormals := rest.pop("denormals_optimization", "default")) != "default":
        wanted["CPU_DENORMALS_OPTIMIZATION"] = denormals
    wanted |= rest.pop("properties", None) or {}
    return [
        "import openvino as ov",
        f"options = {wanted!r}",
        f"compiled = ov.Core().compile_model(HERE / {asked.file!r}, 'CPU', options)",
        "return compiled.create_infer_request().infer([x])[0]",
    ]


def _tvm(asked: Asked, rest: dict[str, Any]) -> Lines | None:
    pipeline = rest.pop("pipeline", "default")
    mcpu, fast = rest.pop("mcpu", "host"), rest.pop("fast_math", False)
    level = rest.pop("code_level", "own")
    if asked.format != "onnx" or rest.pop("target", "auto") not in {"auto", "llvm"}:
        return None
    if pipeline not in {"default", "default_build"} or rest.pop("tuner", "none") != "none":
        return None
    passes = _tvm_passes(asked, rest)
    if passes is None:
        return None
    before, off = passes
    cpu = 'tvm.get_global_func("target.llvm_get_system_cpu")()' if mcpu == "host" else repr(mcpu)
    more = ', "fast-math": True' if fast else ""
    more += "" if level == "own" else f', "opt-level": {level}'
    lowered = (
        'relax.get_pipeline("default_build")'
        if pipeline == "default_build"
        else "relax.get_default_pipeline(target)"
    )
    return [
        "import onnx",
        "import tvm",
        "from tvm import relax",
        "from tvm.relax.frontend.onnx import from_onnx",
        f"model = onnx.load(HERE / {asked.file!r})",
        "module = from_onnx(model, shape_dict={model.graph.input[0].name: list(x.shape)},",
        "                   sanitize_input_names=False)",
        f'target = tvm.target.Target({{"kind": "llvm", "mcpu": str({cpu}){more}}})',
        f"with target, tvm.transform.PassContext(disabled_pass={off!r}):",
        *(f"    module = relax.transform.{line}(module)" for line in before),
        f"    module = {lowered}(module)",
        "    library = tvm.compile(module, target, relax_pipeline=None)",
        'result = relax.VirtualMachine(library, tvm.cpu())["main"](tvm.runtime.tensor(x))',
        'return (result if hasattr(result, "numpy") else result[0]).numpy()',
    ]


_ON_TVM_GRAPH = {
    "FoldBatchnormToConv2D": ["FoldBatchnormToConv2D()", "FoldConstant()"],
}
"""How passes are called that take more than their name."""

_OURS_ON_TVM_GRAPH = frozenset({"ConvertLayout"})
"""Passes that the runner calls together with some of its own."""


def _tvm_passes(asked: Asked, rest: dict[str, Any]) -> tuple[Lines, list[str]] | None:
    """Passes on the graph, as they are called, and those of the pipeline that are left out."""
    off = list(rest.pop("disabled_passes", None) or ())
    only = rest.pop("passes", None)
    if only is None:
        return [], off
    running = asked.known.get("disabled_passes")
    if running is None or _OURS_ON_TVM_GRAPH & set(only):
        return None  # which of them are left out is not known, or takes more than a line to say
    graph = [name for name in only if name not in running]
    calls = [line for name in graph for line in _ON_TVM_GRAPH.get(name, [f"{name}()"])]
    return calls, [name for name in running if name not in only]


def _torch(asked: Asked, rest: dict[str, Any]) -> Lines | None:
    if asked.format != "pt2":
        return None
    onednn = rest.pop("onednn", True)
    compiled: Lines = []
    if asked.backend == "torch.compile":
        mode, freezing = rest.pop("mode", "default"), rest.pop("freezing", False)
        if mode == "off":
            return None
        flags = {**({"freezing": True} if freezing else {}), **(rest.pop("flags", None) or {})}
        if not all(_DOTTED.fullmatch(name) for name in flags):
            return None  # what is no name is nothing to write into a program
        if flags:
            compiled = ["import torch._inductor.config as inductor"]
            compiled += [f"inductor.{name} = {value!r}" for name, value in flags.items()]
        compiled += [f"model = torch.compile(model, mode={mode!r}, dynamic=False)"]
    return [
        "import torch",
        f"torch.set_num_threads({asked.threads})",
        *([] if onednn else ["torch.backends.mkldnn.set_flags(False)"]),
        f"model = torch.export.load(HERE / {asked.file!r}).module()",
        *compiled,
        "with torch.no_grad():",
        "    result = model(torch.from_numpy(x))",
        "return (result if isinstance(result, torch.Tensor) else result[0]).numpy()",
    ]


def _by_runner(asked: Asked) -> Lines:
    """By the harness's runner, which knows every backend and setting."""
    job = {
        "schema_version": 1,
        "kind": "infer",
        "backend": asked.backend,
        "settings": {n: list(v) if isinstance(v, tuple) else v for n, v in asked.settings.items()},
        "model": {"path": asked.file, "format": asked.format},
        "precision": asked.precision,
        "device": asked.device,
        "threads": asked.threads,
        "batch": 1,
        "inputs": {"kind": "array", "path": "input.npy", "count": 1},
        **({} if asked.instruction_set == "own" else {"instruction_set": asked.instruction_set}),
        **({"input_axes": list(asked.input_axes)} if asked.input_axes else {}),
        **({"output_axes": [list(asked.output_axes)]} if asked.output_axes else {}),
        "commands": [{"command": "answers"}, {"command": "finish"}],
    }
    variables = dict(asked.settings.get("variables") or {})
    return [
        "import json, os, subprocess, tempfile",
        f"job = json.loads({json.dumps(job, ensure_ascii=False)!r})",
        "with tempfile.TemporaryDirectory() as work:",
        '    job["work"] = work',
        '    job["model"]["path"] = str(HERE / job["model"]["path"])',
        '    job["inputs"]["path"] = str(HERE / job["inputs"]["path"])',
        '    (Path(work) / "job.json").write_text(json.dumps(job))',
        f"    variables = dict(os.environ, PYTHONPATH=str(HERE), **{variables!r})",
        '    command = [sys.executable, "-m", "runner", str(Path(work) / "job.json")]',
        "    subprocess.run(command, check=True, env=variables, stdout=subprocess.DEVNULL)",
        '    return np.load(Path(work) / "output_0.npy")',
    ]


_WRITTEN: dict[str, Callable[[Asked, dict[str, Any]], Lines | None]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "tvm": _tvm,
    "torch.eager": _torch,
    "torch.compile": _torch,
}
