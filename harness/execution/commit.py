"""Turning what a runner wrote into committed bundles: checked, converted, renamed once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.canonical import atomic_folder
from harness.errors import ExecutionError
from harness.execution.bundles import (
    answers_folder,
    artifact_folder,
    inputs_folder,
    is_whole,
    read_array,
    seal,
    write_parquet,
)
from harness.execution.compiled_forms import costs_of, form_of
from harness.execution.reported import check_plain
from harness.plan.cells import Cell
from harness.plan.conversions import Conversion

TOP_K = 10
_CHUNK_VALUES = 4_000_000
# Rows of probabilities add up to one; a bf16 softmax over a thousand classes is this close.
_SUM_TOLERANCE = 1e-2
_STEP_TOLERANCE = 1e-3
# Of an 8-bit softmax: its steps (TFLite fixes them), and how far rounding up can carry a sum.
_SOFTMAX_LEVELS = 256
_QUANTISED_EXCESS = 0.05

Array = npt.NDArray[Any]
Document = Mapping[str, Any]


def commit_inputs(store: Path, key: str, document: Document, images: Mapping[str, Array]) -> None:
    """Keep the list of images that cells are compared over.

    Args:
        store: the results folder.
        key: the inputs key.
        document: `inputs.json` without its key.
        images: columns `name`, `sha256`, `label` (None where unknown), each [N].
    """
    target = inputs_folder(store, key)
    if is_whole(target):
        return
    _clear(target)
    with atomic_folder(target) as staged:
        _write(staged / "inputs.json", {"schema_version": 1, "key": key, **document})
        numbers = np.arange(len(images["name"]), dtype=np.int32)
        write_parquet(
            staged / "images.parquet",
            {"image": numbers, **images},
            "image::INTEGER AS image, name::VARCHAR AS name, sha256::VARCHAR AS sha256, "
            "label::INTEGER AS label",
        )
        seal(staged)


def commit_answers(
    store: Path,
    cell: Cell,
    *,
    made: Path,
    loaded: Document,
    reply: Document,
    environment: Document,
    count: int,
    classes: int | None,
    largest_label: int | None = None,
    opened_ns: int | None = None,
) -> None:
    """Check a cell's outputs and commit them as its bundle.

    Args:
        store: the results folder.
        cell: whose answers they are.
        made: the folder that the runner wrote to.
        loaded: the runner's `loaded` event.
        reply: its reply to `answers`.
        environment: what `environment.json` is to hold.
        count: N, the number of inputs.
        classes: length of the class list that the labels come from, or None.
        largest_label: of the inputs; None where there are no labels.
        opened_ns: from the start of its worker until it had loaded; None if unknown.

    Raises:
        ExecutionError: kind `invalid-output`: outputs that are not what was declared, do not
            fit the class list, or hold NaN scores.
        StoreError: the store is full or read-only.
    """
    indexes = [int(output["index"]) for output in reply["outputs"]]
    if indexes != list(range(len(indexes))) or not indexes:
        raise ExecutionError("invalid-output", f"The outputs are numbered {indexes}.")
    arrays = [_output(made, output, cell.output_bytes, count) for output in reply["outputs"]]
    scores = _scores(cell, arrays, classes, largest_label)
    kind, source = _kind(cell, scores)
    target = answers_folder(store, cell.key)
    _clear(target)
    with atomic_folder(target) as staged:
        outputs = []
        for described, array in zip(reply["outputs"], arrays, strict=True):
            index = int(described["index"])
            if scores is not None and index == 0:
                file = "logits.npy"
                np.save(staged / file, scores.astype(np.float32, copy=False))
            else:
                file = f"output_{index}.npy"
                np.save(staged / file, array)
            shape = list(scores.shape if scores is not None and index == 0 else array.shape)
            outputs.append(
                {
                    "index": index,
                    "name": str(described["name"]),
                    "dtype": str(array.dtype),
                    "shape": shape,
                    "file": file,
                }
            )
        if scores is not None:
            _write_top_k(staged / "topk.parquet", scores[:, cell.class_offset :])
        _write(staged / "cell.json", cell.record())
        _write(staged / "environment.json", environment)
        _write(
            staged / "answers.json",
            {
                "schema_version": 1,
                "outputs": outputs,
                "scores": None if scores is None else 0,
                "kind": kind,
                "kind_source": source,
                "nonfinite": int(reply["nonfinite"]),
                "load_ns": loaded["load_ns"],
                "compile_ns": loaded["compile_ns"],
                "first_inference_ns": loaded["first_inference_ns"],
                "duration_ns": reply["duration_ns"],
                **({} if opened_ns is None else {"opened_ns": int(opened_ns)}),
                **costs_of(loaded),
                **({"compiled": form_of(loaded["compiled"])} if "compiled" in loaded else {}),
                "input": loaded["input"],
                "ran": loaded["ran"],
            },
        )
        log = made / "log.txt"
        if log.is_file():
            shutil.copyfile(log, staged / "log.txt")
        else:
            (staged / "log.txt").touch()
        seal(staged)


def commit_artifact(
    store: Path, conversion: Conversion, made: Path, result: Document, check: Document | None
) -> Path:
    """Keep a converted model; returns its folder.

    Args:
        store: the results folder.
        conversion: the step that made it.
        made: the folder that the converter wrote to.
        result: its event `converted`.
        check: what comparing it with its source found; None: nobody could run it.
    """
    target = artifact_folder(store, conversion.key)
    _clear(target)
    with atomic_folder(target) as staged:
        for name in result["files"]:
            # The name comes from a runner: only a plain file of the conversion's own folder.
            check_plain(made, [name])
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / name, staged / name)
        if (made / "log.txt").is_file():
            shutil.copyfile(made / "log.txt", staged / "log.txt")
        _write(
            staged / "artifact.json",
            {
                "schema_version": 1,
                "key": conversion.key,
                "converter": conversion.converter,
                "environment": conversion.environment,
                "environment_identity": conversion.environment_identity,
                "source_sha256": conversion.source_sha256,
                "source_format": conversion.source_format,
                "source_artifact": conversion.before.key if conversion.before else None,
                "lineage": [step.record() for step in conversion.chain],
                "format": conversion.target_format,
                "options": dict(conversion.options),
                "versions": result["versions"],
                "probe_max_abs_diff": result["probe_max_abs_diff"],
                "graph": result.get("graph"),
                "input_axes": result["input_axes"],
                "output_axes": result["output_axes"],
                "check": check,
            },
        )
        seal(staged)
    return target


def _output(made: Path, described: Document, max_bytes: int, count: int) -> Array:
    array = read_array(made / Path(str(described["file"])).name, max_bytes=max_bytes)
    if array.ndim < 1 or len(array) != count:
        raise ExecutionError(
            "invalid-output",
            f"Output {described['name']} holds {array.shape} for {count} inputs.",
            "Each input must give one row of every output.",
        )
    return array


def _scores(
    cell: Cell, arrays: Sequence[Array], classes: int | None, largest_label: int | None
) -> Array | None:
    """The first output as class scores [N, C], or None where it holds something else."""
    first = arrays[0]
    singles = all(length == 1 for length in first.shape[2:])
    looks_like = first.ndim >= 2 and singles and first.shape[1] >= 2 and first.dtype.kind == "f"
    if cell.output == "values" or (cell.output == "auto" and not looks_like):
        return None
    if not looks_like:
        raise ExecutionError(
            "invalid-output",
            f"The first output is {first.dtype} {list(first.shape)}, which holds no class scores.",
            "Use --output values to compare it value by value.",
        )
    scores = first.reshape(len(first), -1)
    if reason := class_mismatch(scores.shape[1], cell.class_offset, classes, largest_label):
        raise ExecutionError("invalid-output", *reason)
    for start in range(0, len(scores), step := max(1, _CHUNK_VALUES // scores.shape[1])):
        bad = np.isnan(scores[start : start + step]).any(axis=1)
        if bad.any():
            raise ExecutionError(
                "invalid-output",
                f"The scores of input {start + int(bad.argmax())} (and maybe others) are NaN.",
                "The model or the stack overflows: try another precision, or look at the log.",
            )
    return scores


def class_mismatch(
    width: int, offset: int, classes: int | None, largest_label: int | None = None
) -> tuple[str, str] | None:
    """Why so many scores do not fit the classes (message, remedy), or None where they do.

    Args:
        width: scores an input, the offset's included.
        offset: scores before the first class.
        classes: length of the class list, or None where there is none.
        largest_label: the largest label given, or None where there is none.
    """
    if width - offset < 1:
        return (
            f"The model gives {width} scores, so a class offset of {offset} leaves none.",
            "Give --class-offset 0, or 1 where the first class is background.",
        )
    if largest_label is not None and largest_label >= width - offset and classes is None:
        return (
            f"The labels go up to {largest_label}, but the model gives {width} scores "
            f"(offset {offset}).",
            "Labels are class indexes from 0; give the list that belongs to this model.",
        )
    if classes is None or width - offset == classes:
        return None
    if 0 < width - classes <= 1:
        hint = f"Its first class is probably background: --class-offset {width - classes}."
    elif width == classes:
        hint = "Give --class-offset 0."
    else:
        hint = "Give the list of its own classes with --synsets FILE, or leave labels away: --no-labels."
    return (
        f"The model gives {width} scores (offset {offset}), but the class list has {classes}.",
        hint,
    )


def _kind(cell: Cell, scores: Array | None) -> tuple[str, str]:
    if scores is None:
        return "values", "declared" if cell.output == "values" else "detected"
    if cell.output != "auto":
        return cell.output, "declared"
    return ("probabilities" if _are_probabilities(scores) else "logits"), "detected"


def _are_probabilities(scores: Array) -> bool:
    """Whether every row adds up to one; of an 8-bit softmax, to no more than one.

    Such an output comes in steps of 1/256. Most of a thousand probabilities are below half a step
    and so were rounded away: what is left of a row adds up to clearly less than one.
    """
    in_steps = True
    sums = np.empty(len(scores))
    for start in range(0, len(scores), step := max(1, _CHUNK_VALUES // scores.shape[1])):
        part = np.asarray(scores[start : start + step], dtype=np.float64)
        if part.min() < 0 or part.max() > 1 + _SUM_TOLERANCE:
            return False
        sums[start : start + step] = part.sum(axis=1)
        levels = part * _SOFTMAX_LEVELS
        in_steps = in_steps and bool(np.abs(levels - np.rint(levels)).max() < _STEP_TOLERANCE)
    if sums.min() <= 0:
        return False
    if in_steps:
        return bool(sums.max() <= 1 + _QUANTISED_EXCESS)
    return bool(np.abs(sums - 1).max() <= _SUM_TOLERANCE)


def _write_top_k(path: Path, scores: Array) -> None:
    """The best classes of each input; equal scores stand in the order of their class."""
    count, width = scores.shape
    k = min(TOP_K, width)
    best = np.empty((count, k), dtype=np.int32)
    for start in range(0, count, step := max(1, _CHUNK_VALUES // width)):
        part = -np.asarray(scores[start : start + step])
        best[start : start + step] = np.argsort(part, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(np.asarray(scores), best.astype(np.int64), axis=1)
    write_parquet(
        path,
        {
            "image": np.repeat(np.arange(count, dtype=np.int32), k),
            "rank": np.tile(np.arange(k, dtype=np.int32), count),
            "class": best.reshape(-1),
            "score": values.reshape(-1).astype(np.float32),
        },
        'image::INTEGER AS image, "rank"::INTEGER AS "rank", class::INTEGER AS class, '
        "score::FLOAT AS score",
    )


def _clear(target: Path) -> None:
    """Make room for a bundle, unless another sweep has committed a whole one meanwhile."""
    if not is_whole(target, deep=True):
        shutil.rmtree(target, ignore_errors=True)


def _write(path: Path, document: Document) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
