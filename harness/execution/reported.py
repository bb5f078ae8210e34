"""What a runner reports of a conversion. None of it is trusted: it is looked at before it is used."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ExecutionError
from harness.plan.layouts import after, outputs_after


def require_sound(report: Mapping[str, Any], target: str) -> None:
    """Refuse an event `converted` that does not have the form that the harness relies on.

    Args:
        report: the event.
        target: the name of the file or folder that was to be made.

    Raises:
        ExecutionError: kind `conversion`, saying which field it is and what was reported.
    """
    files = report.get("files")
    if not _is_mapping_of_text(files) or not files:
        raise _unsound("files", files, "a table of the files that were made, with their hashes")
    for name in files:
        if Path(name).parts[:1] != (target,) or not name.isprintable():
            raise _unsound("files", name, f"{target}, or what is below it")
    if not _is_mapping_of_text(report.get("versions")):
        raise _unsound("versions", report.get("versions"), "a table of packages")
    difference = report.get("probe_max_abs_diff")
    number = isinstance(difference, int | float) and not isinstance(difference, bool)
    if difference is not None and not (number and math.isfinite(difference)):
        raise _unsound("probe_max_abs_diff", difference, "a finite number, or null")
    if (graph := report.get("graph")) is not None and not _is_optimised(graph):
        raise _unsound("graph", graph, "what an optimiser changed: changed, passes, operators")
    inputs, outputs = report.get("input_axes"), report.get("output_axes")
    if inputs is not None and not _is_transposition(inputs):
        raise _unsound("input_axes", inputs, _PERMUTATION)
    if outputs is not None and not (
        isinstance(outputs, list)
        and outputs
        and all(one is None or _is_transposition(one) for one in outputs)
    ):
        raise _unsound("output_axes", outputs, f"{_PERMUTATION}, or null, for each output")


def _is_optimised(graph: object) -> bool:
    """Whether an optimiser's account of its changes has the form that is kept."""
    if not isinstance(graph, Mapping) or not isinstance(graph.get("changed"), bool):
        return False
    passes = graph.get("passes")
    counts = [graph.get(f"operators_{when}") for when in ("before", "after")]
    hashes = [graph.get(f"sha256_{when}") for when in ("before", "after")]
    return (
        all(isinstance(one, str) and len(one) == 64 for one in hashes)
        and isinstance(passes, list)
        and all(isinstance(name, str) for name in passes)
        and all(
            isinstance(one, Mapping)
            and all(isinstance(k, str) and type(v) is int for k, v in one.items())
            for one in counts
        )
    )


_PERMUTATION = "the axes of a transposition that leaves the first one where it is"


def axes_of(conversion: Mapping[str, Any]) -> dict[str, Any]:
    """How inputs and outputs are transposed for a converted model, as `infer` jobs hold it.

    Args:
        conversion: the event `converted`, or the artifact's document.
    """
    named = ("input_axes", "output_axes")
    return {name: conversion[name] for name in named if conversion.get(name) is not None}


def accumulated(before: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """How what was made is fed with what the chain's first model takes.

    Args:
        before: how its source is: `input_axes`, `output_axes`.
        report: the event `converted`, which `require_sound` let through.

    Raises:
        ExecutionError: kind `conversion`: both do not fit together.
    """
    own = axes_of(report)
    first, then = before.get("input_axes"), own.get("input_axes")
    if not _fit(first, then):
        raise _misfit("input_axes", then, first)
    firsts, thens = before.get("output_axes"), own.get("output_axes")
    if firsts is not None and thens is not None:
        alike = len(firsts) == len(thens)
        if not alike or not all(_fit(one, two) for one, two in zip(firsts, thens, strict=True)):
            raise _misfit("output_axes", thens, firsts)
    return axes_of({"input_axes": after(first, then), "output_axes": outputs_after(firsts, thens)})


def check_plain(folder: Path, names: Iterable[str]) -> None:
    """Refuse what a converter left unless it is plain files: a link could lead anywhere.

    Args:
        folder: the conversion's.
        names: paths relative to it.
    """
    for name in names:
        path = folder
        parts = Path(name).parts
        if not parts or Path(name).is_absolute() or ".." in parts:
            raise ExecutionError("conversion", f"The converter left a file outside: {name}.")
        for part in parts[:-1]:
            path = path / part
            if not stat.S_ISDIR(_mode(path)):
                raise ExecutionError(
                    "conversion", f"The converter left no plain folder {path.name}."
                )
        path = path / parts[-1]
        if not stat.S_ISREG(_mode(path)):
            raise ExecutionError("conversion", f"The converter left no plain file {path.name}.")


def _mode(path: Path) -> int:
    return path.lstat().st_mode if os.path.lexists(path) else 0


def _is_mapping_of_text(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(one, str) for key, one in value.items()
    )


def _is_transposition(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(axis, int) and not isinstance(axis, bool) for axis in value)
        and value[0] == 0
        and sorted(value) == list(range(len(value)))
    )


def _fit(first: Sequence[int] | None, then: Sequence[int] | None) -> bool:
    return first is None or then is None or len(first) == len(then)


def _unsound(field: str, found: Any, wanted: str) -> ExecutionError:
    return ExecutionError(
        "conversion",
        f"The converter reports {ascii(found)[:200]} as `{field}`, which is not {wanted}.",
        "This is a fault of the converter: take another for this step, or another version of it.",
    )


def _misfit(field: str, own: Any, before: Any) -> ExecutionError:
    return ExecutionError(
        "conversion",
        f"The converter reports {own} as `{field}`, which does not fit its source's, {before}.",
        "This is a fault of the converter: take another for this step, or another version of it.",
    )
