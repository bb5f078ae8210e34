"""Run inside an environment with TensorFlow: make odd Keras files and graphs, and convert.

`python weights_conversions.py FOLDER` does the jobs of FOLDER/jobs.json, each `[name, converter,
source, target, options]`, and writes FOLDER/done.json: by name what was converted, or the error.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import keras_engine, tensorflow_graphdef

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], "f4"), np.array([0.229, 0.224, 0.225], "f4")


def add_layers(file: Any) -> None:
    file["layers/conv2d_999/vars/0"] = np.ones((1, 1, 2, 2), "f4")
    # A number that the head has not got, so that the classes stay as they are.
    file["layers/dense_0/vars/0"] = np.ones((2, 5), "f4")


def drop_kernel(file: Any) -> None:
    del file["layers/conv2d_7/vars/0"]


def widen_kernel(file: Any) -> None:
    drop_kernel(file)
    file["layers/conv2d_7/vars/0"] = np.ones((1, 2), "f4")


def train(file: Any) -> None:
    """What Keras writes besides, for a model that was compiled and drops out."""
    file["optimizer/vars/0"] = np.ones(3, "f4")
    file["layers/dropout_77/seed_generator/vars/0"] = np.ones(2, "u4")


CHANGES = {"more": add_layers, "fewer": drop_kernel, "wide": widen_kernel, "trained": train}


def make_sources(keras: Any, folder: Path) -> None:
    """`efficientnet.weights.h5` as Keras saves it, the same changed, `whole.h5`, and `two.keras`."""
    model = keras.applications.EfficientNetB0(weights=None, classes=5, input_shape=(32, 32, 3))
    own = model.get_layer("normalization")
    own.set_weights([MEAN, DEVIATION, *own.get_weights()[2:]])
    model.save_weights(folder / "efficientnet.weights.h5")
    for name, change in CHANGES.items():
        shutil.copyfile(folder / "efficientnet.weights.h5", folder / f"{name}.weights.h5")
        with import_module("h5py").File(folder / f"{name}.weights.h5", "r+") as file:
            change(file)
    with np.load(folder / "mobilenet_v2.npz") as arrays:
        bad = {**arrays, "features.0.0.weight": np.full((32, 3, 3, 3), np.inf, "f4")}
        np.savez(folder / "damaged.npz", **bad)
    given = keras.Input((4,), name="given")
    zeros = {"kernel_initializer": "ones", "bias_initializer": "ones"}
    later = keras.layers.Dense(3, name="z_first", **zeros)(given)
    whole = keras.Model(given, [later, keras.layers.Dense(2, name="a_second", **zeros)(given)])
    whole.save(folder / "two.keras")
    whole.save(folder / "whole.h5")


def make_graphs(tf: Any, folder: Path) -> None:
    """Files that are no frozen graph of one input."""
    v1 = tf.compat.v1
    with v1.Graph().as_default() as graph:
        tf.identity(tf.constant(1.0))
    (folder / "unfed.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with v1.Graph().as_default() as graph:
        fed = v1.placeholder(tf.float32, (None, 2), name="fed")
        tf.add(fed, v1.get_variable("kept", (2,), use_resource=False))
    (folder / "variable.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with v1.Graph().as_default() as graph:
        pair = [v1.placeholder(tf.float32, (None, 2), name=name) for name in ("one", "other")]
        tf.add(*pair)
    (folder / "pair.pb").write_bytes(graph.as_graph_def().SerializeToString())
    (folder / "text.pb").write_text('node { name: "x" op: "Placeholder" }')
    (folder / "saved.pb").write_bytes(b"\x08\x01")


def main() -> None:
    folder = Path(sys.argv[1])
    keras = keras_engine.load(1, "tensorflow")
    tf = import_module("tensorflow")
    make_sources(keras.module, folder)
    make_graphs(tf, folder)
    done: dict[str, Any] = {}
    for name, converter, source, target, options in json.loads((folder / "jobs.json").read_text()):
        module = import_module("runner.converters." + converter.replace(">", "_to_"))
        form = converter.partition(">")[0]
        paths = str(folder / source), str(folder / target)
        try:
            done[name] = module.convert(
                ConvertJob(str(folder), converter, paths[0], form, paths[1], options)
            )
        except RunnerError as error:
            done[name] = {"kind": error.kind, "message": error.message}
    for path in sorted(folder.glob("*.pb")):
        try:
            graph = tensorflow_graphdef.read("tensorflow.graph", tf, str(path))
            specs = (graph.input, *graph.outputs)
            done[path.name] = [[spec.name, list(spec.shape or ())] for spec in specs]
        except RunnerError as error:
            done[path.name] = {"kind": error.kind, "message": error.message}
    if (folder / "efficientnet.keras").exists():
        model = keras.module.models.load_model(folder / "efficientnet.keras", compile=False)
        pixels = np.full((1, 32, 32, 3), 200.0, "f4")
        # What reaches the first convolution, before it is padded.
        first = keras.module.Model(model.input, model.get_layer("stem_conv_pad").input)
        done["normalised"] = np.ravel(keras.run(first, pixels)[0])[:3].tolist()
    (folder / "done.json").write_text(json.dumps(done))


main()
