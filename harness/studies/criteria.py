"""What a bisection looks for: a flipped image, labels, a difference, lost time, or a failure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from harness.analysis.pair_agreement import PairAgreement
from harness.analysis.pair_times import Timings
from harness.analysis.pairs import measure
from harness.analysis.time_verdict import PairTime
from harness.errors import UsageError
from harness.store.load import CellAnswers
from harness.studies.minimise import Verdict

Document = dict[str, Any]


@dataclass(frozen=True)
class ImageFlips:
    """The label of one image is another than in A."""

    image: int
    name: str

    def __str__(self) -> str:
        return f"the label of {self.name} differs from A's"


@dataclass(frozen=True)
class ShareFlips:
    """So many labels are others than in A.

    Attributes:
        share: of all images, above 0.
    """

    share: float

    def __str__(self) -> str:
        return f"{100 * self.share:g} % of labels or more differ from A's"


@dataclass(frozen=True)
class Differs:
    """The largest difference of the outputs to A's reaches a bound."""

    bound: float

    def __str__(self) -> str:
        return f"outputs differ from A's by {self.bound:g} or more"


@dataclass(frozen=True)
class Slower:
    """It takes longer than A by a factor, measured side by side."""

    factor: float

    def __str__(self) -> str:
        return f"it takes {self.factor:g} times as long as A or longer"


@dataclass(frozen=True)
class Fails:
    """It has no answers, for the reason that B has none.

    Attributes:
        kind: of the failure, such as `signal`.
        message: of the failure; empty: any of this kind is meant.
    """

    kind: str
    message: str = ""

    def __str__(self) -> str:
        return f"it fails as B does ({self.kind})"


Criterion = ImageFlips | ShareFlips | Differs | Slower | Fails


def of_options(
    *,
    image: str | None = None,
    flips: str | None = None,
    max_diff: float | None = None,
    slower_than: float | None = None,
) -> tuple[str | None, ShareFlips | Differs | Slower | None]:
    """The criterion that a person chose: an image still to be found by its name, or another.

    Raises:
        UsageError: several, or a value that makes no sense.
    """
    given = {
        "--image": image, "--flips": flips, "--max-diff": max_diff, "--slower-than": slower_than,
    }  # fmt: skip
    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise UsageError(
            f"{' and '.join(named)} are two questions.",
            "Ask one, then the other: each finds its own.",
        )
    if flips is not None:
        return None, ShareFlips(_share(flips))
    if max_diff is not None:
        return None, Differs(_above("--max-diff", max_diff, 0.0))
    if slower_than is not None:
        return None, Slower(_above("--slower-than", slower_than, 1.0))
    return image, None


def _above(option: str, value: float, least: float) -> float:
    if not (math.isfinite(value) and value > least):
        raise UsageError(f"{option} {value:g} must be a number above {least:g}.")
    return value


def _share(text: str) -> float:
    """`2%` or `0.02`."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError as error:
        raise UsageError(f"--flips {text} is no share.", "Write it as 2% or 0.02.") from error
    if not 0 < share <= 1:
        raise UsageError(
            f"--flips {text} must be above 0 and 100 % at most.", "Write it as 2% or 0.02."
        )
    return share


def find_image(answers: CellAnswers, wanted: str) -> int:
    """The index of an image that a person named: by its name, the end of it, or its number.

    Raises:
        UsageError: none or several are called so.
    """
    names = answers.names
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    found = [i for i, name in enumerate(names) if name.endswith(f"/{wanted}")]
    if len(found) == 1:
        return found[0]
    what = "Several images are" if found else "No image is"
    raise UsageError(
        f"{what} called {wanted}.",
        "Name it as `harness compare A B --json` lists it under `flipped`, or by its index.",
    )


def choose(a: CellAnswers, b: CellAnswers, image: str | None) -> Criterion:
    """The image that was named; else the flip that is surest in A, or half of the difference.

    Raises:
        UsageError: the label of that image does not flip, or the two cells agree to the bit.
    """
    found = measure(a, b)
    flipped = {flip.image: flip for flip in found.flipped}
    if image is not None:
        index = find_image(a, image)
        if index not in flipped:
            raise UsageError(
                f"The label of {a.names[index]} is the same in both cells.",
                _flips_there_are(found, a),
            )
        return ImageFlips(index, a.names[index])
    if flipped:
        surest = max(flipped.values(), key=lambda flip: (flip.margin_a or 0.0, -flip.image))
        return ImageFlips(surest.image, a.names[surest.image])
    if found.identical or not found.max_abs_diff:
        raise UsageError(
            "The two cells give the same answers: there is nothing to look for.",
            "For time, ask with --slower-than 1.1.",
        )
    return Differs(found.max_abs_diff / 2)


def _flips_there_are(found: PairAgreement, a: CellAnswers) -> str:
    names = [a.names[flip.image] for flip in found.flipped]
    if not names:
        return "No label flips between these two; --max-diff looks for a difference of outputs."
    return f"Flipped are: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}."


def judge(criterion: Criterion, a: CellAnswers, trial: CellAnswers) -> tuple[Verdict, Document]:
    """Whether a trial's answers show it, and what was measured."""
    found = measure(a, trial)
    measured: Document = {"flips": found.flips, "max_abs_diff": found.max_abs_diff}
    if isinstance(criterion, ImageFlips):
        shows = any(flip.image == criterion.image for flip in found.flipped)
    elif isinstance(criterion, ShareFlips):
        if found.flips is None:
            raise UsageError(
                "This model has no class scores, so no labels can flip.", "Ask with --max-diff."
            )
        shows = found.flips >= criterion.share * found.images
    elif isinstance(criterion, Differs):
        # Where a number is not finite there is no difference, and no agreement either.
        shows = found.max_abs_diff is None or found.max_abs_diff >= criterion.bound
    else:
        raise TypeError(f"{criterion} is not judged by answers")
    return (Verdict.SHOWS if shows else Verdict.ABSENT), measured


def judge_time(criterion: Slower, timings: Timings, a: str, trial: str) -> tuple[Verdict, Document]:
    """Whether a trial takes longer, by the session that timed it beside A.

    What an INVALID session says proves neither, and no more does an interval that holds the factor.
    """
    found = timings.measure(a, trial)
    if not found:
        return Verdict.UNRESOLVED, {"note": "it was not timed beside A"}
    time: PairTime = next(iter(found.values()))
    ratio = time.ratio
    measured: Document = {
        "time_ratio": ratio.ratio,
        "time_low": ratio.low,
        "time_high": ratio.high,
        "valid": time.valid,
    }
    if time.valid is False:
        reasons = "; ".join(str(reason["message"]) for reason in time.reasons)
        return Verdict.UNRESOLVED, {**measured, "note": f"INVALID: {reasons}"}
    if (
        ratio.low is not None
        and ratio.high is not None
        and ratio.low < criterion.factor <= ratio.high
    ):
        note = f"its interval, {ratio.low:.3f} to {ratio.high:.3f}, holds the factor"
        return Verdict.UNRESOLVED, {**measured, "note": note}
    return (Verdict.ABSENT if ratio.ratio < criterion.factor else Verdict.SHOWS), measured
