"""Times as tables show them: throughput, a query's parts, memory and energy, the paper's measures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report import times, words

Document = dict[str, Any]

OFFLINE = "offline"
PAPER = (
    "As DeltaNN measures times, for comparison with its numbers alone. The tests take single "
    "queries for independent, which they are not: with thousands of them they find differences "
    "in nothing. A12 is how probable it is that a query takes longer than one of the reference "
    "(0.5: neither)."
)
_STAGES = {
    "preprocess": "preparing the batch",
    "host_to_device": "to the device",
    "compute": "computing",
    "device_to_host": "from the device",
    "postprocess": "reading the answer",
}


@dataclass(frozen=True)
class ThroughputRow:
    """A cell's largest throughput.

    Attributes:
        key: of the cell.
        batch: images a call.
        per_second: images a second.
        ratio: its time an image as a multiple of the reference's.
        interval: of the ratio.
        floor: below it no difference is claimed.
        verdict: in a word or two.
        state: of the verdict.
        validity: whether all of this may be believed.
    """

    key: str
    batch: str
    per_second: str
    ratio: str
    interval: str
    floor: str
    verdict: str
    state: str
    validity: str


def throughput(cells: Sequence[Document], pairs: Iterable[Document]) -> list[ThroughputRow]:
    """A row for each cell that was timed offline.

    Args:
        cells: of one model.
        pairs: those with their reference.
    """
    against = {pair["b"]: pair["time_scenarios"].get(OFFLINE) for pair in pairs}
    rows = []
    for cell in cells:
        found = (cell.get("scenarios") or {}).get(OFFLINE)
        if not found:
            continue
        pair = against.get(cell["key"])
        rows.append(
            ThroughputRow(
                key=cell["key"],
                batch=words.count(found["batch"]),
                per_second=words.rate(found["per_second"]),
                ratio=words.ratio(pair["ratio"]) if pair else words.NOTHING,
                interval=words.interval(pair["low"], pair["high"]) if pair else words.NOTHING,
                floor=times.floor(pair["verdict"]) if pair else words.NOTHING,
                verdict=times.short(pair["verdict"]) if pair else words.NOTHING,
                state=times.state(pair["verdict"]) if pair else "even",
                validity=times.validity(found["valid"], found["reasons"]),
            )
        )
    return rows


@dataclass(frozen=True)
class PartsRow:
    """What else was measured of a timed cell; each text says so where there is nothing.

    Attributes:
        key: of the cell.
        latency: every percentile and extreme.
        stages: the parts of a query, one text each.
        memory: peaks.
        energy: of an image.
        validity: whether the times may be believed.
    """

    key: str
    latency: str
    stages: tuple[str, ...]
    memory: str
    energy: str
    validity: str


def parts(cells: Iterable[Document]) -> list[PartsRow]:
    """A row for each cell that was timed."""
    return [
        PartsRow(
            key=cell["key"],
            latency=_latency(cell),
            stages=_stages(cell),
            memory=_memory(cell),
            energy=_energy(cell),
            validity=times.cell_validity(cell),
        )
        for cell in cells
        if cell.get("scenarios")
    ]


def _latency(cell: Document) -> str:
    if cell["latency_p50_ns"] is None:
        return words.NOTHING
    shown = ("min", "p50", "p90", "p95", "p99", "max", "mean", "std")
    told = [f"{name} {words.duration(cell[f'latency_{name}_ns'])}" for name in shown]
    return f"{', '.join(told)}; {words.rate(cell['queries_per_second'])} queries/s"


def _stages(cell: Document) -> tuple[str, ...]:
    found = cell["stages"]
    if not found:
        return ("not measured",)
    if found["failed"]:
        return (f"could not be measured: {found['failed']}",)
    told = [f"{_STAGES.get(n, n)}: {words.duration(ns)}" for n, ns in found["median_ns"].items()]
    told += [f"{_STAGES.get(n, n)}: absent, {reason}" for n, reason in found["absent"].items()]
    return tuple(told)


def _memory(cell: Document) -> str:
    heads = (("process", "peak_rss_mib"), ("container", "peak_container_mib"), ("GPU", "gpu_mib"))
    told = [
        f"{head} {words.size(cell[name] * 2**20)}" for head, name in heads if cell[name] is not None
    ]
    return ", ".join(told) or "not readable"


def _energy(cell: Document) -> str:
    found = cell["energy"]
    if not found:
        return "not measured"
    if found.get("joules_per_query") is None:
        return f"absent: {found.get('absent') or 'no reason is recorded'}"
    told = f"{found['joules_per_query']:.3g} J an image above idle"
    drawn = f"{found['power_w']:.3g} W drawn, {found['baseline_w']:.3g} W of them idle"
    return f"{told} ({drawn}; {found['source']})"


@dataclass(frozen=True)
class PaperRow:
    """A pair's times as the paper gives them.

    Attributes:
        key: of the cell that is not the reference.
        percentages: each with what it is divided by.
        mann_whitney: its p-value.
        a12: with its size in a word.
        anova: its p-value.
        validity: whether the samples may be believed.
    """

    key: str
    percentages: tuple[str, ...]
    mann_whitney: str
    a12: str
    anova: str
    validity: str


def paper_rows(pairs: Iterable[Document]) -> list[PaperRow]:
    """A row for each timed pair that carries all measures."""
    rows = []
    for pair in pairs:
        found = pair["time_parity"]
        if found is None:
            continue
        verdict = pair["time_verdict"]
        rows.append(
            PaperRow(
                key=pair["b"],
                percentages=tuple(
                    f"{one['value']:+.1f} % of {one['denominator']}" for one in found["percentages"]
                ),
                mann_whitney=words.p_value(found["mann_whitney_p"]),
                a12=f"{found['a12']:.3f} ({found['a12_size']})",
                anova=words.p_value(found["anova_p"]),
                validity=times.validity(verdict["valid"], verdict["reasons"]),
            )
        )
    return rows
