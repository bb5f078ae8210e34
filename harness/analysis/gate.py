"""The gate: `--fail-on 'flips > 0.1%'`, parsed and decided. Pure.

A rule about a pair ends in one of three ways:

- it holds back: the pair breaks it, or its metric has no value, because a gate that could not
  look must not let through (`violations`; `harness compare` ends with 1);
- it lets through;
- it cannot tell: it is about time, and the time was measured but is INVALID. Such a time neither
  breaks a rule nor keeps it (`undecided`; where no other rule is broken, `harness compare` ends
  with 3, as where something could not be run).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.analysis.pair_agreement import PairAgreement
from harness.analysis.time_verdict import TimeVerdict
from harness.errors import UsageError

_RULE = re.compile(
    r"\s*(?P<metric>[a-z][a-z0-9_]*)\s*(?P<operator>>=|<=|>|<)\s*"
    r"(?P<limit>[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?)\s*(?P<percent>%?)\s*"
)

Value = int | float | Fraction | None
Unit = Literal["images", "share", "value"]


@dataclass(frozen=True)
class Metric:
    """Something that a rule may speak of.

    Attributes:
        name: as written in a rule.
        meaning: one phrase for help and messages.
        value: its value for a pair; None where it could not be measured.
        unit: `images` (a number of images; with % their share), `share` (may be written in %) or
            `value` (has no %).
        marked: bool [N], the images to blame whatever the limit.
        each: float64 [N], its value image by image: those beyond the limit are to blame.
        timed: it is about time, so an INVALID measurement leaves it undecided.
    """

    name: str
    meaning: str
    value: Callable[[PairAgreement, TimeVerdict | None], Value]
    unit: Unit = "value"
    marked: Callable[[PairAgreement], npt.NDArray[np.bool_]] | None = None
    each: Callable[[PairAgreement], npt.NDArray[np.float64]] | None = None
    timed: bool = False


def _top1_drop(pair: PairAgreement) -> Fraction | None:
    if pair.broke is None or pair.mended is None:
        return None
    return Fraction(pair.broke - pair.mended, pair.labelled)


def _top5_drop(pair: PairAgreement) -> Fraction | None:
    if pair.top5_a is None or pair.top5_b is None:
        return None
    # Back to whole images: the difference of two rounded quotients would not be exact.
    lost = round(pair.top5_a * pair.labelled) - round(pair.top5_b * pair.labelled)
    return Fraction(lost, pair.labelled)


def _flips(pair: PairAgreement) -> int | None:
    # Where neither cell has a label, "no flip" would be a pass that proves nothing.
    return None if pair.unranked else pair.flips


def _slower(time: TimeVerdict | None) -> float | None:
    if time is None or time.ratio is None or time.verdict == "unknown":
        return None
    # Over so few rounds nothing would have been claimed: "not slower" would prove nothing.
    if time.verdict == "no-difference" and time.smallest_visible is None:
        return None
    return time.ratio - 1 if time.verdict == "slower" else 0.0


def _lists(value: float | None, pair: PairAgreement) -> float | None:
    known = not np.isnan(pair.per_image.jaccard).any()
    return value if known else None


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "flips",
            "images whose label changed (number, or % of the images)",
            lambda pair, _: _flips(pair),
            unit="images",
            marked=lambda pair: pair.per_image.flipped,
        ),
        Metric(
            "broke",
            "images right in the baseline and wrong in the candidate (number, or % of the images)",
            lambda pair, _: pair.broke,
            unit="images",
            marked=lambda pair: pair.per_image.broke,
        ),
        Metric(
            "nonfinite",
            "images with NaN or infinity in the candidate (number, or % of the images)",
            lambda pair, _: pair.nonfinite_b,
            unit="images",
            marked=lambda pair: pair.per_image.nonfinite,
        ),
        Metric(
            "top1_drop",
            "top-1 accuracy lost, between 0 and 1 or in %",
            lambda pair, _: _top1_drop(pair),
            unit="share",
            marked=lambda pair: pair.per_image.broke,
        ),
        Metric(
            "accuracy_drop",
            "the same as top1_drop",
            lambda pair, _: _top1_drop(pair),
            unit="share",
            marked=lambda pair: pair.per_image.broke,
        ),
        Metric(
            "top5_drop",
            "top-5 accuracy lost, between 0 and 1 or in %",
            lambda pair, _: _top5_drop(pair),
            unit="share",
        ),
        Metric(
            "mcnemar_p",
            "p-value of McNemar's exact test",
            lambda pair, _: pair.mcnemar_p,
        ),
        Metric(
            "max_abs_diff",
            "largest absolute difference of any output value",
            lambda pair, _: pair.max_abs_diff,
            each=lambda pair: pair.per_image.max_abs_diff,
        ),
        Metric(
            "mean_abs_diff",
            "mean absolute difference of output values (of the worst output)",
            lambda pair, _: pair.mean_abs_diff,
            each=lambda pair: pair.per_image.mean_abs_diff,
        ),
        Metric(
            "cosine",
            "mean cosine between outputs (of the worst output)",
            lambda pair, _: pair.cosine,
            each=lambda pair: pair.per_image.cosine,
        ),
        Metric(
            "kl",
            "mean KL divergence in nats",
            lambda pair, _: pair.kl,
            each=lambda pair: pair.per_image.kl,
        ),
        Metric(
            "kl_max",
            "largest KL divergence of an image, in nats",
            lambda pair, _: pair.kl_max,
            each=lambda pair: pair.per_image.kl,
        ),
        Metric(
            "jaccard",
            "mean Jaccard index of the top-5 sets",
            lambda pair, _: _lists(pair.jaccard, pair),
            unit="share",
            each=lambda pair: pair.per_image.jaccard,
        ),
        Metric(
            "rbo",
            "mean rank-biased overlap of the top-5 lists",
            lambda pair, _: _lists(pair.rbo, pair),
            unit="share",
            each=lambda pair: pair.per_image.rbo,
        ),
        Metric(
            "tau",
            "mean Kendall tau-b of the top-5 lists",
            lambda pair, _: _lists(pair.tau, pair),
            unit="share",
            each=lambda pair: pair.per_image.tau,
        ),
        Metric(
            "margin_change",
            "mean change of the top-1 margin",
            lambda pair, _: None if pair.max_abs_diff is None else pair.margin_change,
            each=lambda pair: np.abs(pair.per_image.margin_change),
        ),
        Metric(
            "time_ratio",
            "time of the candidate / time of the baseline (105% is 1.05)",
            lambda _, time: time.ratio if time else None,
            unit="share",
            timed=True,
        ),
        Metric(
            "slower",
            "by how much the candidate is slower, where that is beyond noise; else 0",
            lambda _, time: _slower(time),
            unit="share",
            timed=True,
        ),
    )
}


@dataclass(frozen=True)
class Rule:
    """A difference that is not allowed: `metric operator limit`.

    Attributes:
        text: as given.
        metric: what it speaks of.
        operator: one of > >= < <=.
        limit: exact; already divided by 100 where the rule says %.
        percent: whether it says %.
    """

    text: str
    metric: Metric
    operator: str
    limit: Fraction
    percent: bool


@dataclass(frozen=True)
class Undecided:
    """A rule that could not be decided, because the time that it is about is INVALID.

    Attributes:
        rule: the rule's text.
        metric: its metric.
        message: one line for a person.
    """

    rule: str
    metric: str
    message: str


@dataclass(frozen=True)
class Violation:
    """A rule that a pair breaks.

    Attributes:
        rule: the rule's text.
        metric: its metric.
        value: what was measured (a share where the rule says %), None: could not be measured.
        message: one line for a person.
        images: indices of the images to blame; empty where no image is.
    """

    rule: str
    metric: str
    value: float | None
    message: str
    images: tuple[int, ...] = field(repr=False)


def parse(text: str) -> Rule:
    """Read one rule.

    Raises:
        UsageError: it is no rule, or speaks of an unknown metric; the message lists them.
    """
    matched = _RULE.fullmatch(text)
    if matched is None:
        raise UsageError(
            f"--fail-on {text!r} is not understood.",
            "Write METRIC OPERATOR NUMBER, as in 'flips > 0.1%' or 'max_abs_diff > 1e-3'.",
        )
    metric = METRICS.get(matched["metric"])
    if metric is None:
        raise UsageError(
            f"--fail-on {text!r}: there is no metric {matched['metric']}.",
            f"Metrics are {', '.join(METRICS)}.",
        )
    if matched["percent"] and metric.unit == "value":
        raise UsageError(
            f"--fail-on {text!r}: {metric.name} has no percentage.", "Leave out the %."
        )
    limit = Fraction(matched["limit"])
    percent = bool(matched["percent"])
    return Rule(
        text.strip(), metric, matched["operator"], limit / 100 if percent else limit, percent
    )


def violations(rules: list[Rule], pair: PairAgreement, time: TimeVerdict | None) -> list[Violation]:
    """The rules that a pair breaks. A metric without a value breaks its rule: no silent pass.

    Args:
        rules: those about a time that is INVALID are left to `undecided`.
        pair: how the answers agree.
        time: what may be said of the times; None where they were not measured together.
    """
    decided = [rule for rule in rules if not _cannot_tell(rule, time)]
    found = [_decide(rule, pair, time) for rule in decided]
    return [violation for violation in found if violation is not None]


def undecided(rules: list[Rule], time: TimeVerdict | None) -> list[Undecided]:
    """The rules that nobody can decide: about a time that was measured but is INVALID."""
    why = "; ".join(reason["message"] for reason in time.reasons) if time else ""
    return [
        Undecided(
            rule.text,
            rule.metric.name,
            f"{rule.metric.name} cannot be told, its time is INVALID: "
            f"{why or 'no reason is recorded'} (rule: {rule.text})",
        )
        for rule in rules
        if _cannot_tell(rule, time)
    ]


def _cannot_tell(rule: Rule, time: TimeVerdict | None) -> bool:
    return rule.metric.timed and time is not None and time.valid is False


def _decide(rule: Rule, pair: PairAgreement, time: TimeVerdict | None) -> Violation | None:
    value = rule.metric.value(pair, time)
    name = rule.metric.name
    if value is None or not math.isfinite(value):
        return Violation(
            rule.text, name, None, f"{name} could not be measured (rule: {rule.text})", ()
        )
    # Fractions: 1 image of 1000 is exactly 0.1 %, which floating point need not agree with.
    measured = Fraction(value)
    if rule.metric.unit == "images" and rule.percent:
        measured /= pair.images
    if not _holds(measured, rule.operator, rule.limit):
        return None
    shown = _shown(float(measured), rule)
    if rule.metric.unit == "images":
        shown = f"{value} of {pair.images}" + (f", {shown}" if rule.percent else "")
    message = f"{name} is {shown} (rule: {rule.text})"
    return Violation(rule.text, name, float(measured), message, _blamed(rule, pair))


def _shown(value: float, rule: Rule) -> str:
    return f"{100 * value:.4g} %" if rule.percent else f"{value:.4g}"


def _holds(value: Fraction, operator: str, limit: Fraction) -> bool:
    if operator == ">":
        return value > limit
    if operator == ">=":
        return value >= limit
    if operator == "<":
        return value < limit
    return value <= limit


def _blamed(rule: Rule, pair: PairAgreement) -> tuple[int, ...]:
    """Images that changed (for counts and drops) or that break the limit by themselves."""
    if rule.metric.marked is not None:
        return tuple(np.flatnonzero(rule.metric.marked(pair)).tolist())
    if rule.metric.each is None:
        return ()
    values = rule.metric.each(pair)
    limit = float(rule.limit)
    comparisons = {">": values > limit, ">=": values >= limit, "<": values < limit}
    over = comparisons.get(rule.operator, values <= limit)
    return tuple(np.flatnonzero(over).tolist())
