"""Reading documents and checking them against the JSON Schemas in `schemas/`.

The schemas are the contract that both sides test; checking by them keeps code and contract the
same. Only the part of draft 2020-12 that these schemas use is understood, and the runner's tests
compare its verdicts with a full implementation.
"""

from __future__ import annotations

import json
import math
import os
from functools import lru_cache
from typing import Any, Dict, List

from runner.errors import RunnerError

_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schemas")

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


@lru_cache(maxsize=None)
def schema(name: str) -> Dict[str, Any]:
    """The JSON Schema `schemas/<name>.json`."""
    with open(os.path.join(_FOLDER, name + ".json"), encoding="utf-8") as file:
        loaded: Dict[str, Any] = json.load(file)
    return loaded


def parse(text: str, what: str) -> Dict[str, Any]:
    """One JSON object from text.

    Raises:
        RunnerError: kind `job`, for anything but one whole object of finite numbers.
    """
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RunnerError("job", f"{what} is not valid JSON (truncated?): {error}") from None
    if not isinstance(document, dict):
        raise RunnerError("job", f"{what} must be a JSON object, not {_type_of(document)}")
    return document


def check(document: Dict[str, Any], name: str, tag: str, where: str = "") -> None:
    """Check a document against the definition in schema `name` that its key `tag` selects.

    `where` is what messages call it, where that is not the schema's name.

    Raises:
        RunnerError: kind `job`, naming every key that is missing, unknown or has a wrong value.
    """
    definitions = schema(name)["$defs"]
    kinds = [
        key
        for key, rule in definitions.items()
        if "const" in rule.get("properties", {}).get(tag, {})
    ]
    chosen = document.get(tag)
    if not isinstance(chosen, str) or chosen not in kinds:
        known = ", ".join(kinds)
        place = f"{where or name}.{tag}"
        raise RunnerError("job", f"{place}: must be one of {known}, got {chosen!r}")
    problems = _problems(document, definitions[chosen], definitions, where or name)
    if problems:
        raise RunnerError("job", "; ".join(problems))


def _problems(  # noqa: PLR0911 (one return a keyword of JSON Schema)
    value: Any, rule: Dict[str, Any], defs: Dict[str, Any], where: str
) -> List[str]:
    """What is wrong with a value; an empty list when nothing is."""
    if "$ref" in rule:
        return _problems(value, defs[rule["$ref"].rsplit("/", 1)[1]], defs, where)
    if "anyOf" in rule:
        tried = [_problems(value, option, defs, where) for option in rule["anyOf"]]
        return [] if [] in tried else [p[0] for p in tried]
    if "const" in rule and (value != rule["const"] or isinstance(value, bool)):
        return [f"{where}: must be {rule['const']!r}, got {value!r}"]
    if "enum" in rule and value not in rule["enum"]:
        known = ", ".join(repr(v) for v in rule["enum"])
        return [f"{where}: must be one of {known}, got {value!r}"]
    if "type" in rule:
        types = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
        if not any(_is_type(value, name) for name in types):
            return [f"{where}: must be of type {' or '.join(types)}, got {_type_of(value)}"]
    if isinstance(value, dict):
        return _object_problems(value, rule, defs, where)
    if isinstance(value, list):
        return _array_problems(value, rule, defs, where)
    return _scalar_problems(value, rule, where)


def _object_problems(
    value: Dict[str, Any], rule: Dict[str, Any], defs: Dict[str, Any], where: str
) -> List[str]:
    known = rule.get("properties", {})
    problems = [f"{where}: {k!r} is missing" for k in rule.get("required", []) if k not in value]
    rest = rule.get("additionalProperties", True)
    for key, item in value.items():
        if key in known:
            problems += _problems(item, known[key], defs, f"{where}.{key}")
        elif rest is False:
            problems.append(f"{where}: unknown key {key!r} (known: {', '.join(known)})")
        elif isinstance(rest, dict):
            problems += _problems(item, rest, defs, f"{where}.{key}")
    return problems


def _array_problems(
    value: List[Any], rule: Dict[str, Any], defs: Dict[str, Any], where: str
) -> List[str]:
    problems = []
    if len(value) < rule.get("minItems", 0):
        problems.append(f"{where}: must hold at least {rule['minItems']} items, got {len(value)}")
    if len(value) > rule.get("maxItems", math.inf):
        problems.append(f"{where}: must hold at most {rule['maxItems']} items, got {len(value)}")
    if "items" in rule:
        for index, item in enumerate(value):
            problems += _problems(item, rule["items"], defs, f"{where}[{index}]")
    return problems


def _scalar_problems(value: Any, rule: Dict[str, Any], where: str) -> List[str]:
    if isinstance(value, str) and len(value) < rule.get("minLength", 0):
        return [f"{where}: must not be empty"]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < rule.get("minimum", -math.inf):
            return [f"{where}: must be at least {rule['minimum']}, got {value}"]
        if value > rule.get("maximum", math.inf):
            return [f"{where}: must be at most {rule['maximum']}, got {value}"]
    return []


def _is_type(value: Any, name: str) -> bool:
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, _TYPES[name])


def _type_of(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "integer" if isinstance(value, int) else "number"
    return next((name for name, kind in _TYPES.items() if isinstance(value, kind)), "unknown")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
