"""The artifact `relax`: TVM's Relax module as one JSON file, its weights in it.

It is what an importer made, before any pass: every target compiles it. Shapes are fixed, the batch
too. What the source called its tensors, and the scales of quantised ones, have no place in Relax;
they are an attribute of the module.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any, Dict, List, Set, Tuple

import numpy as np
import tvm

from runner.backends.base import TensorSpec, comparable, only_input, require_file
from runner.errors import RunnerError, classify
from runner.support import onnx_model, tvm_build, tvm_targets
from runner.support.tvm_model import ENTRY, Imported, outputs_of

_ABOUT = "runner"
_NARROW = ("float16", "bfloat16")
_TENSOR = ("name", "scale", "zero_point")


def write(imported: Imported, path: str) -> None:
    """Write a module, with the names and scales of what it takes and gives."""
    about = {
        "tvm": str(tvm.__version__),
        "input": _named(imported.input),
        "outputs": [_named(spec) for spec in imported.outputs],
    }
    module = imported.module.with_attr(_ABOUT, json.dumps(about, sort_keys=True))
    with open(path, "w", encoding="utf-8") as file:
        file.write(tvm.ir.save_json(module))


def read(path: str, fed: Tuple[int, ...], precision: str) -> Imported:
    """The module in a file, for the shape `fed`, batch first: it must be the module's own.

    Raises:
        RunnerError: kind `model` if the file is absent, damaged or of another version of TVM;
            `unsupported` for another shape, or for less than float32 where f32 is asked for.
    """
    require_file(path)
    module = _parsed(path)
    main = module[ENTRY]
    only_input("tvm", [str(variable) for variable in main.params])
    about = _about(module)
    kind = _type(main.params[0])
    shape = tuple(int(size) for size in kind.shape)
    if shape != fed:
        raise RunnerError(
            "unsupported",
            f"tvm: the module takes {list(shape)} and {list(fed)} is to be fed: convert the model "
            "for that batch and shape",
        )
    if precision == "f32":
        onnx_model.refuse_narrow("tvm", narrow_floats(module))
    told = about.get("input", {"name": str(main.params[0])})
    dtype = comparable("tvm", str(told["name"]), str(kind.dtype))
    taken = TensorSpec(str(told["name"]), dtype, shape, told.get("scale"), told.get("zero_point"))
    return Imported(module.without_attr(_ABOUT), taken, _outputs(module, about))


def narrow_floats(module: Any) -> List[str]:
    """The floating-point types below float32 among what a module's functions compute, sorted."""
    relax = import_module("tvm.relax")
    found: Set[str] = set()

    def visit(node: Any) -> None:
        dtype = getattr(_type(node), "dtype", None)
        if dtype is not None:
            found.add(str(dtype))

    for function in module.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return sorted(dtype for dtype in found if dtype in _NARROW or dtype.startswith("float8"))


def run(imported: Imported, fed: np.ndarray) -> List[np.ndarray]:
    """The outputs for one input, by TVM's LLVM on this processor."""
    target = tvm_targets.cpu_target("llvm", tvm_targets.processor("host"))
    lowered = tvm_build.lower(imported.module, target, "default")
    executable = tvm_build.compile_lowered(lowered, target)
    machine = import_module("tvm.relax").VirtualMachine(executable, tvm.cpu(0))
    result = machine[ENTRY](tvm.runtime.tensor(fed, tvm.cpu(0)))
    return [one.numpy() for one in ([result] if hasattr(result, "numpy") else list(result))]


def _parsed(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            module = tvm.ir.load_json(file.read())
    except Exception as error:
        refused = classify(error, "model")
        raise RunnerError(
            refused.kind,
            f"{path} can't be read as a Relax module by TVM {tvm.__version__}: {refused.message}; "
            "convert the model again, in the environment that is to run it",
            refused.detail,
        ) from error
    if not isinstance(module, tvm.ir.IRModule) or ENTRY not in _names(module):
        raise RunnerError("model", f"{path} holds no Relax module with the function {ENTRY}")
    return module


def _names(module: Any) -> List[str]:
    return [str(variable.name_hint) for variable in module.functions]


def _about(module: Any) -> Dict[str, Any]:
    """What the writer said; nothing, for a module that somebody else saved."""
    attributes = module.attrs
    if attributes is None or _ABOUT not in attributes:
        return {}
    about: Dict[str, Any] = json.loads(str(attributes[_ABOUT]))
    return about


def _outputs(module: Any, about: Dict[str, Any]) -> Tuple[TensorSpec, ...]:
    told = about.get("outputs")
    if told is None:
        count = len(getattr(_given(module), "fields", (None,)))
        return outputs_of(module, [f"output_{index}" for index in range(count)])
    plain = outputs_of(module, [str(one["name"]) for one in told])
    return tuple(
        TensorSpec(spec.name, spec.dtype, spec.shape, one.get("scale"), one.get("zero_point"))
        for spec, one in zip(plain, told)
    )


def _given(module: Any) -> Any:
    main = module[ENTRY]
    # The name of a function's type changed with version 0.26.
    return getattr(main, "ret_ty", None) or getattr(main, "ret_struct_info", None)


def _type(node: Any) -> Any:
    """The type of a value; its name changed with version 0.26."""
    return getattr(node, "ty", None) or getattr(node, "struct_info", None)


def _named(spec: TensorSpec) -> Dict[str, Any]:
    document = spec.as_document()
    return {name: document[name] for name in _TENSOR}
