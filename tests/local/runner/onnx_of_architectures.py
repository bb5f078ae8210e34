"""Run inside a PyTorch environment: every architecture, seeded, as an ONNX file.

`python onnx_of_architectures.py FOLDER` writes one JSON object on standard output. By architecture:
`probe` (the recorded difference to the module, of the largest logit), `operators` (those that are
not ONNX's own) and, where that was looked at, `other_batch` (the same at another batch than the
traced one). `fast`: whether PyTorch's fused attention was used, when it was off and on before.
`refused`: what a file that breaks ONNX's rules, and one that is cut short, were told.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from runner import architectures
from runner.converters import weights_to_onnx
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import torch_architecture, torch_seeding, weights_request

CLASSES = 6
SIZES = {"inception_v3": (75, 76), "vit_b_16": (32, 32)}
AT_ANOTHER_BATCH = ("vit_b_16", "mobilenet_v2", "squeezenet1_1")


def converted(name: str, folder: Path) -> dict[str, Any]:
    known, size = architectures.find(name), SIZES.get(name, (33, 48))
    module = torch_architecture.build(known, known.library, CLASSES, (3, *size), {})
    shapes = torch_architecture.shapes(module, known)
    arrays = {n: torch_seeding.initial_array(0, n, shape) for n, shape in shapes.items()}
    torch_architecture.transplant(module, arrays, known)
    source, target = folder / "weights.npz", folder / "net.onnx"
    np.savez(source, **arrays)
    options = {"architecture": name, "item_shape": [3, *size]}
    job = ConvertJob(
        str(folder), "weights>onnx", str(source), "weights", str(target), options, threads=1
    )
    said = weights_to_onnx.convert(job)
    fed = weights_request.read_request(job, "weights>onnx").seeded_input()
    with torch.inference_mode():
        largest = float(module(torch.from_numpy(fed)).abs().max())
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    found: dict[str, Any] = {
        "probe": said["probe_max_abs_diff"] / largest,
        "operators": sorted(
            {n.op_type for n in model.graph.node if n.domain not in ("", "ai.onnx")}
        ),
    }
    if name in AT_ANOTHER_BATCH:
        generator = np.random.Generator(np.random.PCG64(3))
        fed = generator.standard_normal((3, 3, *size), dtype=np.float32)
        (got,) = ReferenceEvaluator(model).run(None, {"input": fed})
        with torch.inference_mode():
            expected = module(torch.from_numpy(fed)).numpy()
        assert got.shape == (3, CLASSES)
        found["other_batch"] = float(np.abs(got - expected).max() / np.abs(expected).max())
    return found


def refusals(folder: Path) -> list[list[str]]:
    """`net.onnx` must be there."""
    model, told = onnx.load(folder / "net.onnx"), []
    model.graph.node[0].op_type = "Nothing"
    onnx.save(model, folder / "rules.onnx")
    (folder / "cut.onnx").write_bytes((folder / "net.onnx").read_bytes()[:-999])
    for name in ("rules.onnx", "cut.onnx"):
        written = (folder / name).read_bytes()

        def write(*args: Any, content: bytes = written, **_: Any) -> None:
            Path(args[2]).write_bytes(content)

        export, torch.onnx.export = torch.onnx.export, write
        source, target = str(folder / "weights.npz"), folder / "refused.onnx"
        options = {"architecture": architectures.names()[-1], "item_shape": [3, 33, 48]}
        job = ConvertJob(str(folder), "weights>onnx", source, "weights", str(target), options)
        try:
            weights_to_onnx.convert(job)
        except RunnerError as error:
            told.append([error.kind, error.message])
        finally:
            torch.onnx.export = export
        assert not target.exists()
    return told


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    attention = torch.backends.mha
    document: dict[str, Any] = {"fast": []}
    for fast in (False, True):
        attention.set_fastpath_enabled(value=fast)
        if not fast:
            converted("squeezenet1_1", folder)
        else:
            document.update({name: converted(name, folder) for name in architectures.names()})
        document["fast"].append(attention.get_fastpath_enabled())
    document["refused"] = refusals(folder)
    print(json.dumps(document))


main()
