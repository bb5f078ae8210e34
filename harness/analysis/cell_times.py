"""The times of one cell, from the sessions that hold it, as JSON fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from harness.analysis.timing import Latency, describe_latency, latency
from harness.store.sessions import SINGLE_STREAM, Session

Document = dict[str, Any]

_RECORDED = ("peak_rss_mib", "peak_container_mib", "gpu_mib", "energy")


def cell_times(sessions: Iterable[Session], key: str, batch: int) -> Document:
    """What sessions say of a cell; in every scenario the first that holds it counts.

    Args:
        sessions: in the order in which they are asked.
        key: the cell's.
        batch: images a query, for sessions that do not say.

    Returns:
        `scenarios` (by name, `single_stream` first: latency, throughput, validity, and
        what could not be judged), and of the first scenario `time_scenario`, `session`, `time_valid`, `time_reasons`, `per_second`
        (images), `queries_per_second`, `stages`, `peak_rss_mib`, `peak_container_mib`, `gpu_mib`,
        `energy`. The `latency_…_ns` are of `single_stream` alone: an offline call has as many
        images as went fastest, so its duration is nobody's waiting time. None where there is
        nothing.
    """
    timed: dict[str, Session] = {}
    for one in sessions:
        if key in one.members:
            timed.setdefault(one.scenario, one)
    timed = dict(sorted(timed.items(), key=lambda item: item[0] != SINGLE_STREAM))
    summaries = {name: _summary(session, key, batch) for name, session in timed.items()}
    first = next(iter(timed), None)
    session = timed.get(first or "")
    validity = session.validity(key) if session else None
    summary = summaries.get(first or "")
    return {
        **describe_latency(summaries.get(SINGLE_STREAM)),
        "per_second": summary.per_second if summary else None,
        "queries_per_second": summary.queries_per_second if summary else None,
        "session": session.id if session else None,
        "time_scenario": first,
        "time_valid": validity.valid if validity else None,
        "time_reasons": list(validity.reasons) if validity else [],
        "scenarios": {name: _scenario(timed[name], key, summaries[name]) for name in timed},
        "stages": _stages(session.of(key, "stages")) if session else None,
        **{name: session.of(key, name) if session else None for name in _RECORDED},
    }


def _summary(session: Session, key: str, batch: int) -> Latency | None:
    samples = session.samples[key]
    return latency(samples.rounds, samples.durations_ns, session.batch(key) or batch)


def _scenario(session: Session, key: str, found: Latency | None) -> Document:
    validity = session.validity(key)
    return {
        "session": session.id,
        **describe_latency(found),
        "samples": found.samples if found else 0,
        "rounds": found.rounds if found else 0,
        "batch": found.batch if found else None,
        "queries_per_second": found.queries_per_second if found else None,
        "per_second": found.per_second if found else None,
        "search": session.of(key, "offline_search"),
        "valid": validity.valid,
        "reasons": list(validity.reasons),
        "unjudged": list(session.unjudged),
    }


def _stages(found: Any) -> Document | None:
    """Medians of a query's parts, and why parts are absent; the samples stay in the bundle."""
    if not isinstance(found, dict):
        return None
    medians = {name: _median(said) for name, said in (found.get("stages") or {}).items()}
    return {
        "median_ns": {name: ns for name, ns in medians.items() if ns is not None},
        "absent": dict(found.get("absent") or {}),
        "failed": found.get("failed"),
    }


def _median(said: Any) -> float | None:
    if isinstance(said, dict):
        said = said.get("median_ns", said.get("samples_ns"))
    if isinstance(said, list):
        return float(np.median(said)) if said else None
    return float(said) if isinstance(said, int | float) else None
