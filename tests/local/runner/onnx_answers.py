"""Run inside an environment with ONNX Runtime: what each ONNX file of a folder takes and answers.

`python onnx_answers.py FOLDER` reads FOLDER/feeds.json, which says of each ONNX file the `.npz` whose
`x` it is fed, and how that is transposed. It writes FOLDER/answers.npz (`FILE/0`, …) and
FOLDER/described.json: names, dtypes and shapes of inputs and outputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


def main() -> None:
    folder = Path(sys.argv[1])
    answers: dict[str, np.ndarray] = {}
    described: dict[str, Any] = {}
    for name, (fed, axes) in json.loads((folder / "feeds.json").read_text()).items():
        session = onnxruntime.InferenceSession(
            str(folder / name), providers=["CPUExecutionProvider"]
        )
        ends = [*session.get_inputs(), *session.get_outputs()]
        described[name] = [[end.name, end.type, end.shape] for end in ends]
        with np.load(folder / fed) as arrays:
            x = arrays["x"] if axes is None else arrays["x"].transpose(axes)
        outputs = session.run(None, {ends[0].name: np.ascontiguousarray(x)})
        answers.update({f"{name}/{place}": output for place, output in enumerate(outputs)})
    np.savez(folder / "answers.npz", **answers)
    (folder / "described.json").write_text(json.dumps(described))


main()
