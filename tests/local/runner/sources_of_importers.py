"""Run inside an environment: small models for importers to read, and what each answers.

`python sources_of_importers.py torch FOLDER` writes exported programs; `… tensorflow FOLDER` a
SavedModels, frozen graphs and TensorFlow Lite files. Inputs lie in FOLDER/x.npy, channels first.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def write_torch(folder: Path) -> None:
    torch = import_module("torch")
    functional = torch.nn.functional

    class Net(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.convolution = torch.nn.Conv2d(3, 4, 3, padding=1)
            self.norm = torch.nn.BatchNorm2d(4)
            self.head = torch.nn.Linear(4, 5)

        def forward(self, x: Any) -> dict[str, Any]:
            # Like torchvision's own networks, it changes a value in place.
            y = functional.relu6(self.norm(self.convolution(x)), inplace=True)
            scores = self.head(y.mean((2, 3)))
            return {"scores": scores, "twice": scores * 2}

    class Odd(torch.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return torch.special.bessel_j0(x)

    class Half(torch.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return (x.half() * 2).float()

    rows = torch.from_numpy(np.load(folder / "x.npy"))
    net = Net().eval()
    with torch.no_grad():
        np.save(folder / "torch.npy", net(rows)["scores"].numpy())
        batch = torch.export.Dim("batch")
        programs = {
            "net": torch.export.export(net, (rows[:1],)),
            "open": torch.export.export(net, (rows,), dynamic_shapes=({0: batch},)),
            "odd": torch.export.export(Odd(), (rows[:1],)),
            "half": torch.export.export(Half(), (rows[:1],)),
        }
    for name, program in programs.items():
        torch.export.save(program, folder / f"{name}.pt2")


def write_tensorflow(folder: Path) -> None:
    tf = import_module("tensorflow")
    generator = np.random.Generator(np.random.PCG64(3))
    kernel = generator.standard_normal((3, 3, 3, 4)).astype("f4")

    class Net(tf.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(kernel)

        @tf.function(input_signature=[tf.TensorSpec([None, 5, 6, 3], tf.float32, name="input")])
        def serve(self, fed: Any) -> Any:
            seen = tf.nn.relu6(tf.nn.conv2d(fed, self.kernel, 1, "SAME"))
            return tf.identity(tf.reduce_mean(seen, [1, 2]), name="output_0")

    net = Net()
    rows = np.load(folder / "x.npy").transpose(0, 2, 3, 1)
    np.save(folder / "tensorflow.npy", net.serve(tf.constant(rows)).numpy())
    tf.saved_model.save(net, str(folder / "net.savedmodel"), signatures=net.serve)
    constants = import_module("tensorflow.python.framework.convert_to_constants")
    frozen = constants.convert_variables_to_constants_v2(net.serve.get_concrete_function())
    (folder / "net.graphdef").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    write_twelve(tf, folder)
    for name in ("net", "int8"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [net.serve.get_concrete_function()], net
        )
        if name == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([row[None]] for row in rows)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        (folder / f"{name}.tflite").write_bytes(converter.convert())


def write_twelve(tf: Any, folder: Path) -> None:
    """Twelve outputs, of which number n has n + 1 columns, and three whose names have no order."""

    def columns(fed: Any, number: int) -> Any:
        mean = tf.reshape(tf.reduce_mean(fed, [1, 2, 3]), [-1, 1])
        return tf.tile(mean, [1, number + 1]) * float(number + 1)

    def serve(fed: Any) -> dict[str, Any]:
        return {f"output_{number}": columns(fed, number) for number in range(12)}

    spec = tf.TensorSpec([None, 5, 6, 3], tf.float32, name="input")
    served = tf.function(serve, input_signature=[spec])
    tf.saved_model.save(tf.Module(), str(folder / "twelve.savedmodel"), signatures=served)
    listed = {
        "twelve": [f"output_{number}" for number in range(12)],
        "unsorted": ["zeta", "alpha", "mid"],
    }
    for name, ends in listed.items():
        with tf.Graph().as_default() as graph:
            fed = tf.compat.v1.placeholder(tf.float32, spec.shape, name="input")
            for number, end in enumerate(ends):
                tf.identity(columns(fed, number), name=end)
        (folder / f"{name}.graphdef").write_bytes(graph.as_graph_def().SerializeToString())


warnings.simplefilter("ignore")
{"torch": write_torch, "tensorflow": write_tensorflow}[sys.argv[1]](Path(sys.argv[2]))
