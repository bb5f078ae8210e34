"""The artifact `mlir`: a function in MLIR, as text or bytecode, with its weights in it.

StableHLO (also as JAX's portable bytecode), Torch's dialect with or without ONNX's operators: what
`iree-compile` takes. The function is called `main` and takes one tensor of a fixed shape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from iree.compiler import ir

from runner.backends.base import Shape, TensorSpec, comparable, only_input, require_file
from runner.errors import RunnerError, classify

NAME = "main"
_QUOTED = f'"{NAME}"'
"""How it is written: VHLO wraps it once more."""

_TENSOR = re.compile(
    r"vtensor<\[(?P<torch>[\d,?]*)\],(?P<torch_type>\w+)>"
    r"|tensor(?:_v\d+)?<(?P<plain>(?:[\d?]+x)*)(?:!vhlo\.)?(?P<plain_type>[a-z]+\d+\w*?)(?:_v\d+)?>"
)
_NARROW = re.compile(r"(?:^|[<,(\sx.])(f16|bf16|f8[A-Z0-9a-z]+)(?:_v\d+)?(?=[>,)\s]|$)")
_WORDS = {"f": "float", "bf": "bfloat", "i": "int", "si": "int", "ui": "uint"}


@dataclass(frozen=True)
class Source:
    """The bytes of a file, what its function takes and gives, and its floats below float32."""

    data: bytes
    input: TensorSpec
    outputs: Tuple[TensorSpec, ...]
    narrow: Tuple[str, ...]


def read(path: str, backend: str = "iree") -> Source:
    """The module in a file.

    Raises:
        RunnerError: kind `model`, if it is absent or no MLIR of this IREE, or has no function
            `main`; `unsupported`, if that takes several inputs or gives what is no tensor.
    """
    require_file(path)
    with open(path, "rb") as file:
        data = file.read()
    with ir.Context():
        try:
            module = ir.Module.parse(data)
        except Exception as error:
            refused = classify(error, "model")
            message = f"{path} can't be read as MLIR by this version of IREE: {refused.message}"
            raise RunnerError(refused.kind, message, refused.detail) from error
        signature, types = _signature(module)
    if signature is None:
        message = f"{path} holds no function {NAME!r}: convert the model again"
        raise RunnerError("model", message)
    takes, gives = tensors(signature)
    only_input(backend, [f"argument {index}" for index in range(len(takes))])
    if takes[0][1] is None or None in takes[0][1]:
        raise RunnerError(
            "unsupported",
            f"{backend}: the function takes {signature}, an open shape; convert the model for a "
            "batch and shape",
        )
    return Source(
        data,
        _spec(backend, "input", takes[0]),
        tuple(_spec(backend, f"output_{i}", one) for i, one in enumerate(gives)),
        narrow_floats(types),
    )


def tensors(
    signature: str,
) -> Tuple[List[Tuple[str, Optional[Shape]]], List[Tuple[str, Optional[Shape]]]]:
    """(MLIR's name of the type, shape) of each tensor that a function's type takes and gives."""
    before, _, after = signature.rpartition("->")
    return _tensors(before), _tensors(after)


def narrow_floats(types: str) -> Tuple[str, ...]:
    """The floating-point types below float32 in the text of types, by NumPy's names, sorted."""
    return tuple(sorted({_dtype(word) for word in _NARROW.findall(types)}))


def _signature(module: Any) -> Tuple[Optional[str], str]:
    """The type of the function, and those of everything that is computed in the module."""
    found: List[str] = []
    types = set()

    def visit(operation: Any) -> Any:
        for value in operation.results:
            types.add(str(value.type))
        named = operation.attributes
        if "sym_name" in named and "function_type" in named and _QUOTED in str(named["sym_name"]):
            found.append(str(named["function_type"]))
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return (found[0] if found else None), " ".join(sorted(types))


def _tensors(words: str) -> List[Tuple[str, Optional[Shape]]]:
    found = []
    for match in _TENSOR.finditer(words):
        sizes = re.findall(r"[\d?]+", match["torch"] or match["plain"] or "")
        shape = tuple(None if size == "?" else int(size) for size in sizes)
        found.append((match["torch_type"] or match["plain_type"], shape))
    return found


def _spec(backend: str, name: str, tensor: Tuple[str, Optional[Shape]]) -> TensorSpec:
    return TensorSpec(name, comparable(backend, name, _dtype(tensor[0])), tensor[1])


def _dtype(word: str) -> str:
    """NumPy's name of a type: `si64` is `int64`, `i1` is `bool`."""
    if word == "i1":
        return "bool"
    letters, digits = re.match(r"([a-z]+)(.*)", word).groups()  # type: ignore[union-attr]
    return f"{_WORDS.get(letters, letters)}{digits}"
