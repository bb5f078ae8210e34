"""The converter `onnx>ncnn`: an ONNX model to ncnn's layers and weights, in one file.

By PNNX, the converter of ncnn's own makers, whose wheel holds a program; weights stay float32.
Options: `item_shape`, the shape of one input, for a model that leaves more than the batch open, and
`batch`, which must be 1: ncnn has no batch.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from importlib.util import find_spec
from typing import Any, Dict, List, Optional, Sequence, Tuple

import ncnn
import numpy as np
import onnx

from runner.backends.base import unsupported
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.lifeline import die_with_parent
from runner.support import ncnn_file
from runner.support.conversion import (
    check_finite,
    converted,
    graph_input,
    largest_difference,
    options_of,
    read_onnx,
    reference_outputs,
    require_alike,
    seeded_input,
    written,
)
from runner.support.ncnn_file import Tensor, Tensors

_NAME = "onnx>ncnn"
_FLOAT = 1
_TOLD_LINES = 15
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or for an operator that ncnn has no layer for;
            `model` if the source can't be read; `conversion` if PNNX fails, or if an output is not
            lost, not finite or not of the source's shape.
    """
    batch, item_shape = options_of(job, _NAME)
    if batch != 1:
        raise unsupported(_NAME, "batch", batch, (1,), why="ncnn's tensors have none")
    model = read_onnx(job, _NAME)
    _require_floats(model)
    fed = seeded_input(model, batch, item_shape, _NAME)
    expected = reference_outputs(model, fed)
    with tempfile.TemporaryDirectory(prefix="pnnx-", dir=job.work) as folder:
        param, weights = _run_pnnx(job.source, fed.shape, folder)
        ncnn_file.require_layers(ncnn, job.source, param)
        tensors = _tensors(model, fed.shape, expected)
        with written(job.target) as part:
            ncnn_file.write(part, param, weights, tensors)
            got = _run(part, tensors, fed, job.threads)
            check_finite(got)
            require_alike(expected, got)
    difference = largest_difference(expected, got)
    return converted(job.target, ("pnnx", "ncnn", "onnx", "numpy"), difference)


def find_pnnx() -> str:
    """The program in the wheel. The package is not imported: that would import PyTorch.

    Raises:
        ImportError: if it is not installed.
    """
    spec = find_spec("pnnx")
    if spec is None or spec.origin is None:
        raise ImportError("pnnx is not installed")
    program = os.path.join(os.path.dirname(spec.origin), "pnnx")
    if not os.access(program, os.X_OK):
        raise ImportError(f"{program} is missing, or may not be run")
    return program


LATE_IMPORTS = (find_pnnx,)
"""What is looked for only when a model is converted, for a probe to try."""


def _run_pnnx(source: str, shape: Sequence[int], folder: str) -> Tuple[str, str]:
    """The `.param` and the `.bin` that PNNX makes in `folder`."""
    # It writes beside what it reads.
    model = os.path.join(folder, "model.onnx")
    os.symlink(os.path.abspath(source), model)
    sizes = ",".join(map(str, shape))
    done = subprocess.run(
        [find_pnnx(), model, f"inputshape=[{sizes}]f32", "fp16=0"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent,
        check=False,
    )
    said = _COLOURS.sub("", done.stdout.decode("utf-8", "replace"))
    print(said, flush=True)
    made = os.path.join(folder, "model.ncnn.param"), os.path.join(folder, "model.ncnn.bin")
    if done.returncode != 0 or not all(os.path.isfile(path) for path in made):
        end = " | ".join(said.splitlines()[-_TOLD_LINES:])
        message = f"{source} can't be converted by pnnx (exit status {done.returncode}): {end}"
        raise RunnerError("conversion", message, said)
    return made


def _require_floats(model: Any) -> None:
    """Refuse tensors that ncnn would turn into float32 without a word."""
    for value in (graph_input(model, _NAME), *model.graph.output):
        kind = value.type.tensor_type.elem_type
        if kind != _FLOAT:
            told = onnx.TensorProto.DataType.Name(kind)
            raise unsupported(_NAME, f"dtype of {value.name}", told, ("FLOAT",))


def _tensors(model: Any, fed: Tuple[int, ...], expected: Optional[List[np.ndarray]]) -> Tensors:
    """The ends of the model by name and shape; PNNX calls them in0, out0, out1 and so on."""
    outputs = []
    for index, value in enumerate(model.graph.output):
        shape = _declared(value) if expected is None else expected[index].shape
        outputs.append(Tensor(value.name, shape, f"out{index}"))
    return Tensors(Tensor(graph_input(model, _NAME).name, fed, "in0"), tuple(outputs))


def _declared(value: Any) -> Tuple[int, ...]:
    """An output's shape as the graph says it, with one item in what is left open at the front."""
    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
    if not sizes or any(size < 1 for size in sizes[1:]):
        raise RunnerError(
            "unsupported",
            f"{_NAME}: the shape of the output {value.name!r} is not declared, and ONNX's reference "
            "evaluator can't run the model to find it out: export it with fixed shapes",
        )
    return (1, *sizes[1:])


def _run(path: str, tensors: Tensors, fed: np.ndarray, threads: int) -> List[np.ndarray]:
    options: Dict[str, Any] = dict.fromkeys(ncnn_file.reduced_options(ncnn), False)
    options.update(use_vulkan_compute=False, num_threads=threads)
    net = ncnn_file.load(ncnn, path, options)
    try:
        return ncnn_file.infer(ncnn, net, tensors, fed)
    except ValueError as error:
        message = f"the converted model gives an output of another size than its source: {error}"
        raise RunnerError("conversion", message) from error
