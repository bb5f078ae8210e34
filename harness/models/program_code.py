"""Whether an exported PyTorch program would run foreign code when it is loaded.

Loading a `.pt2` file evaluates more than its operators: symbolic sizes go through
`sympy.sympify`, guards through `exec`, names of operators through attributes of the module `torch`
(which reach `torch.os`), containers through imports, and pickles through `torch.load`
(`torch/_export/serde/serialize.py`, `torch/export/_unlift.py`). What an exporter writes needs
little of that, and that little is allowed here; nothing is loaded.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_OPERATOR = re.compile(r"torch\.ops(\.\w+){2,}|_operator\.\w+|math\.\w+|torch\.sym_\w+")
_WORD = re.compile(r"\w{1,80}")
_CONTAINERS = frozenset(
    {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
)
# What sympy's and PyTorch's own classes are written as (`sympy.srepr`).
_SYMBOLIC = frozenset(
    {
        *("Symbol", "Dummy", "Integer", "Rational", "Float", "Half", "Infinity", "oo", "int_oo"),
        *("Add", "Mul", "Pow", "Abs", "Max", "Min", "Mod", "floor", "ceiling", "Piecewise"),
        *("FloorDiv", "CeilDiv", "CleanDiv", "ModularIndexing", "PythonMod", "Where", "Identity"),
        *("TruncToInt", "FloorToInt", "CeilToInt", "RoundToInt", "ToFloat", "TruncToFloat"),
        *("IntTrueDiv", "FloatTrueDiv", "PowByNatural", "FloatPow", "LShift", "RShift"),
        *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality", "LessThan", "GreaterThan"),
        *("StrictLessThan", "StrictGreaterThan", "And", "Or", "Not", "Xor", "true", "false"),
        *("NegativeInfinity", "NegativeOne", "One", "Zero", "IntInfinity", "NegativeIntInfinity"),
    }
)
_GUARDING = frozenset({"L", "math", "torch", "cast_symbool_to_symint_guardless"})
_GUARDED = frozenset(
    {
        *("size", "stride", "storage_offset", "shape", "dim", "ndim", "dtype", "device"),
        *("isnan", "inf", "floor", "ceil", "sym_min", "sym_max", "sym_ite", "sym_not"),
    }
)
_ALLOWED_NODES = (
    *(ast.Expression, ast.Load, ast.Call, ast.keyword, ast.BinOp),
    *(ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
    ast.IfExp,
)
_MOST_CHARACTERS = 100_000
"""Of one expression: longer ones are nothing that an exporter writes."""


def foreign_code(program: Mapping[str, Any]) -> Iterator[str]:
    """What in a program would run code that is no operator's, each as a person would name it.

    Args:
        program: the JSON document of the program.
    """
    for key, value in _strings(program):
        if key in {"target", "as_operator"} and _named(value) and not _OPERATOR.fullmatch(value):
            yield f"the operator {_short(value)}"
        elif key == "expr_str" and not _is_plain(value, _SYMBOLIC):
            yield f"the size {_short(value)}"
        elif key in {"in_spec", "out_spec"}:
            yield from (f"the container {_short(one)}" for one in _foreign_containers(value))
    for guard in program.get("guards_code") or ():
        if not isinstance(guard, str) or not _is_plain(guard, _GUARDING, _GUARDED):
            yield f"the guard {_short(str(guard))}"


def _named(value: str) -> bool:
    """Whether the name of an operator is looked up at all: others stay strings and fail."""
    return value.startswith(("torch", "_operator", "math", "#"))


def _strings(document: Any) -> Iterator[tuple[str, str]]:
    """Every string in a JSON document with the key that it stands under."""
    waiting = [("", document)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            waiting.extend((str(name), inner) for name, inner in value.items())
        elif isinstance(value, list):
            waiting.extend((key, inner) for inner in value)


def _is_plain(text: str, names: frozenset[str], attributes: frozenset[str] = frozenset()) -> bool:
    """Whether an expression is arithmetic over known names.

    Args:
        text: Python source.
        names: those that it may use.
        attributes: what may stand behind a dot; with none, no subscript may stand there either.
    """
    if len(text) > _MOST_CHARACTERS:
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval")
    # Nested too deeply, or no expression at all.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_allowed(node, names, attributes) for node in ast.walk(tree))


def _is_allowed(node: ast.AST, names: frozenset[str], attributes: frozenset[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Attribute):
        return node.attr in attributes
    if isinstance(node, ast.Subscript):
        return bool(attributes)
    if isinstance(node, ast.Constant):
        # Some functions evaluate what stands in a string: only names may.
        return not isinstance(node.value, str) or _WORD.fullmatch(node.value) is not None
    return isinstance(node, _ALLOWED_NODES)


def _foreign_containers(spec: str) -> Iterable[str]:
    try:
        waiting = [json.loads(spec)]
    except (ValueError, RecursionError):
        return [spec]
    found = []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            kind = value.get("type")
            if kind is not None and kind not in _CONTAINERS:
                found.append(str(kind))
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def _short(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= 60 else f"{words[:57]}…")
