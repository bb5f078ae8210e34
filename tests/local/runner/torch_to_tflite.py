"""Run inside the environment of litert-torch: small PyTorch programs to TensorFlow Lite.

`python torch_to_tflite.py FOLDER` writes one JSON object on standard output. `converted`: by what was
asked for, what was said, the shape of the file's input, how many outputs it has, whether weights are
integers, and the largest difference over another input. `refused`: what was told about requests that
can't be met.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

from runner.converters import torch_to_tflite
from runner.errors import RunnerError
from runner.jobs import ConvertJob

SHAPE = (2, 3, 8, 10)


class Net(torch.nn.Module):
    """Twelve outputs, more than a digit can number, in an order that is not that of their names."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(8),
            torch.nn.ReLU6(),
        )
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        maps = self.body(x)
        logits = self.head(maps.mean((2, 3)))
        return {f"o{place * 7 % 12}": logits * (place + 1) for place in range(11)} | {"maps": maps}


class Logits(Net):
    def forward(self, x: Any) -> Any:
        return super().forward(x)["o0"]


class Flat(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.relu(x) + 1


def made(kind: type[torch.nn.Module]) -> torch.nn.Module:
    torch.manual_seed(5)
    return kind().eval()


def programs(folder: Path) -> None:
    fed = torch.rand(*SHAPE)
    with torch.no_grad():
        for kind, name in ((Net, "many"), (Logits, "logits")):
            torch.export.save(torch.export.export(made(kind), (fed,)), folder / f"{name}.pt2")
        flat = torch.export.export(made(Flat), (torch.rand(2, 7),))
        torch.export.save(flat, folder / "flat.pt2")
        wide = torch.export.export(made(Logits).double(), (fed.double(),))
        torch.export.save(wide, folder / "double.pt2")


def convert(folder: Path, source: str, **options: Any) -> dict[str, Any]:
    target = str(folder / "made.tflite")
    options = {"batch": 2, **options}
    job = ConvertJob(str(folder), "torch>tflite", str(folder / source), "pt2", target, options)
    return dict(torch_to_tflite.convert(job))


def looked_at(folder: Path, source: str, kind: type[torch.nn.Module], **options: Any) -> Any:
    said = convert(folder, source, **options)
    interpreter = Interpreter(model_path=str(folder / "made.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    fed = np.random.Generator(np.random.PCG64(9)).standard_normal(SHAPE, np.float32)
    (taken,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
    axes = said["input_axes"]
    asked = fed if axes is None else np.ascontiguousarray(fed.transpose(axes))
    interpreter.set_tensor(taken["index"], asked)
    interpreter.invoke()
    got = [interpreter.get_tensor(output["index"]) for output in outputs]
    with torch.inference_mode():
        answer: Any = made(kind)(torch.from_numpy(fed))
    expected = list(answer.values()) if isinstance(answer, dict) else [answer]
    return {
        "said": said,
        "input": [int(size) for size in taken["shape"]],
        "outputs": len(outputs),
        "integers": any(
            detail["dtype"] == np.int8 and len(detail["quantization_parameters"]["scales"])
            for detail in interpreter.get_tensor_details()
        ),
        "difference": max(
            float(np.abs(g - e.numpy()).max()) for g, e in zip(got, expected, strict=True)
        ),
    }


def refusals(folder: Path) -> dict[str, list[str]]:
    asked: dict[str, Callable[[], Any]] = {
        "layout": lambda: convert(folder, "logits.pt2", layout="nwhc"),
        "no image": lambda: convert(folder, "flat.pt2", layout="nhwc"),
        "static": lambda: convert(folder, "logits.pt2", quantisation="static"),
        "nothing": lambda: convert(folder, "flat.pt2", quantisation="dynamic"),
        "double": lambda: convert(folder, "double.pt2"),
        "batch": lambda: convert(folder, "logits.pt2", batch=1),
        "opset": lambda: convert(folder, "logits.pt2", opset=17),
    }
    told = {}
    for name, ask in asked.items():
        try:
            ask()
        except RunnerError as error:
            told[name] = [error.kind, error.message]
    return told


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    programs(folder)
    converted = {
        "many": looked_at(folder, "many.pt2", Net),
        "nhwc": looked_at(folder, "logits.pt2", Logits, layout="nhwc", item_shape=[3, 8, 10]),
        "dynamic": looked_at(folder, "logits.pt2", Logits, quantisation="dynamic", layout="nhwc"),
    }
    print(json.dumps({"converted": converted, "refused": refusals(folder)}))


main()
