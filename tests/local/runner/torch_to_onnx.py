"""Run inside a PyTorch environment: small programs to ONNX by both exporters, and back.

`python torch_to_onnx.py FOLDER` writes one JSON object on standard output. `converted`: by exporter
and what was asked for, the opset that was written, the operators by kind, the recorded difference,
inputs, outputs and shapes, and the largest difference over another input. `refused`: what was told
about requests that can't be met, by a name for each.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from runner.converters import onnx_to_torch
from runner.errors import RunnerError
from runner.jobs import ConvertJob

TOOLS = ("dynamo", "torchscript")


class Net(torch.nn.Module):
    """Outputs in a dictionary, whose order is not that of its names."""

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
        pooled = torch.nn.functional.avg_pool2d(maps, 2).mean((2, 3))
        return {"z": self.head(torch.nn.functional.dropout(pooled, 0.5, self.training)), "a": maps}


class Logits(Net):
    def forward(self, x: Any) -> Any:
        return super().forward(x)["z"]


def made(kind: type[Net]) -> Net:
    torch.manual_seed(5)
    net = kind()
    with torch.no_grad():
        net.body[1].running_mean.uniform_(-1, 1)
        net.body[1].running_var.uniform_(0.5, 2)
        net.body[1].weight.uniform_(0.5, 2)
    return net.eval()


def programs(folder: Path) -> None:
    fed = torch.rand(2, 3, 8, 10)
    with torch.no_grad():
        for kind, name in ((Net, "maps"), (Logits, "logits")):
            torch.export.save(torch.export.export(made(kind), (fed,)), folder / f"{name}.pt2")
        batch = torch.export.Dim("batch", min=1, max=64)
        opened = torch.export.export(made(Logits), (fed,), dynamic_shapes=({0: batch},))
        torch.export.save(opened, folder / "open.pt2")
    (folder / "broken.pt2").write_bytes(b"nothing")


def job(folder: Path, converter: str, source: str, options: dict[str, Any]) -> ConvertJob:
    kind = "onnx" if source.endswith(".onnx") else "pt2"
    target = folder / f"made.{'pt2' if kind == 'onnx' else 'onnx'}"
    return ConvertJob(str(folder), converter, str(folder / source), kind, str(target), options)


def convert(folder: Path, tool: str, source: str, **options: Any) -> dict[str, Any]:
    module: Any = import_module(f"runner.converters.torch_to_onnx__{tool}")
    return dict(module.convert(job(folder, f"torch>onnx:{tool}", source, options)))


def looked_at(folder: Path, tool: str, source: str, rows: int, **options: Any) -> dict[str, Any]:
    said = convert(folder, tool, source, **options)
    model = onnx.load(folder / "made.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    fed = np.random.Generator(np.random.PCG64(9)).standard_normal((rows, 3, 8, 10), np.float32)
    got: Any = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: fed})
    with torch.inference_mode():
        answer = made(Net)(torch.from_numpy(fed))
    expected = [answer["z"].numpy(), answer["a"].numpy()][: len(got)]
    return {
        "opset": model.opset_import[0].version,
        "operators": dict(Counter(node.op_type for node in model.graph.node)),
        "probe": said["probe_max_abs_diff"],
        "versions": sorted(said["versions"]),
        "files": sorted(said["files"]),
        "names": [model.graph.input[0].name, *(value.name for value in model.graph.output)],
        "batch_is_open": model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 0,
        "shapes": [list(one.shape) for one in got],
        "difference": max(float(np.abs(g - e).max()) for g, e in zip(got, expected, strict=True)),
    }


def refusals(folder: Path) -> dict[str, list[str]]:
    asked: dict[str, Callable[[], Any]] = {
        "another batch": lambda: convert(folder, "dynamo", "logits.pt2", batch=3),
        "another size": lambda: convert(
            folder, "torchscript", "logits.pt2", batch=2, item_shape=[3, 9, 9]
        ),
        "old opset": lambda: convert(folder, "dynamo", "logits.pt2", batch=2, opset=17),
        "new opset": lambda: convert(folder, "torchscript", "logits.pt2", batch=2, opset=21),
        "folding": lambda: convert(folder, "torchscript", "logits.pt2", batch=2, folding="yes"),
        "layout": lambda: convert(folder, "dynamo", "logits.pt2", batch=2, layout="nhwc"),
        "broken": lambda: convert(folder, "dynamo", "broken.pt2"),
        "back": lambda: onnx_to_torch.convert(job(folder, "onnx>torch", "back.onnx", {"batch": 2})),
        "unknown": lambda: onnx_to_torch.convert(
            job(folder, "onnx>torch", "unknown.onnx", {"batch": 2})
        ),
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
    converted: dict[str, Any] = {}
    for tool in TOOLS:
        converted[tool] = looked_at(folder, tool, "maps.pt2", 2, batch=2)
        converted[f"{tool} unfolded"] = looked_at(
            folder, tool, "maps.pt2", 2, batch=2, folding=False
        )
        converted[f"{tool} open"] = looked_at(folder, tool, "open.pt2", 3, batch=3)
    for tool, opset in (("dynamo", 18), ("dynamo", 25), ("torchscript", 9), ("torchscript", 20)):
        converted[f"{tool} {opset}"] = looked_at(
            folder, tool, "logits.pt2", 2, batch=2, item_shape=[3, 8, 10], opset=opset
        )
    convert(folder, "dynamo", "logits.pt2", batch=2)
    model = onnx.load(folder / "made.onnx")
    onnx.save(model, folder / "back.onnx")
    model.graph.node[-1].op_type = "Nothing"
    onnx.save(model, folder / "unknown.onnx")
    print(json.dumps({"converted": converted, "refused": refusals(folder)}))


main()
