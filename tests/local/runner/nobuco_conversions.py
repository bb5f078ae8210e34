"""Run inside the environment of nobuco: export small networks, convert them, and run what was made.

`python nobuco_conversions.py FOLDER CASE…` prints one JSON object: for each case the fields of
`converted` with the largest difference of the file's answers to the network's (`differences`, one
for each output), or the error; and `pools`, how pooling compares to PyTorch's. Only the last case
may get as far as nobuco, which changes PyTorch for good.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from runner.converters import torch_to_keras__nobuco as converter
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import keras_engine
from runner.support import nobuco_operators as operators

ROWS = np.random.Generator(np.random.PCG64(5)).standard_normal((2, 3, 13, 11)).astype(np.float32)


class Network(nn.Module):
    """What convolutional networks are made of; gives a map of 10 channels, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.bare = nn.BatchNorm2d(8, affine=False)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.head = nn.Linear(10, 5)
        self.scale = nn.Parameter(torch.randn(8, 1, 1))
        for norm in (self.norm, self.bare):
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, fed: torch.Tensor) -> Any:
        x = functional.relu6(self.norm(self.first(fed)), inplace=True)
        x = torch.add(x, self.bare(x) * self.scale, alpha=0.5)
        y = functional.max_pool2d(self.depthwise(x), 3, stride=2, padding=1, ceil_mode=True)
        z = functional.avg_pool2d(fed, 3, stride=2, padding=1)
        z = functional.max_pool2d(z, 3, stride=2, padding=1, ceil_mode=True)
        y = torch.cat([y, functional.silu(z)[:, :2]], 1)
        pooled = functional.adaptive_avg_pool2d(y, 1).view(fed.shape[0], -1)
        return y, self.head(functional.dropout(pooled, 0.5, self.training))


class Halves(nn.Module):
    """Computes in halves on the way."""

    def forward(self, fed: torch.Tensor) -> torch.Tensor:
        return (fed.half() * 2).float()


class Infinite(nn.Module):
    """Divides by zero."""

    def forward(self, fed: torch.Tensor) -> torch.Tensor:
        return fed / (fed - fed)


class Unknown(nn.Module):
    """Holds an operator that nobuco has no converter for."""

    def forward(self, fed: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(fed)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "network": ("network", {"batch": 2, "item_shape": [3, 13, 11]}),
    "open_nchw": ("open", {"batch": 2, "layout": "nchw"}),
    "batch": ("network", {"batch": 4}),
    "layout": ("network", {"batch": 2, "layout": "chwn"}),
    "opset": ("network", {"batch": 2, "opset": 17}),
    "unknown": ("unknown", {"batch": 2}),
    "halves": ("halves", {"batch": 2}),
    "inside": ("inside", {"batch": 2}),
    "integers": ("integers", {"batch": 2}),
    "infinite": ("infinite", {"batch": 2}),
    "garbled": ("garbled", {"batch": 2}),
}


def export(folder: Path) -> list[np.ndarray]:
    """Write every source; the answers of the network."""
    torch.manual_seed(0)
    network, fed = Network().eval(), torch.from_numpy(ROWS)
    modules: dict[str, nn.Module] = {
        "network": network,
        "unknown": Unknown(),
        "inside": Halves(),
        "infinite": Infinite(),
    }
    for name, module in modules.items():
        torch.export.save(torch.export.export(module, (fed,)), folder / f"{name}.pt2")
    batch = torch.export.Dim("batch")
    opened = torch.export.export(network, (fed,), dynamic_shapes=({0: batch},))
    torch.export.save(opened, folder / "open.pt2")
    with torch.inference_mode():
        answers = [np.array(tensor) for tensor in network(fed)]
    narrow = torch.export.export(nn.Linear(11, 2).half().eval(), (fed.half(),))
    torch.export.save(narrow, folder / "halves.pt2")
    whole = torch.export.export(nn.ReLU().eval(), (fed.int(),))
    torch.export.save(whole, folder / "integers.pt2")
    (folder / "garbled.pt2").write_bytes(b"no archive")
    return answers


def pools() -> dict[str, Any]:
    """The largest difference of pooling by padding to PyTorch's own; and what was refused."""
    generator = np.random.Generator(np.random.PCG64(1))
    refused, worst, count = set(), 0.0, 0
    for size, stride, padding, ceil in itertools.product((2, 3), (1, 2, 3), (0, 1), (False, True)):
        for side in (5, 6, 7, 8):
            fed = torch.from_numpy(generator.standard_normal((1, 2, side, side + 1)))
            arguments = (fed, [size], [stride], [padding])
            pairs = [
                (operators.max_pool2d, (*arguments, [1], ceil), functional.max_pool2d),
                (operators.avg_pool2d, (*arguments, ceil), functional.avg_pool2d),
            ]
            for ours, given, theirs in pairs:
                try:
                    got = ours(*given)
                except RunnerError as error:
                    refused.add(error.message)
                    continue
                plain = [one[0] if isinstance(one, list) else one for one in given]
                worst = max(worst, float((got - theirs(*plain)).abs().max()))
                count += 1
    for function, given in (
        (operators.max_pool2d, ([2], [2], [0], [2])),
        (operators.avg_pool2d, ([3], [1], [1], False, False)),
        (operators.avg_pool2d, ([2], [2], [0], False, True, 3)),
    ):
        try:
            function(torch.zeros(1, 1, 6, 6), *given)
        except RunnerError as error:
            refused.add(error.message)
    return {"refused": sorted(refused), "largest": worst, "count": count}


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = export(folder)
    ended: dict[str, Any] = {}
    ended["pools"] = pools()
    for name in names:
        source, options = CASES[name]
        target = folder / f"{name}.keras"
        job = ConvertJob(
            str(folder), "torch>keras:nobuco", str(folder / f"{source}.pt2"), "pt2", str(target),
            options,
        )  # fmt: skip
        try:
            said = converter.convert(job)
        except RunnerError as error:
            ended[name] = {"kind": error.kind, "message": error.message}
            continue
        keras = keras_engine.load(1, engine="tensorflow")
        model = keras.module.models.load_model(target, compile=False, safe_mode=True)
        fed = ROWS if said["input_axes"] is None else ROWS.transpose(said["input_axes"])
        got = keras.run(model, np.ascontiguousarray(fed))
        said["differences"] = [
            float(np.abs(one - want).max()) for one, want in zip(got, wanted, strict=True)
        ]
        said["takes"] = list(model.inputs[0].shape)
        ended[name] = said
    print(json.dumps(ended), file=sys.__stdout__)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        main()
