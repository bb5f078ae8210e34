"""The converter `torch>openvino`: an exported PyTorch program to OpenVINO's own format, float32.

OpenVINO reads a program of fixed shapes as one of open shapes, so they are fixed again. Options:
`batch` and `item_shape`, where the program leaves them open; `layout` = nchw | nhwc, of the input
(by default the program's); `quantisation` = float16 (weights are stored as float16). The recorded
difference is to the program.
"""

from __future__ import annotations

import warnings
from typing import Any, Dict

from runner.jobs import ConvertJob
from runner.support import openvino_convert, torch_importing

_NAME = "torch>openvino"
OPTIONS = openvino_convert.OPTIONS

LATE_IMPORTS = (openvino_convert.import_openvino,)
"""What is imported only when a model is converted, for a probe to try."""


def convert(job: ConvertJob) -> Dict[str, Any]:
    """Write `job.target`, a folder; the fields of the event `converted`.

    Raises:
        RunnerError: `unsupported` for the request, or operators that OpenVINO does not know;
            `model` if the source can't be read; `conversion` if what was made does not run, or an
            output is not finite.
    """
    source = torch_importing.read(job, _NAME, OPTIONS)
    with warnings.catch_warnings():
        # PyTorch warns of its own pickles while the importer decomposes the program.
        warnings.simplefilter("ignore")
        return openvino_convert.convert(
            job,
            _NAME,
            source.program,
            ("torch",),
            shape=source.input.shape,
            answers=lambda _: source.answers,
        )
