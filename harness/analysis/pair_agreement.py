"""How two cells agree: in all, image by image, and the labels that changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis.values import Floats, OutputDifference


@dataclass(frozen=True)
class Flip:
    """One image whose top class differs.

    Attributes:
        image: its index.
        name: its name ("" where names were not given).
        label: ground truth, or None.
        a: top class in cell a, None where its scores hold a NaN.
        b: top class in cell b, likewise.
        margin_a: best minus second-best score in a; None for one class or scores not finite.
        margin_b: likewise in b.
    """

    image: int
    name: str
    label: int | None
    a: int | None
    b: int | None
    margin_a: float | None
    margin_b: float | None


@dataclass(frozen=True)
class PerImage:
    """Measures image by image; each float64 [N] with NaN where there is no value.

    Attributes:
        flipped: bool [N]; all False for a model without class scores.
        broke: bool [N], right in a and wrong in b.
        nonfinite: bool [N], a NaN or infinity in any output of b.
        max_abs_diff: over all outputs.
        mean_abs_diff: over all outputs (the largest of the outputs' means).
        cosine: over all outputs (the smallest).
        jaccard: of the top-5 sets.
        rbo: of the top-5 lists.
        tau: Kendall's tau-b of the top-5 lists.
        kl: KL(a || b) in nats.
        margin_change: margin in b minus margin in a.
    """

    flipped: npt.NDArray[np.bool_] = field(repr=False)
    broke: npt.NDArray[np.bool_] = field(repr=False)
    nonfinite: npt.NDArray[np.bool_] = field(repr=False)
    max_abs_diff: Floats = field(repr=False)
    mean_abs_diff: Floats = field(repr=False)
    cosine: Floats = field(repr=False)
    jaccard: Floats = field(repr=False)
    rbo: Floats = field(repr=False)
    tau: Floats = field(repr=False)
    kl: Floats = field(repr=False)
    margin_change: Floats = field(repr=False)


@dataclass(frozen=True)
class PairAgreement:
    """All measures between cells a (the reference) and b over the same N images.

    Shares are between 0 and 1; None means that the measure has no value for this pair (no class
    scores, no ground truth, unlike kinds of scores, values that are not finite).

    Attributes:
        images: N.
        classes: C of the class scores, None without them.
        top: length of the top lists, min(5, C).
        identical: every output equal bit for bit.
        flips: images whose top class differs.
        flip_share: flips / N, with Wilson's 95 % interval in flip_low and flip_high.
        ties_a: images whose highest score is shared by several classes in a (lowest class taken).
        ties_b: likewise in b.
        nonfinite_a: images with a NaN or infinity in any output of a.
        nonfinite_b: likewise in b.
        unranked: images that have no top class in either cell (NaN in both): no flip, no proof.
        jaccard: mean Jaccard index of top sets.
        rbo: mean rank-biased overlap of top lists, p = 0.9.
        tau: mean Kendall tau-b over the union of top lists.
        max_abs_diff: largest difference over all outputs; None when an output is not comparable
            or any value is not finite.
        mean_abs_diff: the largest of the outputs' mean differences; None likewise.
        cosine: the smallest of the outputs' mean cosines; None likewise.
        kl: mean KL(a || b) in nats; kl_max is the largest of an image.
        margin_change: mean of |margin b - margin a|; margin_change_max the largest.
        labelled: images with ground truth.
        top1_a: top-1 accuracy of a over the labelled images; and so on.
        broke: labelled images right in a and wrong in b.
        mended: wrong in a and right in b.
        mcnemar_p: two-sided p of McNemar's exact test.
        outputs: value differences, output by output.
        notes: what could not be measured, and why.
        flipped: the flips, image by image.
        per_image: measures image by image.
    """

    images: int
    classes: int | None
    top: int | None
    identical: bool
    flips: int | None
    flip_share: float | None
    flip_low: float | None
    flip_high: float | None
    ties_a: int | None
    ties_b: int | None
    nonfinite_a: int
    nonfinite_b: int
    unranked: int
    jaccard: float | None
    rbo: float | None
    tau: float | None
    max_abs_diff: float | None
    mean_abs_diff: float | None
    cosine: float | None
    kl: float | None
    kl_max: float | None
    margin_change: float | None
    margin_change_max: float | None
    labelled: int
    top1_a: float | None
    top1_b: float | None
    top5_a: float | None
    top5_b: float | None
    broke: int | None
    mended: int | None
    mcnemar_p: float | None
    outputs: tuple[OutputDifference, ...]
    notes: tuple[str, ...]
    flipped: tuple[Flip, ...] = field(repr=False)
    per_image: PerImage = field(repr=False)

    def measures(self) -> dict[str, Any]:
        """Every measure as JSON values, without the flips and the per-image arrays."""
        hidden = {"flipped", "per_image", "outputs"}
        names = [name for name in self.__dataclass_fields__ if name not in hidden]
        measured = {name: getattr(self, name) for name in names}
        measured["notes"] = list(self.notes)
        measured["outputs"] = [asdict(output) for output in self.outputs]
        return measured

    def to_json(self) -> dict[str, Any]:
        """Every measure and every flip as JSON values."""
        return {**self.measures(), "flipped": [asdict(flip) for flip in self.flipped]}
