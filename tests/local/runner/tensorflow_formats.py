"""Run inside an environment with TensorFlow: make small models, and convert them.

`python tensorflow_formats.py FOLDER` reads FOLDER/rows.npy and FOLDER/jobs.json, each job `[name,
converter, source, target, options]`, and writes FOLDER/done.json (by name what was converted, or the
error) and FOLDER/expected_0.npy and on (what the Keras model answers to the rows).
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runner.errors import RunnerError
from runner.jobs import Calibration, ConvertJob, Inputs
from runner.support import keras_engine

CALIBRATED = 5


def draw(model: Any) -> Any:
    """The model with seeded weights."""
    generator = np.random.Generator(np.random.PCG64(3))
    shapes = [weight.shape for weight in model.get_weights()]
    model.set_weights([generator.normal(0, 0.2, shape).astype("f4") for shape in shapes])
    return model


def make_models(keras: Any, folder: Path) -> None:
    """`two.keras`, whose outputs are not in the order of their names, and `many.keras` with twelve."""
    layers = keras.layers
    image = keras.Input((8, 6, 3), name="image")
    flow = layers.Conv2D(32, 3, activation="relu")(image)
    flow = layers.GlobalAveragePooling2D()(layers.Conv2D(48, 3, activation="relu")(flow))
    heads = [layers.Dense(70, name="z_first")(flow), layers.Dense(40, name="a_second")(flow)]
    two = draw(keras.Model(image, heads))
    two.save(folder / "two.keras")
    for place, output in enumerate(two(np.load(folder / "rows.npy"), training=False)):
        np.save(folder / f"expected_{place}.npy", output.numpy())
    given = keras.Input((4,), name="given")
    sized = [layers.Dense(size + 1, name=f"of_{12 - size}")(given) for size in range(12)]
    draw(keras.Model(given, sized)).save(folder / "many.keras")


def make_functions(tf: Any, folder: Path) -> None:
    """SavedModels with an operator that TensorFlow Lite has not got, or not for integers."""
    kernel = tf.constant(np.ones((3, 3, 3, 64), "f4"))
    functions = {
        "erf": lambda image: {"y": tf.math.erf(image)},
        "sine": lambda image: {"y": tf.sin(tf.nn.conv2d(image, kernel, 1, "SAME"))},
        "nothing": lambda image: {"y": tf.nn.relu(image)},
        "damaged": lambda image: {"y": image / 0.0},
    }
    for name, function in functions.items():
        module = tf.Module()
        module.f = tf.function(
            function, input_signature=[tf.TensorSpec((None, 8, 6, 3), tf.float32, name="image")]
        )
        tf.saved_model.save(module, str(folder / f"{name}.savedmodel"), signatures=module.f)


def convert(folder: Path, converter: str, source: str, target: str, options: Any) -> Any:
    """What the converter says, or its refusal."""
    module = import_module("runner.converters." + converter.replace(">", "_to_"))
    form = converter.partition(">")[0]
    # Rows lie channels last; an ONNX model takes them channels first.
    axes = (0, 3, 1, 2) if form == "onnx" else None
    inputs = Inputs("array", str(folder / "rows.npy"), CALIBRATED)
    given = None if options.pop("uncalibrated", False) else tuple(range(CALIBRATED))
    calibration = None if given is None else Calibration(inputs, given, axes)
    paths = str(folder / source), str(folder / target)
    job = ConvertJob(str(folder), converter, paths[0], form, paths[1], options, calibration)
    try:
        return module.convert(job)
    except RunnerError as error:
        return {"kind": error.kind, "message": error.message}


def main() -> None:
    folder = Path(sys.argv[1])
    keras = keras_engine.load(1, "tensorflow")
    make_models(keras.module, folder)
    make_functions(import_module("tensorflow"), folder)
    jobs = json.loads((folder / "jobs.json").read_text())
    done = {name: convert(folder, *rest) for name, *rest in jobs}
    (folder / "done.json").write_text(json.dumps(done))


main()
