"""Whether the clocks stayed, of cores and GPU, and whether anything slowed them for protection."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from harness.doctor.gpu_readings import IDLE_BIT, THROTTLING_BITS, event_names
from harness.execution.validity.facts import Facts, Finding

# A clock has changed if it is so far from the cell's own usual. Processors vary by a few percent
# with their load and temperature. Compared within a cell, since what a cell computes may rightly
# set its clock (wide vector instructions lower it).
CHANGED_CLOCK = 0.10
# As many of the samples may show a changed clock, so that one bad moment is forgiven.
CHANGED_SAMPLES = 0.20
# Throttling is rarer and hits harder (by half or more); a change of clocks alone may show it in a
# single sample (NVML, "HW Slowdown").
THROTTLED_SAMPLES = 0.10
# A sibling shares the arithmetic of the physical core: more than this part of its time is a load,
# not the system's own small work.
BUSY_SIBLING = 0.30
# With fewer samples nothing is said.
ENOUGH_SAMPLES = 8

_Read = Callable[[Mapping[str, Any]], float | None]


def judge_clocks(facts: Facts) -> list[Finding]:
    """`throttled` and `clocks-changed`, of processor and GPU."""
    findings = _processor_throttled(facts)
    findings += _changed(facts, "clocks", "The cores' clocks", _core_mhz, _because(facts, "mhz"))
    if not any("gpu" in sample for sample in facts.samples):
        if "gpu" in facts.absent:
            findings.append(Finding.unjudged(f"clocks of the GPU: {facts.absent['gpu']}"))
        return findings
    findings += _gpu_throttled(facts)
    why = "the GPU was at work in too few samples, or does not say"
    findings += _changed(facts, "clocks of the GPU", "The GPU's clock", _gpu_mhz, why)
    return findings


def judge_siblings(facts: Facts) -> list[Finding]:
    """`busy-machine`: something ran on the other hardware threads of the leased cores."""
    shares = []
    for before, sample in pairwise(facts.samples):
        each = sample.get("sibling_busy_ns")
        elapsed = sample.get("t_ns", 0) - before.get("t_ns", 0)
        if each and elapsed > 0:
            shares.append(max(each.values()) / elapsed)
    busy = [share for share in shares if share > BUSY_SIBLING]
    if len(shares) < ENOUGH_SAMPLES or len(busy) <= CHANGED_SAMPLES * len(shares):
        return []
    return [
        Finding(
            None,
            "busy-machine",
            f"In {len(busy)} of {len(shares)} samples other programs used "
            f"{statistics.median(busy):.0%} of the second hardware thread of a core that cells were "
            f"timed on; more than {BUSY_SIBLING:.0%} in more than {CHANGED_SAMPLES:.0%} is not "
            "believed. End what else runs on this machine (see `top`), then time again.",
        )
    ]


def _processor_throttled(facts: Facts) -> list[Finding]:
    counts = [s["throttle_count"] for s in facts.samples if "throttle_count" in s]
    if len(counts) < 2:
        why = _because(facts, "throttle_count")
        return [Finding.unjudged(f"throttling of the processor: {why}")]
    steps = [after > before for before, after in pairwise(counts)]
    if sum(steps) <= THROTTLED_SAMPLES * len(steps):
        return []
    return [
        Finding(
            None,
            "throttled",
            f"The processor was slowed {counts[-1] - counts[0]} times because it was too hot, in "
            f"{sum(steps)} of {len(steps)} samples; more than {THROTTLED_SAMPLES:.0%} of them is "
            "not believed. Cool the machine, or let it rest before timing.",
        )
    ]


def _gpu_throttled(facts: Facts) -> list[Finding]:
    masks = [
        int(mask)
        for sample in facts.samples
        if (mask := sample.get("gpu", {}).get("throttle_reasons")) is not None
        and not int(mask) & IDLE_BIT
    ]
    if not masks:
        why = "the GPU was never seen at work, or does not say what holds its clocks"
        return [Finding.unjudged(f"throttling of the GPU: {why}")]
    bad = [mask for mask in masks if mask & THROTTLING_BITS]
    if len(bad) <= THROTTLED_SAMPLES * len(masks):
        return []
    union = 0
    for mask in bad:
        union |= mask & THROTTLING_BITS
    return [
        Finding(
            None,
            "throttled",
            f"The GPU was held back in {len(bad)} of {len(masks)} samples: "
            f"{', '.join(event_names(union))} (mask {union:#x}); more than {THROTTLED_SAMPLES:.0%} "
            "is not believed. See to its cooling and its power supply, then time again.",
        )
    ]


def _changed(facts: Facts, what: str, name: str, read: _Read, why: str) -> list[Finding]:
    values, deviations = [], []
    for samples in facts.by_cell.values():
        mine = [value for sample in samples if (value := read(sample)) is not None]
        if mine:
            usual = statistics.median(mine)
            values += mine
            deviations += [abs(value / usual - 1) if usual else 0.0 for value in mine]
    if len(values) < ENOUGH_SAMPLES:
        few = (
            f"there are {len(values)} samples of them, and fewer than {ENOUGH_SAMPLES} say nothing"
        )
        return [Finding.unjudged(f"{what}: {few if values else why}")]
    changed = [share for share in deviations if share > CHANGED_CLOCK]
    if len(changed) <= CHANGED_SAMPLES * len(values):
        return []
    return [
        Finding(
            None,
            "clocks-changed",
            f"{name} went from {min(values):.0f} to {max(values):.0f} MHz: {len(changed)} of "
            f"{len(values)} samples are more than {CHANGED_CLOCK:.0%} away from what the same cell "
            f"usually had, and more than {CHANGED_SAMPLES:.0%} of them is not believed. Fix the "
            "clocks, cool the machine, or time when nothing else runs.",
        )
    ]


def _core_mhz(sample: Mapping[str, Any]) -> float | None:
    """Of the cores that worked, by how much: one that is idle shows the clock that it sleeps at."""
    each: Mapping[str, float] = sample.get("mhz") or {}
    busy: Mapping[str, int] = sample.get("busy_ns") or {}
    worked = [busy.get(core, 0) for core in each]
    if not any(worked):
        return statistics.fmean(each.values()) if each else None
    return statistics.fmean(each.values(), weights=worked)


def _gpu_mhz(sample: Mapping[str, Any]) -> float | None:
    """Only while it works: an idle GPU lowers its clocks, and rightly so."""
    gpu = sample.get("gpu") or {}
    if "sm_mhz" not in gpu or int(gpu.get("throttle_reasons", 0)) & IDLE_BIT:
        return None
    if gpu.get("utilisation") == 0:
        return None
    return float(gpu["sm_mhz"])


def _because(facts: Facts, field: str) -> str:
    if not facts.samples:
        return "no samples of the machine were taken"
    return facts.absent.get(field, "this machine does not show it")
