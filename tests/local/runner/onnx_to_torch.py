"""Run inside a PyTorch environment: small ONNX models with constant arguments to programs.

`python onnx_to_torch.py FOLDER` writes one JSON object on standard output: by name, the shape of
what the program answers and its largest difference to ONNX's reference evaluator.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from runner.converters import onnx_to_torch
from runner.jobs import ConvertJob

LARGE = 2**31 - 1
SLICES: dict[str, tuple[list[int], ...]] = {
    "all axes": ([0, 1, 2, 3], [1, 3, 8, 8]),
    "every second pixel": ([0, 0], [LARGE, LARGE], [2, 3], [2, 2]),
    "from the end": ([-3, 1], [LARGE, -1], [-1, -2]),
    "backwards": ([-1, 6], [-LARGE, 1], [3, 2], [-1, -2]),
    "more than there is": ([2, -100], [100, 5], [2, 3], [3, 1]),
}


def sliced(parts: tuple[list[int], ...], opset: int) -> onnx.ModelProto:
    """Images [1, 3, 8, 8] of which two rows are cut off and put back as ones, cut, and squeezed."""
    constants = [
        numpy_helper.from_array(np.array(p, np.int64), f"c{i}") for i, p in enumerate(parts)
    ]
    names = [constant.name for constant in constants]
    nodes = [
        helper.make_node("Slice", ["x", "from", "to", "rows"], ["c"]),
        helper.make_node("Pad", ["c", "pads", "one"], ["p"]),
        helper.make_node("Relu", ["p"], ["r"]),
        helper.make_node("Slice", ["r", *names], ["s"]),
        helper.make_node("ReduceMean", ["s"], ["m"], axes=[1], keepdims=1),
    ]
    for name, value in (("from", [2]), ("to", [8]), ("rows", [2]), ("pads", [0, 0, 2] + [0] * 5)):
        constants.append(numpy_helper.from_array(np.array(value, np.int64), name))
    constants.append(numpy_helper.from_array(np.float32(1), "one"))
    if opset >= 13:
        constants.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
        nodes.append(helper.make_node("Squeeze", ["m", "axes"], ["y"]))
    else:
        nodes.append(helper.make_node("Squeeze", ["m"], ["y"], axes=[1]))
    graph = helper.make_graph(
        nodes,
        "sliced",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def main() -> None:
    folder = Path(sys.argv[1])
    fed = np.random.default_rng(3).standard_normal((1, 3, 8, 8)).astype(np.float32)
    found: dict[str, Any] = {}
    for name, parts in SLICES.items():
        for opset in (11, 13, 17):
            model = sliced(parts, opset)
            source, target = folder / "made.onnx", folder / "made.pt2"
            onnx.save(model, source)
            onnx_to_torch.convert(
                ConvertJob(str(folder), "onnx>torch", str(source), "onnx", str(target), {})
            )
            program = torch.export.load(target).module()
            [expected] = ReferenceEvaluator(model).run(None, {"x": fed})
            got = program(torch.from_numpy(fed)).detach().numpy()
            same = got.shape == expected.shape
            found[f"{name}, opset {opset}"] = {
                "shape": list(got.shape),
                "difference": float(np.abs(got - expected).max()) if same else None,
            }
    print(json.dumps(found))


main()
