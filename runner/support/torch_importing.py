"""An exported PyTorch program (`pt2`) as importers take it: of fixed shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple

import numpy as np
import torch

from runner.backends.base import TensorSpec
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import torch_source


@dataclass(frozen=True)
class Source:
    """A program of fixed shapes, what it takes, an input for it, and what it gives.

    `floats` are those of `torch_source.Source`.
    """

    program: Any
    input: TensorSpec
    floats: Tuple[str, ...]
    fed: np.ndarray
    answers: List[np.ndarray]


def read(job: ConvertJob, name: str, options: Sequence[str]) -> Source:
    """The program that a job converts; one with open shapes is exported again for fixed ones.

    Args:
        job: its threads become PyTorch's.
        name: the converter's, for messages.
        options: those that the converter takes.

    Raises:
        RunnerError: as `torch_source.read`; kind `conversion`, if it can't be exported again.
    """
    source = torch_source.read(job, name, options)
    program = source.program
    if _is_open(program):
        try:
            with torch.no_grad():
                program = torch.export.export(source.module, (torch.from_numpy(source.fed),))
        except Exception as error:
            failed = classify(error, "conversion")
            message = (
                f"{job.source} can't be exported again for {list(source.fed.shape)}: "
                f"{failed.message}; export it with a fixed batch"
            )
            raise RunnerError(failed.kind, message, failed.detail) from error
    taken = str(program.graph_signature.user_inputs[0])
    spec = TensorSpec(taken, str(source.fed.dtype), source.fed.shape)
    return Source(program, spec, source.floats, source.fed, source.answers)


def _is_open(program: Any) -> bool:
    """Whether a dimension of its input is not a number."""
    taken = program.graph_signature.user_inputs[0]
    values = [node.meta["val"] for node in program.graph.nodes if node.name == taken]
    return any(not isinstance(size, int) for value in values for size in value.shape)
