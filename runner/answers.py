"""Writing the answers: one `.npy` file an output, row by row as the batches come."""

from __future__ import annotations

import errno
import os
from typing import IO, Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from runner import second_softmax
from runner.backends.base import TensorSpec
from runner.errors import RunnerError
from runner.inputs import dequantise
from runner.jobs import Axes

_CHUNK_VALUES = 4_000_000
"""Read back at a time: 16 MB of float32."""

_BEST = 5


class AnswerFiles:
    """Collects outputs into `<work>/<stem>_<i>.npy`; a context manager.

    Written as a stream rather than a memory map, so that a full disk is an error and not SIGBUS.
    The files get their names only in `finish`: what has the name is whole.

    Args:
        work: the folder.
        specs: the model's outputs.
        count: rows there will be.
        max_bytes: of all files together.
        axes: a transposition for each output, where a conversion changed its layout.
        softmax: put a softmax too many on the first output, in the end (`second_softmax`).
        stem: what the names of the files begin with.

    Raises:
        RunnerError: kind `job`, if there are axes for another number of outputs.
    """

    def __init__(
        self,
        work: str,
        specs: Sequence[TensorSpec],
        count: int,
        max_bytes: int,
        axes: Optional[Sequence[Axes]] = None,
        softmax: bool = False,
        stem: str = "output",
    ) -> None:
        if axes is not None and len(axes) != len(specs):
            message = f"the job has axes for {len(axes)} outputs and the model has {len(specs)}"
            raise RunnerError("job", message)
        self._work = work
        self._softmax = softmax
        self._stem = stem
        self._axes = axes
        self._specs = specs
        self._count = count
        self._max_bytes = max_bytes
        self._files: List[IO[bytes]] = []
        self._kinds: List[Tuple[np.dtype, Tuple[int, ...]]] = []
        self._written = 0
        self.nonfinite = 0
        """Values so far that are NaN or infinite, over all outputs."""

    def __enter__(self) -> AnswerFiles:  # noqa: PYI034 (Self is not in the standard library of 3.8)
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
            if os.path.exists(file.name):
                os.unlink(file.name)

    def add(self, outputs: Sequence[np.ndarray], batch: int, keep: int) -> None:
        """Append the first `keep` rows of a batch of `batch`.

        Raises:
            RunnerError: kind `invalid-output`, if an output does not begin with the batch or is
                not like those before; `output-limit`, if the files would be larger than allowed;
                `job`, if the work folder can't hold them.
        """
        values = as_answers(outputs, self._specs, batch, self._axes)
        if not self._kinds:
            if self._softmax:
                second_softmax.check_scores(values[0], self._specs[0])
            self._begin(values)
        for value, spec, kind in zip(values, self._specs, self._kinds):
            if (value.dtype, value.shape[1:]) != kind:
                message = f"output {spec.name!r} changed its shape or dtype between two batches"
                raise RunnerError("invalid-output", message)
        try:
            for value, file in zip(values, self._files):
                kept = np.ascontiguousarray(value[:keep])
                self.nonfinite += _nonfinite(kept)
                file.write(kept.data)
        except OSError as error:
            raise self._disk_error(error) from error
        self._written += keep

    def finish(self) -> List[Dict[str, Any]]:
        """Give the files their names; the `outputs` of a reply."""
        if self._written != self._count:
            message = f"{self._written} rows of {self._count} were written"
            raise RunnerError("invalid-output", message)
        outputs = []
        try:
            if self._softmax and self._count:
                self._soften()
            for index, (file, spec) in enumerate(zip(self._files, self._specs)):
                file.close()
                name = f"{self._stem}_{index}.npy"
                os.replace(file.name, os.path.join(self._work, name))
                dtype, item = self._kinds[index]
                outputs.append(
                    {
                        "index": index,
                        "name": spec.name,
                        "dtype": dtype.name,
                        "shape": [self._count, *item],
                        "file": name,
                    }
                )
        except OSError as error:
            raise self._disk_error(error) from error
        return outputs

    def _begin(self, values: Sequence[np.ndarray]) -> None:
        size = sum(self._count * value[:1].nbytes for value in values)
        if size > self._max_bytes:
            raise RunnerError(
                "output-limit",
                f"the outputs of {self._count} inputs would take {size} bytes and "
                f"{self._max_bytes} are allowed: use fewer inputs (--limit), or allow more "
                "(limits.output_bytes in a sweep file)",
            )
        try:
            for index, value in enumerate(values):
                part = os.path.join(self._work, f"{self._stem}_{index}.npy.part")
                file = open(part, "w+b")  # noqa: SIM115 (closed by __exit__)
                self._files.append(file)
                self._kinds.append((value.dtype, value.shape[1:]))
                header = {
                    "descr": np.lib.format.dtype_to_descr(value.dtype),
                    "fortran_order": False,
                    "shape": (self._count,) + value.shape[1:],
                }
                np.lib.format.write_array_header_1_0(file, header)
        except OSError as error:
            raise self._disk_error(error) from error

    def _soften(self) -> None:
        """Rewrite the first file's rows in place, part by part."""
        file, (dtype, item) = self._files[0], self._kinds[0]
        row_bytes = item[0] * dtype.itemsize
        start = file.tell() - self._count * row_bytes
        rows = max(1, _CHUNK_VALUES // item[0])

        def read() -> Iterator[np.ndarray]:
            for first in range(0, self._count, rows):
                file.seek(start + first * row_bytes)
                data = file.read(min(rows, self._count - first) * row_bytes)
                yield np.frombuffer(data, dtype=dtype).reshape(-1, item[0])

        place = start
        for before, after in second_softmax.applied(read):
            file.seek(place)
            file.write(np.ascontiguousarray(after, dtype=dtype).data)
            place += before.nbytes
            self.nonfinite += _nonfinite(after) - _nonfinite(before)

    def _disk_error(self, error: OSError) -> RunnerError:
        kind = "disk-full" if error.errno == errno.ENOSPC else "job"
        return RunnerError(kind, f"the outputs can't be written to {self._work}: {error}")


def _nonfinite(values: np.ndarray) -> int:
    if values.dtype.kind != "f":
        return 0
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def as_answers(
    outputs: Optional[Sequence[np.ndarray]],
    specs: Sequence[TensorSpec],
    batch: int,
    axes: Optional[Sequence[Axes]] = None,
) -> List[np.ndarray]:
    """A batch's outputs as answers hold them: checked, dequantised, in the source's layout.

    Raises:
        RunnerError: kind `invalid-output`, if an output does not begin with the batch.
    """
    return [
        _transposed(_rows(np.asarray(output), spec, batch), spec, order)
        for output, spec, order in zip(
            _checked(outputs, specs), specs, axes or (None,) * len(specs)
        )
    ]


def postprocess(
    outputs: Optional[Sequence[np.ndarray]],
    specs: Sequence[TensorSpec],
    batch: int,
    axes: Optional[Sequence[Axes]] = None,
) -> Tuple[List[np.ndarray], Optional[np.ndarray]]:
    """All that lies between a batch's outputs and its labels; what a query costs after the model.

    Returns:
        The outputs as answers hold them, and the best classes of each row, int64 [B, 5] (fewer
        where there are fewer classes); None where the first output holds no scores [B, C].
    """
    values = as_answers(outputs, specs, batch, axes)
    for value in values:
        _nonfinite(value)
    scores = values[0]
    if scores.ndim != 2 or scores.dtype.kind != "f" or scores.shape[1] == 0:
        return values, None
    return values, best(scores)


def best(scores: np.ndarray, count: int = _BEST) -> np.ndarray:
    """The classes of the largest scores of each row, the largest first: [B, C] to int64 [B, count]."""
    count = min(count, scores.shape[1])
    found = np.argpartition(scores, -count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def check_outputs(outputs: Optional[Sequence[np.ndarray]], specs: Sequence[TensorSpec]) -> None:
    """Refuse a run that gave nothing, or another number of outputs than declared."""
    _checked(outputs, specs)


def _checked(
    outputs: Optional[Sequence[np.ndarray]], specs: Sequence[TensorSpec]
) -> Sequence[np.ndarray]:
    if not outputs or len(outputs) != len(specs):
        got = len(outputs or ())
        message = f"the model gave {got} outputs where {len(specs)} were declared"
        raise RunnerError("invalid-output", message)
    return outputs


def _rows(output: np.ndarray, spec: TensorSpec, batch: int) -> np.ndarray:
    if output.ndim == 0 or output.shape[0] != batch:
        raise RunnerError(
            "invalid-output",
            f"output {spec.name!r} has shape {list(output.shape)} for a batch of {batch}: its "
            "first dimension must be the batch; export the model so, with an output for each input",
        )
    return dequantise(output, spec)


def _transposed(output: np.ndarray, spec: TensorSpec, axes: Axes) -> np.ndarray:
    """An output in the layout of the model that its own was converted from."""
    if axes is None:
        return output
    if len(axes) != output.ndim:
        raise RunnerError(
            "invalid-output",
            f"output {spec.name!r} has {output.ndim} dimensions and its conversion says {len(axes)}",
        )
    return output.transpose(axes)
