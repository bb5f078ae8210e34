"""What the rounds themselves say: enough of them, steady, without a trend, and the control."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.execution.rounds import MOST_SAMPLES
from harness.execution.validity.facts import Facts, Finding

SHARED_DRIFT = "shared-drift"

# A ratio is judged over paired rounds. With fewer than 15 a t interval leans on the shape of its
# few values, and a signed-rank test has little power left.
FEWEST_ROUNDS = 15
# The fewest queries from which the 90th percentile can be bounded at 99 % confidence with one
# query beyond it: 0.9^64 + 64 * 0.1 * 0.9^63 = 0.0096 (the binomial argument of MLPerf's early
# stopping: inference_rules.adoc, "Early stopping criterion").
FEWEST_QUERIES = 64
# Rounds are sized by what the warm-up showed, so the whole may be shorter than what was asked for;
# below this part of it the warm-up was wrong.
SHORT_OF_ASKED = 0.5
# From the first round to the last. Rounds are interleaved and balanced, so a common drift leaves
# ratios alone, but percentiles of one cell are then of a time that no longer is. Quiet sessions
# on shared virtual machines drift by up to 5 %.
DRIFT = 0.10
# What is left of a cell's drift beside that of the others it is timed with: below this it is the
# machine's, which every round's ratio is free of.
OWN_DRIFT = 0.05
# The chance that rounds without a trend would be so ordered. Small, since it is asked of every
# cell, and neighbouring rounds resemble each other.
DRIFT_CHANCE = 0.01
# The first quarter of the rounds against the last half: by as much the first may be slower where
# the warm-up ended before the times were steady.
UNSTEADY = 0.05
UNSTEADY_CHANCE = 0.01
# What a sweep file says if it says nothing (`timing.control_bound`): two processes of the very same
# cell differ by one or two percent, by where their memory lies.
CONTROL_BOUND = 0.05
CONTROL_CONFIDENCE = 0.95


def judge_amounts(facts: Facts) -> list[Finding]:
    """`too-few-rounds`, `too-few-samples`, and `not-steady` where rounds were sized wrongly."""
    findings = []
    offline = facts.document.get("scenario") == "offline"
    asked_queries = int(facts.document.get("min_queries") or 0)
    asked_s = float(facts.document.get("min_ns") or 0) / 1e9
    for key in facts.keys:
        rounds = facts.times[key]
        if len(rounds) < FEWEST_ROUNDS:
            findings.append(
                Finding(
                    key,
                    "too-few-rounds",
                    f"It was timed in {len(rounds)} rounds, and fewer than {FEWEST_ROUNDS} say too "
                    f"little of their spread. Set `timing.rounds` (`--rounds`) to {FEWEST_ROUNDS} "
                    "or more.",
                )
            )
        calls = sum(len(values) for values in rounds.values())
        images = int((facts.document.get("batch") or {}).get(key) or 1)
        queries = calls * images if offline else calls
        if queries < (fewest := max(FEWEST_QUERIES, asked_queries)):
            findings.append(
                Finding(
                    key,
                    "too-few-samples",
                    f"It was timed {queries} times, and {fewest} are needed"
                    f"{'' if fewest > FEWEST_QUERIES else ' to know a 90th percentile'}. Raise "
                    "`timing.min_queries` (`--min-queries`) or `timing.round_seconds` "
                    "(`--round-seconds`).",
                )
            )
        seconds = sum(int(values.sum()) for values in rounds.values()) / 1e9
        # No more than so many samples are kept of what takes no time at all.
        if seconds < SHORT_OF_ASKED * asked_s and calls < MOST_SAMPLES // 2:
            findings.append(
                Finding(
                    key,
                    # Not that too little was asked for: another try may be free of it.
                    "not-steady",
                    f"It was timed for {seconds:.2g} s in all, and {asked_s:g} s were asked for: "
                    "its warm-up was far slower than its rounds. Time again, with a longer "
                    "`timing.warmup_seconds`.",
                )
            )
    return findings


def judge_warmup(facts: Facts) -> list[Finding]:
    """`not-steady`: the warm-up ended before the times were steady, and the first rounds show it.

    A slow model has few queries in its warm-up, too few to call them steady. If its first rounds
    are as fast as the last ones, the warm-up has done its work.
    """
    findings = []
    warmups = facts.document.get("warmup") or {}
    if facts.document.get("fresh_processes"):
        return _judge_fresh(facts)
    for key in facts.keys:
        medians = _log_medians(facts, key)
        if (warmups.get(key) or {}).get("steady", True) or len(medians) < 8:
            continue
        first, last = medians[: len(medians) // 4], medians[len(medians) // 2 :]
        slower = math.expm1(float(np.median(first) - np.median(last)))
        chance = float(stats.mannwhitneyu(first, last, alternative="greater").pvalue)
        if slower > UNSTEADY and chance < UNSTEADY_CHANCE:
            findings.append(
                Finding(
                    key,
                    "not-steady",
                    f"Its warm-up ended before its times were steady: its first {len(first)} "
                    f"rounds are {slower:.0%} slower than the last {len(last)}, and more than "
                    f"{UNSTEADY:.0%} is not believed. Raise `timing.warmup_seconds`.",
                )
            )
    if not warmups and facts.keys:
        findings.append(Finding.unjudged("the warm-up: the session does not say how it ended"))
    return findings


def _judge_fresh(facts: Facts) -> list[Finding]:
    """`not-steady` where each round has processes of its own: what is left of a warm-up is in each.

    So each round's first third is compared with its last third, over the rounds whose process was
    not steady when it began.
    """
    findings = []
    starts = facts.document.get("starts") or {}
    for key in facts.keys:
        unsteady = [int(one["round"]) for one in starts.get(key) or () if not one["steady"]]
        times = [facts.times[key][number] for number in unsteady if number in facts.times[key]]
        logs = [
            math.log(
                float(np.median(one[: len(one) // 3])) / float(np.median(one[-(len(one) // 3) :]))
            )
            for one in times
            if len(one) >= 3
        ]
        if len(logs) < 8:
            continue
        slower = math.expm1(float(np.median(logs)))
        chance = float(stats.wilcoxon(logs, alternative="greater").pvalue)
        if slower > UNSTEADY and chance < UNSTEADY_CHANCE:
            findings.append(
                Finding(
                    key,
                    "not-steady",
                    f"In {len(logs)} rounds its warm-up ended before its times were steady: the "
                    f"first third of these rounds is {slower:.0%} slower than the last, and more "
                    f"than {UNSTEADY:.0%} is not believed. Raise `timing.warmup_seconds`.",
                )
            )
    return findings


def judge_drift(facts: Facts) -> list[Finding]:
    """`drift`: round medians rise or fall through the session; `shared-drift`: all of them alike.

    The trend is the Theil-Sen slope of the logarithms times the rounds it spans (P. K. Sen, 1968),
    its significance Kendall's tau against the order of rounds, which is Mann and Kendall's test
    (H. B. Mann, 1945): neither minds a few outlying rounds. Where what is left of it beside the
    mean of the other cells is small, the machine as a whole drifts: that is a reason against the
    cell's own times, and none against their ratio to another's, which is paired by round.
    """
    findings = []
    for key in facts.keys:
        medians = _log_medians(facts, key)
        if len(medians) < 8:
            continue
        at = np.asarray(sorted(facts.times[key]), dtype=np.float64)
        drift, chance = _trend(at, medians)
        if abs(math.log1p(drift)) <= math.log1p(DRIFT) or chance >= DRIFT_CHANCE:
            continue
        others = [
            _log_medians(facts, other)
            for other in facts.keys
            if other != key and len(facts.times[other]) == len(medians)
        ]
        own = _trend(at, medians - np.mean(others, axis=0))[0] if others else drift
        shared = abs(math.log1p(own)) <= math.log1p(OWN_DRIFT)
        said = (
            f"Its times {'rise' if drift > 0 else 'fall'} by {abs(drift):.0%} from the first round "
            f"to the last (p = {chance:.1g}); more than {DRIFT:.0%} is not believed. "
        )
        alike = "All cells drift alike, so their ratios hold. "
        remedy = (
            "Let the machine come to rest (heat, other programs, clocks), raise "
            "`timing.warmup_seconds`, and time again."
        )
        kind = SHARED_DRIFT if shared else "drift"
        findings.append(Finding(key, kind, f"{said}{alike * shared}{remedy}"))
    return findings


def _trend(at: NDArray[np.float64], logs: NDArray[np.float64]) -> tuple[float, float]:
    """From the first round to the last, relatively; and the chance of it where there is none."""
    slope = float(stats.theilslopes(logs, at)[0])
    return math.expm1(slope * float(at[-1] - at[0])), float(stats.kendalltau(at, logs).pvalue)


def judge_control(facts: Facts) -> list[Finding]:
    """`control-off`: the reference cell, loaded twice, differs from itself.

    The interval is Student's t of the mean log ratio of round medians, paired by round.
    """
    reference, control = facts.document.get("reference"), facts.document.get("control")
    if control is None or not {control, reference} <= set(facts.times):
        why = "the session has no control that was timed in all rounds"
        return [Finding.unjudged(f"the control (A/A): {why}")]
    ours, theirs = facts.medians[str(control)], facts.medians[str(reference)]
    both = sorted(set(ours) & set(theirs))
    if len(both) < 2:
        return [Finding.unjudged("the control (A/A): it shares fewer than two rounds")]
    logs = np.log([ours[number] / theirs[number] for number in both])
    centre = float(logs.mean())
    error = float(logs.std(ddof=1)) / math.sqrt(len(both))
    reach = error * float(stats.t.ppf((1 + CONTROL_CONFIDENCE) / 2, len(both) - 1))
    low, high = math.exp(centre - reach), math.exp(centre + reach)
    told = facts.document.get("control_bound")
    bound = CONTROL_BOUND if told is None else float(told)
    # A ratio and its inverse are equally far off.
    if low <= 1 <= high or abs(centre) <= math.log1p(bound):
        return []
    return [
        Finding(
            None,
            "control-off",
            f"The control, which is the reference cell loaded a second time, takes "
            f"{math.exp(centre):.3f} times the reference's time (interval {low:.3f} to "
            f"{high:.3f}); more than {bound:.0%} either way is not believed, since no ratio of "
            "this session can be trusted beyond what a cell differs from itself. Time again when "
            "nothing else runs, or with more rounds.",
        )
    ]


def _log_medians(facts: Facts, key: str) -> np.ndarray:
    """The logarithm of each round's median, in the order of rounds."""
    medians = facts.medians[key]
    return np.log([max(medians[number], 1.0) for number in sorted(medians)])
