"""What ONNX Runtime makes of models, in its shipped environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import onnx
from support.installed import cannot_install

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

ENVIRONMENT = "onnxruntime-1.31"
_PROGRAM = """
import sys
from pathlib import Path
import numpy as np, onnxruntime
onnxruntime.set_default_logger_severity(4)
for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: np.load(path.with_suffix(".npy"))}
    np.savez(path.with_suffix(".npz"), *session.run(None, fed))
"""


def runtime_answers(
    folder: Path, models: dict[str, tuple[onnx.ModelProto, np.ndarray]]
) -> dict[str, list[np.ndarray]]:
    """The outputs of each model for its input; skips where ONNX Runtime can't be installed."""
    try:
        python = provision(resolve(ENVIRONMENT), SilentProgress()).python
    except HarnessError as error:
        cannot_install(ENVIRONMENT, error)
    for name, (model, fed) in models.items():
        onnx.save(model, folder / f"{name}.onnx")
        np.save(folder / f"{name}.npy", fed)
    subprocess.run([str(python), "-c", _PROGRAM, str(folder)], check=True, timeout=300)
    answers = {}
    for name in models:
        with np.load(folder / f"{name}.npz") as file:
            answers[name] = [file[each] for each in file.files]
    return answers
