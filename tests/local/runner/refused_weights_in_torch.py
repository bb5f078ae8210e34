"""Run inside a PyTorch environment: weights and pixels that are no good, and a last image alone.

`python refused_weights_in_torch.py FOLDER` writes one JSON object on standard output: by name the
kind and message of what was refused. `seventeen`: the files of seeding on 17 images.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runner import architectures
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import torch_architecture, torch_seeding

NORMALISE = {"channels": "rgb", "divide": 255, "subtract": [0.5, 0.4, 0.3], "divide_after": [0.25]}
SEEDED = {"architecture": "mobilenet_v2", "classes": 5, "normalise": NORMALISE}
SQUEEZE = {"architecture": "squeezenet1_1", "item_shape": [3, 32, 32]}
PIXELS = (
    ("grey", "channels", "grey"),
    ("channel_list", "channels", ["rgb"]),
    ("not_a_number", "divide", float("nan")),
    ("zero", "divide", [1, 0, 1]),
    ("infinite", "subtract", [0, 0, float("inf")]),
    ("word", "subtract", "mean"),
    ("truth", "divide_after", True),
    ("two", "divide_after", [1, 2]),
)


def sources(folder: Path) -> None:
    known = architectures.find("squeezenet1_1")
    module = torch_architecture.build(known, known.library, 4, (3, 32, 32), {})
    shapes = torch_architecture.shapes(module, known)
    arrays = {n: torch_seeding.initial_array(0, n, shape) for n, shape in shapes.items()}
    np.savez(folder / "good.npz", **arrays)
    arrays["features.0.weight"][0, 0, 0, 0] = np.nan
    np.savez(folder / "damaged.npz", **arrays)
    generator = np.random.Generator(np.random.PCG64(6))
    pixels = generator.integers(0, 256, (17, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "pixels.npy", pixels)
    np.savez(folder / "pixels.npz", pixels=pixels)
    np.save(folder / "one.npy", pixels[:1])
    np.save(folder / "tiny.npy", pixels[:, :8, :12])


def told(folder: Path, converter: str, source: str, options: dict[str, Any]) -> dict[str, Any]:
    module = import_module("runner.converters." + converter.replace(">", "_to_"))
    form, target = converter.partition(">")[0], folder / "target"
    job = ConvertJob(str(folder), converter, str(folder / source), form, str(target), options)
    try:
        said: dict[str, Any] = module.convert(job)
    except RunnerError as error:
        assert not target.exists()
        return {"kind": error.kind, "message": error.message}
    return said


def main() -> None:
    folder = Path(sys.argv[1])
    sources(folder)
    small = {**SQUEEZE, "item_shape": [3, 8, 12]}
    document: dict[str, Any] = {}
    for converter in ("weights>torch", "weights>onnx"):
        document[f"{converter} damaged"] = told(folder, converter, "damaged.npz", SQUEEZE)
        document[f"{converter} small"] = told(folder, converter, "good.npz", small)
    for name, step, value in PIXELS:
        options = {**SEEDED, "normalise": {**NORMALISE, step: value}}
        document[name] = told(folder, "pixels>weights", "pixels.npy", options)
    document["archive"] = told(folder, "pixels>weights", "pixels.npz", SEEDED)
    document["one"] = told(folder, "pixels>weights", "one.npy", SEEDED)
    tiny = {**SEEDED, "architecture": "squeezenet1_1"}
    document["tiny"] = told(folder, "pixels>weights", "tiny.npy", tiny)
    # 32 pixels are one place in the end: one image alone would be a single value.
    document["seventeen"] = told(folder, "pixels>weights", "pixels.npy", SEEDED)
    print(json.dumps(document))


main()
