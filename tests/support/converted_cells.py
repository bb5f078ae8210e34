"""Converted cells in a synthetic store: routes with their steps, artifacts and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from support.store_factory import StoreFactory, flip_first, logits

from harness.analysis.sweep_result import sweep_result
from harness.canonical import key_of, write_json
from harness.execution.bundles import artifact_folder

MAKER = "tf2onnx-1.17"
ONNX = "weights>keras>onnx:tf2onnx"
LONG = "/some/where/model.onnx can't be <b>converted</b>: " + "many words " * 40

Check = Mapping[str, Any] | float | None


def steps_of(route: str, **last: Any) -> list[Any]:
    """The steps of a route, each made in `MAKER`; `last` are options of the last."""
    nodes = route.split(">")
    steps: list[dict[str, Any]] = []
    for place, target in enumerate(nodes[1:]):
        step = {
            "converter": f"{nodes[place].partition(':')[0]}>{target}",
            "environment": MAKER,
            "options": last if place == len(nodes) - 2 else {},
        }
        steps.append({"key": key_of([*steps, step]), **step})
    return steps


def convert(
    factory: StoreFactory,
    inputs: str,
    scores: np.ndarray,
    route: str,
    checks: Sequence[Check] = (),
    *,
    options: Mapping[str, Any] | None = None,
    **columns: Any,
) -> str:
    """A cell at the end of a route. `checks` are the steps' shares; None: not compared."""
    steps = steps_of(route, **(options or {}))
    for step, check in zip(steps, checks, strict=False):
        artifact(factory, step, check)
    return factory.cell(inputs, [scores], **route_columns(route, steps, columns))


def failed(
    factory: StoreFactory, inputs: str, route: str, checks: Sequence[Check] = (), **columns: Any
) -> dict[str, Any]:
    """What a sweep lists of a cell whose conversion failed after the steps of `checks`."""
    steps = steps_of(route)
    for step, check in zip(steps, checks, strict=False):
        artifact(factory, step, check)
    key = key_of({"route": route, **columns})
    listed = {
        "model": "mobilenet",
        "environment": "onnxruntime-1.17",
        "backend": "onnxruntime",
        "settings": {},
        "precision": "f32",
        "device": "cpu",
        "threads": 1,
        "batch": 1,
        "executor": "venv",
        "role": "cell",
        "inputs_key": inputs,
    }
    return {"key": key, **listed, **route_columns(route, steps, columns)}


def route_columns(route: str, steps: list[Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """What `cell.json` holds of a route."""
    wishes = {"opset": "own", "quantisation": "none", "folding": "own", "layout": "own"}
    made_in = steps[-1]["environment"] if steps else None
    way = key_of([route, [step["environment"] for step in steps]]) if steps else None
    return {
        "route": route,
        "steps": steps,
        "converted_in": made_in,
        "way": way,
        **wishes,
        **columns,
    }


def artifact(factory: StoreFactory, step: Mapping[str, Any], check: Check) -> None:
    """The document of what a step made; a number is the share that its check found."""
    folder = artifact_folder(factory.root, step["key"])
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"images": 4, "tolerance": 0.01, "note": ""}
    if check is None:
        note = "nothing runs its source by itself"
        found |= {"max_abs_diff": None, "share": None, "note": note}
    elif isinstance(check, Mapping):
        found |= check
    else:
        found |= {"max_abs_diff": 10 * check, "share": check}
    write_json(folder / "artifact.json", {"schema_version": 1, **step, "check": found})


def swept(root: Path, routes: int = 0) -> dict[str, Any]:
    """Keras, two ways to TFLite, one of them quantised too, and one way to PyTorch that fails."""
    factory = StoreFactory(root)
    x = logits(20, 4)
    inputs = factory.inputs(20, [int(c) for c in x.argmax(axis=1)])

    def add(route: str, flips: int, checks: tuple[Any, ...], **columns: Any) -> str:
        return convert(factory, inputs, flip_first(x, flips), route, checks, **columns)

    lite = {"environment": "litert-2", "backend": "tflite"}
    static = {"quantisation": "static"}
    keys = [
        add("weights>keras", 0, (None,), environment="keras-3", backend="keras.predict"),
        add("weights>keras>tflite", 0, (None, 2e-7), **lite),
        add("weights>keras>tflite:x", 2, (None, 0.004), **lite),
        add("weights>keras>tflite", 5, (None, 0.1), **lite, **static, options=static),
        add("weights>jax", 3, (None,), environment="jax-1"),
    ]
    keys += [add(f"weights>keras>tflite:n{i}", i % 4, (None, 1e-3), **lite) for i in range(routes)]
    broken = failed(factory, inputs, f"{ONNX}>torch", (None, 1e-6), environment="torch-2")
    message = f"step 3, onnx>torch in tf2onnx-1.17: {LONG}"
    factory.sweep(
        keys,
        failed=[broken],
        failures=[{"key": broken["key"], "kind": "conversion", "message": message}],
    )
    return sweep_result(root, "sweep-1")
