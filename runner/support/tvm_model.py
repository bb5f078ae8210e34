"""A model as TVM's Relax module, by TVM's importers, with what it takes and gives.

TVM compiles for fixed shapes: what the file leaves open is fixed to what a cell feeds.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from runner.backends.base import Shape, TensorSpec, comparable, only_input, require_file
from runner.errors import RunnerError, classify
from runner.support import onnx_model

ENTRY = "main"
"""The function that TVM's importers make."""

_QUANTISED = ("int8", "uint8", "int16")


@dataclass(frozen=True)
class Imported:
    """A Relax module and its one input and outputs."""

    module: Any
    input: TensorSpec
    outputs: Tuple[TensorSpec, ...]


def read(path: str, kind: str, fed: Tuple[int, ...], precision: str) -> Imported:
    """The model in a file of format `kind` (onnx | tflite), for the shape `fed`, batch first.

    Raises:
        RunnerError: kind `model` if the file is absent or damaged; `unsupported` if TVM can't
            import it.
    """
    require_file(path)
    with open(path, "rb") as file:
        data = file.read()
    if kind == "tflite":
        return _from_tflite(data, path, fed)
    return from_onnx(data, path, fed, precision)


def from_onnx(data: bytes, path: str, fed: Tuple[int, ...], precision: str = "default") -> Imported:
    """The model in the bytes of an ONNX file; `path` is where data beside it lies."""
    onnx = import_module("onnx")
    frontend = import_module("tvm.relax.frontend.onnx")
    try:
        model = onnx.load_model_from_string(data)
        onnx.load_external_data_for_model(model, os.path.dirname(os.path.abspath(path)))
    except Exception as error:
        raise refused(error, "model", path) from error
    if precision == "f32":
        onnx_model.require_float32("tvm", model)
    inputs = onnx_model.inputs(model)
    only_input("tvm", [value.name for value in inputs])
    name, declared = inputs[0].name, inputs[0].type.tensor_type
    named = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type)).name
    dtype = comparable("tvm", name, named)
    shape = fed
    if declared.HasField("shape") and len(declared.shape.dim) == len(fed):
        shape = tuple(
            int(size.dim_value) if size.HasField("dim_value") else got
            for size, got in zip(declared.shape.dim, fed)
        )
    try:
        module = frontend.from_onnx(
            model,
            shape_dict={name: list(shape)},
            dtype_dict={name: dtype},
            sanitize_input_names=False,
        )
    except Exception as error:
        raise refused(error, "unsupported", path) from error
    outputs = outputs_of(module, [value.name for value in model.graph.output])
    return Imported(module, TensorSpec(name, dtype, shape), outputs)


def from_program(program: Any, taken: TensorSpec, path: str) -> Imported:
    """The model in a program exported by PyTorch (`torch.export`), whose shapes are fixed."""
    frontend = import_module("tvm.relax.frontend.torch")
    try:
        module = frontend.from_exported_program(program)
        names = [str(name) for name in program.graph_signature.user_outputs]
        outputs = outputs_of(module, names)
    except Exception as error:
        raise refused(error, "unsupported", path) from error
    return Imported(module, taken, outputs)


def tflite_input(path: str) -> TensorSpec:
    """What a TensorFlow Lite file takes, as it declares it.

    Raises:
        RunnerError: kind `model` if the file is absent or damaged; `unsupported` for several inputs.
    """
    require_file(path)
    with open(path, "rb") as file:
        return _tflite_ends(file.read(), path)[1][0]


def _tflite_ends(data: bytes, path: str) -> Tuple[Any, List[TensorSpec], List[TensorSpec]]:
    """The parsed file, its one input, and its outputs."""
    tflite = import_module("tflite")
    if data[4:8] != b"TFL3":
        raise RunnerError("model", f"{path} is no TensorFlow Lite file")
    try:
        graph = tflite.Model.GetRootAsModel(data, 0)
        main = graph.Subgraphs(0)
        taken = [_tensor(tflite, main, int(index)) for index in main.InputsAsNumpy()]
        given = [_tensor(tflite, main, int(index)) for index in main.OutputsAsNumpy()]
    except RunnerError:
        raise
    except Exception as error:
        raise refused(error, "model", path) from error
    only_input("tvm", [spec.name for spec in taken])
    return graph, taken, given


def _from_tflite(data: bytes, path: str, fed: Tuple[int, ...]) -> Imported:
    frontend = import_module("tvm.relax.frontend.tflite")
    graph, taken, given = _tflite_ends(data, path)
    declared = taken[0].shape or ()
    # A TFLite file nearly always says batch 1 where its maker left the batch open.
    shape = (fed[0], *declared[1:]) if len(declared) == len(fed) else declared
    try:
        module = frontend.from_tflite(graph, shape_dict={taken[0].name: shape})
        outputs = outputs_of(module, [spec.name for spec in given], given)
    except Exception as error:
        if shape != declared:
            raise _fixed_batch(declared, fed[0], f" ({' '.join(str(error).split())})") from error
        raise refused(error, "unsupported", path) from error
    batches = {spec.shape[0] for spec in outputs if spec.shape}
    if shape != declared and batches != {fed[0]}:
        raise _fixed_batch(declared, fed[0], "")
    return Imported(module, _reshaped(taken[0], shape), outputs)


def _tensor(tflite: Any, graph: Any, index: int) -> TensorSpec:
    tensor = graph.Tensors(index)
    name = tensor.Name().decode("utf-8", "replace")
    kinds = {value: word for word, value in vars(tflite.TensorType).items() if word[0] != "_"}
    dtype = kinds.get(tensor.Type(), "?").lower()
    shape = tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    scale: Optional[float] = None
    zero_point: Optional[int] = None
    quantised = tensor.Quantization()
    if dtype in _QUANTISED and quantised is not None and quantised.ScaleLength():
        if quantised.ScaleLength() > 1:
            message = f"tvm: {name!r} is quantised per channel, and only one scale is supported"
            raise RunnerError("unsupported", message)
        scale, zero_point = float(quantised.Scale(0)), int(quantised.ZeroPoint(0))
    return TensorSpec(name, dtype, shape, scale, zero_point)


def outputs_of(
    module: Any, names: Sequence[str], declared: Sequence[TensorSpec] = ()
) -> Tuple[TensorSpec, ...]:
    """What the module gives, by its own types; names and scales are the file's.

    Raises:
        RunnerError: kind `unsupported`, for what is no tensor, or none that can be compared.
    """
    function = module[ENTRY]
    # The name of a function's type changed with version 0.26.
    given: Any = getattr(function, "ret_ty", None) or getattr(function, "ret_struct_info", None)
    kinds: List[Any] = list(given.fields) if hasattr(given, "fields") else [given]
    specs = []
    for position, (name, kind) in enumerate(zip(names, kinds)):
        if not hasattr(kind, "dtype") or not hasattr(kind, "shape"):
            message = f"tvm: {name} is {type(kind).__name__}, and only tensors can be compared"
            raise RunnerError("unsupported", message)
        if declared:
            spec = declared[position]
        else:
            spec = TensorSpec(name, comparable("tvm", name, str(kind.dtype)), None)
        specs.append(_reshaped(spec, _shape(kind.shape)))
    return tuple(specs)


def _shape(sizes: Optional[Any]) -> Optional[Shape]:
    if sizes is None:
        return None
    return tuple(_size(size) for size in sizes)


def _size(size: Any) -> Optional[int]:
    """A dimension; None where it is an expression of something that is not fixed."""
    try:
        return int(size)
    except (TypeError, ValueError):
        return None


def _reshaped(spec: TensorSpec, shape: Optional[Shape]) -> TensorSpec:
    return TensorSpec(spec.name, spec.dtype, shape, spec.scale, spec.zero_point)


def _fixed_batch(declared: Shape, batch: int, reason: str) -> RunnerError:
    return RunnerError(
        "unsupported",
        f"tvm: the model can't be imported for batch {batch} instead of {declared[0]}{reason}: ask "
        f"for batch {declared[0]}, or export it with a dynamic batch",
    )


def refused(error: Exception, kind: str, path: str) -> RunnerError:
    """What TVM said of a file, as an error of `kind` unless memory ran out."""
    found = classify(error, kind)
    hint = "; TVM's importer does not know it all: try another stack" if kind != "model" else ""
    return RunnerError(found.kind, f"{path}: {found.message}{hint}", found.detail)


def kernel_kind(name: str) -> str:
    """What kernels have in common that TVM numbers: `fused_conv2d13_add8` is `fused_conv2d_add`."""
    return re.sub(r"(?<=[A-Za-z])\d+(?=_|$)", "", name)
