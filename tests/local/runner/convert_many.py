"""Run inside an environment: convert each model of a folder and run what came out.

`python convert_many.py CONVERTER FOLDER THREADS` reads FOLDER/*.onnx with the input FOLDER/*.npy
beside each, and writes FOLDER/*.npz (the outputs, as ONNX lays them out) or FOLDER/*.json (the error).
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import keras_engine, keras_graph


def main() -> None:
    converter, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    target = converter.partition(">")[2]
    module = import_module("runner.converters." + converter.replace(">", "_to_"))
    keras = keras_engine.load(threads)
    for source in sorted(folder.glob("*.onnx")):
        x = np.load(source.with_suffix(".npy"))
        made = source.with_suffix(f".{target}")
        options = {"batch": len(x)}
        job = ConvertJob(
            str(folder), converter, str(source), "onnx", str(made), options, threads=threads
        )
        try:
            said = module.convert(job)
        except RunnerError as error:
            document = {"kind": error.kind, "message": error.message}
            source.with_suffix(".json").write_text(json.dumps(document))
            continue
        axes = said["output_axes"] or [None] * 9
        if target == "tflite":
            built = keras_graph.Built(None, said["input_axes"], tuple(axes))
            outputs = module.run(made.read_bytes(), x, built, threads)
        else:
            fed = x if said["input_axes"] is None else x.transpose(said["input_axes"])
            loaded = keras.module.models.load_model(str(made), compile=False, safe_mode=True)
            outputs = keras.run(loaded, np.ascontiguousarray(fed))
            outputs = [
                o if a is None else o.transpose(a) for o, a in zip(outputs, axes, strict=False)
            ]
        np.savez(source.with_suffix(".npz"), *outputs)


main()
