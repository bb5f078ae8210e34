"""Run inside the environment of onnx2tf: do each conversion of a list, and run what was made.

`python onnx2tf_conversions.py FOLDER` reads FOLDER/jobs.json, a list of convert jobs, and
FOLDER/rows.npy, what each source takes. It prints a list of the fields of `converted` or of the
errors, and writes FOLDER/NAME.npz with the answers of each artifact, laid out as the source's.
"""

from __future__ import annotations

import contextlib
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runner import converters
from runner.errors import RunnerError
from runner.jobs import ConvertJob, read_job


class Kept:
    """Events, kept instead of written."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}

    def emit(self, name: str, **fields: Any) -> None:
        """Keep one."""
        self.last = {"event": name, **fields}


def answers(target: Path, fed: np.ndarray) -> list[np.ndarray]:
    """Of a SavedModel to all rows, of a TensorFlow Lite file to as many as it takes."""
    tf = import_module("tensorflow")
    if target.is_dir():
        serve = tf.saved_model.load(str(target)).signatures["serving_default"]
        (name,) = serve.structured_input_signature[1]
        named = serve(**{name: tf.constant(fed)})
        return [named[name].numpy() for name in sorted(named)]
    interpreter = tf.lite.Interpreter(model_path=str(target))
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    interpreter.set_tensor(taken["index"], np.ascontiguousarray(fed[: taken["shape"][0]]))
    interpreter.invoke()
    return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]


def main() -> None:
    folder = Path(sys.argv[1])
    rows, ended = np.load(folder / "rows.npy"), []
    for document in json.loads((folder / "jobs.json").read_text()):
        events, target = Kept(), Path(document["target"])
        try:
            job = read_job(json.dumps(document))
            assert isinstance(job, ConvertJob)
            converters.convert(job, events)  # type: ignore[arg-type]
        except RunnerError as error:
            ended.append({"kind": error.kind, "message": error.message})
            continue
        said = events.last
        fed = (
            rows
            if "last" not in Path(document["source"]["path"]).stem
            else rows.transpose(0, 2, 3, 1)
        )
        axes = said["input_axes"] or range(fed.ndim)
        got = answers(target, np.ascontiguousarray(fed.transpose(*axes)))
        turned = said["output_axes"] or [None] * len(got)
        np.savez(
            folder / f"{target.name}.npz",
            *[one if a is None else one.transpose(a) for one, a in zip(got, turned, strict=True)],
        )
        ended.append(said)
    print(json.dumps(ended), file=sys.__stdout__)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        main()
