"""An exported program (`.pt2`) as the source of a conversion: what it takes, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np
import torch

from runner.backends.base import LoadRequest, Shape, unsupported
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion
from runner.support.torch_program import TorchProgram, as_list

FORMAT = "pt2"


@dataclass(frozen=True)
class Source:
    """A program that was read and tried.

    Attributes:
        program: the `torch.export.ExportedProgram`.
        module: of the program, in eval mode; it takes one tensor and gives the program's outputs,
            a tensor for one of them and a tuple for several, whatever container these were in.
        floats: the kinds of floats among its weights and what its operators give.
        fed: a seeded input.
        answers: the outputs for it.
    """

    program: Any
    module: Any
    floats: Tuple[str, ...]
    fed: np.ndarray
    answers: List[np.ndarray]

    @property
    def outputs(self) -> List[str]:
        """The names that the outputs get: `output_0` and so on, in the program's order."""
        return [f"output_{place}" for place in range(len(self.answers))]


def read(job: ConvertJob, name: str, options: Sequence[str]) -> Source:
    """The program that a job converts, tried on a seeded input.

    Args:
        job: its threads become PyTorch's.
        name: the converter's, for messages.
        options: those that the converter takes.

    Raises:
        RunnerError: `unsupported` for an option, a format, a program of several inputs or of
            another batch or size than is asked for; `model` if it can't be read, does not run or
            gives what is not finite.
    """
    batch, item_shape = conversion.options_of(job, name, options)
    if job.source_format != FORMAT:
        raise unsupported(name, "source format", job.source_format, (FORMAT,))
    torch.set_num_threads(job.threads)
    request = LoadRequest(
        job.source, FORMAT, {}, "default", "cpu", job.threads, batch, item_shape or ()
    )
    found = TorchProgram(name, request, {})
    fed = _seeded(found.input.dtype, _shape(found.input.shape or (), batch, item_shape, name))
    module = in_eval_mode(found.module())
    answers = _tried(module, fed, job.source)
    floats = tuple(sorted({*found.weights_in, *found.computes_in}))
    return Source(found.exported, module, floats, fed, answers)


def in_eval_mode(module: Any) -> Any:
    """A program's module as exporters want it: see `Source.module`."""
    flat = _Flat(module)
    for part in flat.modules():
        # Exporters write layers of modules that are in training for those to be trained further.
        part.training = False
    return flat


def switch_of(job: ConvertJob, option: str, name: str, *, default: bool) -> bool:
    """The value of an option that is true or false.

    Raises:
        RunnerError: kind `unsupported`, if it is neither.
    """
    value = job.options.get(option, default)
    if not isinstance(value, bool):
        raise unsupported(name, option, value, (True, False))
    return value


def run(module: Any, fed: np.ndarray) -> List[np.ndarray]:
    """What a module answers, as copies."""
    with torch.inference_mode():
        return [np.array(tensor.numpy()) for tensor in as_list(module(torch.from_numpy(fed)))]


class _Flat(torch.nn.Module):
    """A module with its outputs out of their containers."""

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.program = program

    def forward(self, fed: Any) -> Any:
        outputs = as_list(self.program(fed))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def train(self, mode: bool = True) -> Any:
        """A program knows no modes and refuses this; exporters call it all the same."""
        self.training = mode
        return self


def _tried(module: Any, fed: np.ndarray, path: str) -> List[np.ndarray]:
    try:
        answers = run(module, fed)
    except Exception as error:
        failed = classify(error, "model")
        message = f"{path}: the program does not run on {list(fed.shape)}: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    if any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in answers):
        message = f"{path}: the program's answers for a seeded input are not finite"
        raise RunnerError("model", message)
    return answers


def _shape(
    declared: Shape, batch: int, item_shape: Optional[Tuple[int, ...]], name: str
) -> Tuple[int, ...]:
    """The whole shape of an input.

    Raises:
        RunnerError: kind `unsupported`, if the program leaves more than the batch open and nobody
            says what it is, or was exported for something else than what is asked for.
    """
    wanted: List[Optional[int]] = [batch, *(declared[1:] if item_shape is None else item_shape)]
    if any(size is None for size in wanted):
        raise RunnerError(
            "unsupported",
            f"{name}: the program leaves more than the batch open; give the option item_shape",
        )
    misfit = len(wanted) != len(declared) or any(
        size not in (None, want) for size, want in zip(declared, wanted)
    )
    if misfit:
        raise RunnerError(
            "unsupported",
            f"{name}: the program was exported for inputs {list(declared)} and {wanted} was asked "
            "for: use its own batch and shape, or export the program anew for the other",
        )
    return tuple(size for size in wanted if size is not None)


def _seeded(dtype: str, shape: Tuple[int, ...]) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(0))
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, size=shape).astype(dtype)
