"""A model through IREE's importer and compiler, to a module that its runtime loads."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar

import numpy as np
import onnx
from iree.compiler import tools
from iree.compiler.extras import onnx_importer
from iree.compiler.ir import Context
from onnx import shape_inference, version_converter

from runner.backends.base import TensorSpec, comparable, only_input
from runner.errors import RunnerError, classify
from runner.support import onnx_model
from runner.support.iree_mlir import NAME, Source
from runner.support.tally import tally

OPSET = 17
"""The importer's patterns are written for this opset and later ones; older models are raised."""

_Result = TypeVar("_Result")

_FLAGS = ("--iree-input-type={}", "--iree-hal-target-backends=llvm-cpu")
_KIND = re.compile(r"_dispatch_\d+_?(.*)$")
_SIZES = re.compile(r"_(?:\d+|D)(?:x(?:\d+|D))*(?:_.*)?$|_(?:[fi]\d+|bf16)(?:x.*)?$")
_UNKNOWN_FLAG = re.compile(r"Unknown command line argument.*?(?:Did you mean[^\n]*|$)", re.DOTALL)
_OPERATOR = re.compile(r"\"onnx\.(\w+)\"|\"(torch\.aten\.[\w.]+)\"|'(stablehlo\.\w+)'")


@dataclass(frozen=True)
class Compiled:
    """A module, with what it is made of.

    `opset` is that of an ONNX model as it was compiled; `operators` the calls of one run by kind;
    `input` and `outputs` have the shapes that it was compiled for.
    """

    module: bytes
    flags: Tuple[str, ...]
    opset: Optional[int]
    operators: Dict[str, int]
    input: TensorSpec
    outputs: Tuple[TensorSpec, ...]


def read(path: str) -> Any:
    """The model as `onnx.ModelProto`.

    Raises:
        RunnerError: kind `model`, if it can't be read; `unsupported`, if it has several inputs, or
            operators that ONNX has not got.
    """
    try:
        model = onnx.load(path)
    except Exception as error:
        refused = classify(error, "model")
        raise RunnerError(refused.kind, f"{path}: {refused.message}", refused.detail) from error
    inputs = onnx_model.inputs(model)
    only_input("iree", [value.name for value in inputs])
    _refuse_unknown(model, path)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.name = NAME
    return model


def _refuse_unknown(model: Any, path: str) -> None:
    """Name what ONNX does not know: IREE would complain of what comes after it, without a type."""
    made = {function.name for function in model.functions}
    unknown = {
        node.op_type
        for node in model.graph.node
        if node.domain in ("", "ai.onnx")
        and node.op_type not in made
        and not onnx.defs.has(node.op_type)
    }
    if unknown:
        raise RunnerError(
            "unsupported",
            f"IREE can't compile the operator {', '.join(sorted(unknown))} in {path}: ONNX "
            f"{onnx.__version__} has none of that name; write it with others",
        )


def fix_shapes(model: Any, shape: Sequence[int]) -> Any:
    """The model with the shape of its input, and every other shape found from it.

    Raises:
        RunnerError: kind `unsupported`, if it declares another one; `model`, if its parts do not
            fit each other.
    """
    declared = model.graph.input[0].type.tensor_type.shape.dim
    sizes = [d.dim_value if d.dim_value > 0 else None for d in declared]
    if len(sizes) != len(shape) or any(s not in (None, w) for s, w in zip(sizes, shape)):
        raise RunnerError(
            "unsupported",
            f"iree: the input {model.graph.input[0].name!r} is declared as {sizes} and "
            f"{list(shape)} is to be fed: use the model's own batch and shape, or export it with a "
            "dynamic batch",
        )
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for dimension, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, shape):
        dimension.Clear()
        dimension.dim_value = size
    del fixed.graph.value_info[:]
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        return shape_inference.infer_shapes(fixed, data_prop=True)
    except Exception as error:
        refused = classify(error, "model")
        message = f"the shapes of the model can't be found: {refused.message}"
        raise RunnerError(refused.kind, message, refused.detail) from error


def compile_model(model: Any, shape: Sequence[int], flags: Sequence[str]) -> Compiled:
    """Import and compile; a model below opset 17 that does not compile is raised to it first.

    Raises:
        RunnerError: kind `unsupported`, with IREE's words, for an operator that it can't take.
    """
    return raised_if_refused(model, lambda tried: _compiled(fix_shapes(tried, shape), flags))


def raised_if_refused(model: Any, attempt: Callable[[Any], _Result]) -> _Result:
    """What an attempt gives for a model; one below opset 17 that it refuses is raised to that.

    Args:
        model: as `onnx.ModelProto`.
        attempt: what imports and compiles a model; it is called at most twice.

    Raises:
        RunnerError: what the attempt raises; of kind `unsupported`, if the model can't be raised.
    """
    opset = onnx_model.opset(model)
    try:
        return attempt(model)
    except RunnerError as error:
        if opset >= OPSET or error.kind != "unsupported":
            raise
        first = error
    try:
        raised = version_converter.convert_version(model, OPSET)
    except Exception as error:
        raise RunnerError(
            first.kind,
            f"{first.message}; and the model can't be raised from opset {opset} to {OPSET}: "
            f"{' '.join(str(error).split())[:300]}",
            first.detail,
        ) from error
    return attempt(raised)


def imported(model: Any) -> bytes:
    """What IREE's importer makes of a model with fixed shapes: MLIR, as bytecode.

    Raises:
        RunnerError: kind `unsupported`, with the importer's words, if it can't take the model.
    """
    stream = io.BytesIO()
    try:
        with Context() as context:
            info = onnx_importer.ModelInfo(model)
            module = info.create_module(context=context).operation
            onnx_importer.NodeImporter.define_function(info.main_graph, module).import_all()
            module.verify()
            module.write_bytecode(stream)
    except Exception as error:
        failed = classify(error, "unsupported")
        message = f"IREE's importer can't take the model: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    return stream.getvalue()


def operators_of(statistics: str) -> Dict[str, int]:
    """Calls by kind from the compiler's statistics: of the main function, not of what sets it up."""
    return tally(
        f"{_kind(symbol)} (llvm-cpu)" if command == "dispatch" else command
        for _, command, symbol, *_ in _commands(statistics)
    )


def compile_mlir(source: Source, flags: Sequence[str]) -> Compiled:
    """Compile what is MLIR already, for the shape that it has.

    Raises:
        RunnerError: kind `unsupported`, with IREE's words, for an operator that it can't take.
    """
    module, operators = _module(source.data, "auto", flags)
    return Compiled(module, _told("auto", flags), None, operators, source.input, source.outputs)


def _compiled(model: Any, flags: Sequence[str]) -> Compiled:
    module, operators = _module(imported(model), "onnx", flags)
    return Compiled(
        module,
        _told("onnx", flags),
        onnx_model.opset(model),
        operators,
        _spec(model.graph.input[0]),
        tuple(_spec(value) for value in model.graph.output),
    )


def _told(kind: str, flags: Sequence[str]) -> Tuple[str, ...]:
    return (*(flag.format(kind) for flag in _FLAGS), *flags)


def _module(data: bytes, kind: str, flags: Sequence[str]) -> Tuple[bytes, Dict[str, int]]:
    """A module of the runtime, from MLIR of a kind, and the calls of one run."""
    folder = tempfile.mkdtemp(prefix="iree-")
    try:
        statistics = os.path.join(folder, "statistics.csv")
        extra = [
            *flags,
            "--iree-scheduling-dump-statistics-format=csv",
            f"--iree-scheduling-dump-statistics-file={statistics}",
        ]
        try:
            module = tools.compile_str(
                data, target_backends=["llvm-cpu"], input_type=kind, extra_args=extra
            )
        except tools.CompilerToolError as error:
            raise _refusal(str(error)) from error
        with open(statistics, encoding="utf-8") as file:
            return module, operators_of(file.read())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _spec(value: Any) -> TensorSpec:
    kind = value.type.tensor_type
    named = str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))
    dtype = comparable("iree", value.name, named)
    shape = tuple(d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim)
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)


def _refusal(said: str) -> RunnerError:
    """What the compiler said, shortened to the first complaints."""
    complaints = re.findall(r"error: (.*)", said)
    operator = _OPERATOR.search(" ".join(complaints)) or _OPERATOR.search(said)
    words = "; ".join(" ".join(each.split())[:300] for each in complaints[:2])
    if complaints and (operator or "torch." in said):
        which = (
            f"the operator {next(filter(None, operator.groups()))}" if operator else "an operator"
        )
        message = f"IREE can't compile {which} as this model uses it: {words}"
        return RunnerError("unsupported", message, said[-20000:])
    unknown = _UNKNOWN_FLAG.search(said)
    if unknown:
        message = f"iree: this version has no such flag: {' '.join(unknown.group().split())[:300]}"
        return RunnerError("unsupported", message, said[-20000:])
    killed = re.search(r"Error code: -(\d+)", said)
    if killed and not words:
        words = f"it crashed on this model (signal {killed.group(1)}); try another version of IREE"
    message = f"IREE's compiler failed: {words or ' '.join(said.split())[:500]}"
    found = classify(RuntimeError(message))
    return RunnerError(found.kind, message, said[-20000:])


def _commands(statistics: str) -> Iterator[List[str]]:
    """The rows of the tables of commands that belong to the main function."""
    mine = False
    for line in statistics.splitlines():
        if line.startswith("; ") and " > " in line:
            mine = f"@{NAME}" in line
        elif mine and line and not line.startswith((";", '"Depth"')):
            yield next(csv.reader([line]))


def _kind(symbol: str) -> str:
    """`conv` for `@main$async_dispatch_1::@main$async_dispatch_1_conv_64x55x55x3x3_f32`."""
    found = _KIND.search(symbol.rpartition("@")[2])
    name = found.group(1) if found else ""
    return _SIZES.sub("", name) or name or "dispatch"
