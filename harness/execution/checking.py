"""Whether a converted model answers as its source does: pure, over what both answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ExecutionError

Array = npt.NDArray[Any]

QUANTISED = "conversions.quantised_tolerance"
"""What binds where a model takes or gives integers with a scale."""


@dataclass(frozen=True)
class Check:
    """What a check of a conversion found.

    Attributes:
        images: how many inputs both were given; 0 where what was made could not be run either.
        max_abs_diff: largest difference of any output; None where one of both could not be run.
        share: the same as a share of the range of the source's output; None likewise.
        tolerance: the share that is allowed.
        tolerance_name: what that is called in a sweep file.
        source: who ran the source, and target: who ran what was made; empty: nobody could.
        note: why both were not compared; empty where they were.
    """

    images: int
    max_abs_diff: float | None
    share: float | None
    tolerance: float
    tolerance_name: str
    source: str
    target: str
    note: str = ""

    @property
    def too_far_off(self) -> bool:
        """Whether both were compared, and differ by more than is allowed."""
        return self.share is not None and self.share > self.tolerance

    def record(self) -> dict[str, Any]:
        """The check as `artifact.json` holds it."""
        return asdict(self)


def require_usable(outputs: Sequence[Array], expected: Sequence[Array] | None) -> None:
    """Refuse outputs that nobody can use, or that are not shaped as the source's are.

    Args:
        outputs: of the converted model, laid out as the source's; each [N, ...].
        expected: of the source; None where it could not be run.

    Raises:
        ExecutionError: kind `conversion`: none, NaN or infinity where the source has none, another
            number of outputs, or another shape.
    """
    if not outputs:
        raise ExecutionError("conversion", "It gives no output.")
    if expected is not None and len(outputs) != len(expected):
        message = f"It gives {len(outputs)} outputs, and its source {len(expected)}."
        raise ExecutionError("conversion", message)
    for index, output in enumerate(outputs):
        source = None if expected is None else expected[index]
        if not output.ndim:
            raise ExecutionError("conversion", f"Output {index} is one number for all images.")
        if source is not None and output.shape != source.shape:
            raise ExecutionError(
                "conversion",
                f"Output {index} has the shape {list(output.shape[1:])}, and its source's "
                f"{list(source.shape[1:])}.",
            )
        broken = _broken(output, source)
        if broken is not None:
            what = "NaN" if np.isnan(output[broken]).any() else "infinity"
            raise ExecutionError(
                "conversion",
                f"Output {index} is {what} for image {broken}: the conversion succeeded, and what it "
                "wrote cannot be used.",
                "Take another converter for this step, or another version of it.",
            )


def difference(outputs: Sequence[Array], expected: Sequence[Array]) -> tuple[float, float]:
    """The largest difference of any output, and as a share of the range of the source's output.

    An output of the source that has no range is taken by its largest value.

    Args:
        outputs: of the converted model, checked by `require_usable`.
        expected: of the source, of the same shapes.
    """
    largest, share = 0.0, 0.0
    for output, source in zip(outputs, expected, strict=True):
        finite = np.isfinite(source) if source.dtype.kind == "f" else np.ones(source.shape, bool)
        if not finite.any():
            continue
        own, other = (x[finite].astype(np.float64) for x in (source, output))
        found = float(np.abs(own - other).max())
        scale = float(own.max() - own.min()) or float(np.abs(own).max()) or 1.0
        largest, share = max(largest, found), max(share, found / scale)
    return largest, share


def disagreement(check: Check) -> ExecutionError:
    """The failure of a conversion whose result is too far from its source."""
    return ExecutionError(
        "disagreement",
        f"What it made answers otherwise than its source: the largest difference over "
        f"{check.images} images is {check.max_abs_diff:.3g}, {_percent(check.share)} of the range of "
        f"the outputs, and {_percent(check.tolerance)} is allowed ({check.source} against {check.target}).",
        f"Take another converter for this step, or allow more with `{check.tolerance_name}` to see "
        "what it does to labels.",
    )


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.3g} %"


def _broken(output: Array, source: Array | None) -> int | None:
    """The first image with a value that is not finite where the source's is; None: there is none."""
    if output.dtype.kind != "f":
        return None
    bad = ~np.isfinite(output)
    if source is not None and source.dtype.kind == "f":
        bad &= np.isfinite(source)
    rows = bad.reshape(len(bad), -1).any(axis=1)
    return int(rows.argmax()) if rows.any() else None
