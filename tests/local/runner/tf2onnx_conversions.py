"""Run inside an environment with tf2onnx: make TensorFlow's and Keras's files, and convert them.

`python tf2onnx_conversions.py FOLDER` does the jobs of FOLDER/jobs.json, each `[name, converter,
source, target, options]`. It writes FOLDER/done.json (by name what was converted, or the error) and
FOLDER/*.npz: of each source what it is fed (`x`) and what it answers (`y0`, `y1`, …).
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import keras_engine, tensorflow_source

SHAPE = (2, 16, 24, 3)
DRAWN = np.random.Generator(np.random.PCG64(3)).standard_normal(SHAPE).astype("f4")


def network(layers: Any, given: Any) -> Any:
    """What converters are known to stumble over: SAME padding, relu6, depthwise, batch norm."""
    drawn = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(given)
    drawn = layers.BatchNormalization()(drawn)
    drawn = layers.ReLU(6.0)(drawn)
    drawn = layers.DepthwiseConv2D(3, padding="same", activation="relu")(drawn)
    drawn = layers.AveragePooling2D(2, padding="same")(drawn)
    return layers.GlobalAveragePooling2D()(drawn)


def make_keras(keras: Any, folder: Path) -> None:
    layers = keras.layers
    keras.utils.set_random_seed(1)
    given = keras.Input(SHAPE[1:], name="image")
    pooled = network(layers, given)
    ends = [layers.Dense(3, name="z_first")(pooled), layers.Dense(2, name="a_second")(pooled)]
    two = keras.Model(given, ends)
    for name, low in (("moving_mean", -0.1), ("moving_variance", 0.5)):
        for weight in two.weights:
            if weight.path.endswith(name):
                weight.assign(np.linspace(low, low + 1, 6))
    two.save(folder / "two.keras")
    keras.Sequential([keras.Input((5,)), layers.Dense(4)]).save(folder / "sequential.keras")
    sides = keras.Input((None, None, 3), name="image")
    keras.Model(sides, network(layers, sides)).save(folder / "sides.keras")
    pair = [keras.Input((5,), name="one"), keras.Input((5,), name="other")]
    keras.Model(pair, layers.Add()(pair)).save(folder / "pair.keras")
    half = layers.Conv2D(2, 1, dtype="mixed_float16")(given)
    keras.Model(given, half).save(folder / "half.keras")
    inner = keras.Model(given, [layers.ReLU()(given), layers.Activation("tanh")(given)])
    keras.Model(given, inner(given)[::-1]).save(folder / "nested.keras")
    (folder / "damaged.keras").write_bytes((folder / "two.keras").read_bytes()[:3000])


def make_saved(tf: Any, folder: Path) -> None:
    module = tf.Module()
    module.kernel = tf.Variable(DRAWN[:1, :3, :3, :].transpose(1, 2, 3, 0))

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE[1:]), tf.float32, name="picture")])
    def serve(picture: Any) -> Any:
        drawn = tf.nn.conv2d(picture, module.kernel, 2, "SAME")
        return {"second": tf.nn.relu(drawn), "first": tf.reduce_mean(drawn, [1, 2])}

    tf.saved_model.save(module, folder / "saved", signatures=serve)

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def odd(x: Any) -> Any:
        return tf.raw_ops.Betainc(a=tf.abs(x) + 1.0, b=tf.abs(x) + 2.0, x=tf.nn.sigmoid(x))

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def infinite(x: Any) -> Any:
        return x / tf.zeros_like(x)

    for name, function in (("odd", odd), ("infinite", infinite)):
        tf.saved_model.save(tf.Module(), folder / name, signatures=function)
        definition = function.get_concrete_function().graph.as_graph_def()
        (folder / f"{name}.pb").write_bytes(definition.SerializeToString())
    with tf.Graph().as_default() as graph:
        fed = tf.compat.v1.placeholder(tf.float32, (None, *SHAPE[1:]), name="input")
        drawn = tf.nn.max_pool2d(fed, 3, 2, "SAME")
        tf.reduce_mean(drawn, [1, 2], name="output_0")
        tf.identity(drawn, name="output_1")
    (folder / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())


def make_lite(tf: Any, keras: Any, folder: Path) -> None:
    """The network in floats, in integers, in integers beneath floats, and with int8 weights."""
    freezing = import_module("runner.support.tensorflow_freeze")
    keras.utils.set_random_seed(2)
    given = keras.Input(SHAPE[1:])
    pooled = network(keras.layers, given)
    model = keras.Model(given, keras.layers.Dense(64)(keras.layers.Dense(64)(pooled)))
    ops, eight = tf.lite.OpsSet, tf.lite.OpsSet.TFLITE_BUILTINS_INT8
    sixteen = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    wanted = {"float": None, "open": None, "weights": (), "int8": eight, "int16": sixteen}
    for name, kernels in wanted.items():
        batch = None if name == "open" else 1
        spec = tf.TensorSpec((batch, *SHAPE[1:]), tf.float32, name="image")
        traced = tf.function(lambda fed: model(fed, training=False)).get_concrete_function(spec)
        lite = tf.lite.TFLiteConverter
        converter = lite.from_concrete_functions([freezing.frozen(traced)], tf.Module())
        if kernels is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kernels:
            converter.representative_dataset = lambda: ([row[None]] for row in DRAWN)
            converter.target_spec.supported_ops = [kernels]
        if name == "int8":
            converter.inference_input_type = converter.inference_output_type = tf.int8
        (folder / f"{name}.tflite").write_bytes(converter.convert())


def make_first(tf: Any, folder: Path) -> None:
    """Files that take images with channels first, or with too many to tell where they are."""
    lite = tf.lite.TFLiteConverter
    for name, channels in (("first", 3), ("many", 6)):
        spec = tf.TensorSpec((1, channels, 8, 6), tf.float32, name="image")
        mean = tf.function(lambda image: tf.reduce_mean(image, 3) * 2.0, input_signature=[spec])
        traced = mean.get_concrete_function()
        content = lite.from_concrete_functions([traced], tf.Module()).convert()
        (folder / f"{name}.tflite").write_bytes(content)
        (folder / f"{name}.pb").write_bytes(traced.graph.as_graph_def().SerializeToString())
        tf.saved_model.save(tf.Module(), folder / f"{name}.saved", signatures=mean)


def answer_lite(tf: Any, path: Path, fed: np.ndarray | None = None) -> None:
    plain = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(str(path), experimental_op_resolver_type=plain)
    (given,) = interpreter.get_input_details()
    if fed is None:
        fed = DRAWN if min(given["shape_signature"]) < 0 else DRAWN[:1]
    interpreter.resize_tensor_input(given["index"], fed.shape)
    interpreter.allocate_tensors()
    (end,) = interpreter.get_output_details()
    if given["dtype"] == np.int8:
        scale, zero = given["quantization"]
        fed = np.clip(np.round(fed / scale) + zero, -128, 127).astype(np.int8)
    interpreter.set_tensor(given["index"], fed)
    interpreter.invoke()
    np.savez(path.with_suffix(".npz"), x=fed, y0=interpreter.get_tensor(end["index"]))


def answer(tf: Any, path: Path, source_format: str, fed: np.ndarray) -> None:
    request = LoadRequest(str(path), source_format, {}, "default", "cpu", 1, len(fed), ())
    outputs = tensorflow_source.read("test", tf, request).step(tf.constant(fed))
    named = {f"y{place}": tensor.numpy() for place, tensor in enumerate(outputs)}
    np.savez(path.with_suffix(".npz"), x=fed, **named)


def main() -> None:
    folder = Path(sys.argv[1])
    keras = keras_engine.load(1, "tensorflow").module
    tf = import_module("tensorflow")
    make_keras(keras, folder)
    make_saved(tf, folder)
    make_lite(tf, keras, folder)
    make_first(tf, folder)
    for name in ("float", "open", "weights", "int8"):
        answer_lite(tf, folder / f"{name}.tflite")
    answer_lite(tf, folder / "first.tflite", DRAWN[:1, :8, :6].transpose(0, 3, 1, 2))
    answer(tf, folder / "sequential.keras", "keras", DRAWN[:, 0, 0, :1] * np.ones((2, 5), "f4"))
    for name in ("two", "sides", "nested"):
        answer(tf, folder / f"{name}.keras", "keras", DRAWN)
    answer(tf, folder / "saved", "savedmodel", DRAWN)
    answer(tf, folder / "graph.pb", "graphdef", DRAWN)
    done: dict[str, Any] = {}
    for name, converter, source, target, options in json.loads((folder / "jobs.json").read_text()):
        stem = converter.replace(">", "_to_").replace(":", "__")
        job = ConvertJob(
            work=str(folder),
            converter=converter,
            source=str(folder / source),
            source_format=converter.partition(">")[0],
            target=str(folder / target),
            options=options,
        )
        try:
            done[name] = import_module(f"runner.converters.{stem}").convert(job)
        except RunnerError as error:
            done[name] = {"kind": error.kind, "message": error.message}
    (folder / "done.json").write_text(json.dumps(done))


main()
