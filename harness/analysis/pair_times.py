"""The times of pairs: measured inside sessions, judged by families, as JSON fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.analysis.time_parity import parity
from harness.analysis.time_ratio import TimeRatio, time_ratio
from harness.analysis.time_verdict import (
    FLOOR,
    NOT_TIMED,
    PairTime,
    TimeVerdict,
    inert,
    judge,
)
from harness.analysis.timing import Floats, round_medians
from harness.store.sessions import SINGLE_STREAM, Session

Document = dict[str, Any]
Medians = dict[int, float]


class Timings:
    """The sessions of some cells, asked for pairs; round medians are computed once."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        """Take sessions in the order in which they are asked: the first that holds both counts."""
        self._sessions = sessions
        self._medians: dict[tuple[str, str], Medians] = {}

    def measure(self, a: str, b: str) -> dict[str, PairTime]:
        """The pair's times by scenario, `single_stream` first; empty where no session timed both.

        Times of different sessions are never compared: the machine may have changed between. Nor
        are those of different scenarios.
        """
        found: dict[str, PairTime] = {}
        for session in self._sessions:
            if session.scenario in found or not {a, b} <= session.members:
                continue
            ratio = self._ratio(session, a, b)
            if ratio is None:
                continue
            validity = session.ratio_validity(a, b)
            found[session.scenario] = PairTime(
                ratio=ratio,
                floor=self._floor(session, {a, b}),
                valid=validity.valid,
                reasons=validity.reasons,
                scenario=session.scenario,
                session=session.id,
                fresh=session.fresh,
            )
        return dict(sorted(found.items(), key=lambda one: one[0] != SINGLE_STREAM))

    def parity(self, one: PairTime, a: str, b: str) -> Document:
        """The measures of the original work over the same samples; see `time_parity`."""
        session = next(s for s in self._sessions if s.id == one.session)
        return parity(_each_image(session, a), _each_image(session, b))

    def _ratio(self, session: Session, a: str, b: str) -> TimeRatio | None:
        return time_ratio(self._round_medians(session, a), self._round_medians(session, b))

    def _round_medians(self, session: Session, key: str) -> Medians:
        place = (session.id, key)
        if place not in self._medians:
            samples = session.samples[key]
            self._medians[place] = round_medians(
                samples.rounds, samples.durations_ns, session.batch(key) or 1
            )
        return self._medians[place]

    def _floor(self, session: Session, pair: set[str]) -> float:
        """The larger of the floor that was recorded and what the A/A control came out apart.

        That is what two processes of the same cell differ by for good, here and now. The
        control's interval is no part of it: the noise of rounds is in each pair's own interval
        already. Counting it twice finds 28 % of slow-downs by 5 %, where this finds 82 % (16
        rounds, medians that vary by 3 %). The control itself is judged by the recorded floor
        alone: it cannot vouch for itself.
        """
        recorded = FLOOR if session.floor is None else session.floor
        control, reference = session.control, session.reference
        if not control or not reference or not {control, reference} <= session.members:
            return recorded
        if pair == {control, reference}:
            return recorded
        again = self._ratio(session, reference, control)
        return recorded if again is None else max(recorded, again.apart)


def _each_image(session: Session, key: str) -> Floats:
    samples = session.samples[key].durations_ns.astype("float64")
    return samples / (session.batch(key) or 1)


def add_times(
    families: Iterable[Sequence[Document]], timings: Timings
) -> dict[tuple[str, str], TimeVerdict]:
    """Give every pair's JSON object its times, judged together with its family.

    Adds `time_ratio`, `time_low`, `time_high`, `time_rounds`, `time_notes`, `time_scenario`,
    `time_session`, `time_verdict` and `time_parity` (of the first scenario that both were timed
    in; the last only for pairs that carry all measures), and `time_scenarios` with the same by
    scenario.

    Args:
        families: the pairs of one model that are shown against the same reference; in every
            scenario they are corrected for their number together, but for inert ones, of whose
            times nothing is claimed.
        timings: the sessions.

    Returns:
        The verdict of each pair's first scenario, by its cells.
    """
    verdicts = {}
    for pairs in families:
        measured = [timings.measure(pair["a"], pair["b"]) for pair in pairs]
        judged: list[dict[str, TimeVerdict]] = [{} for _ in pairs]
        for scenario in dict.fromkeys(name for one in measured for name in one):
            timed = [i for i, one in enumerate(measured) if scenario in one]
            places = [i for i in timed if not pairs[i]["inert"]]
            for place in set(timed) - set(places):
                judged[place][scenario] = inert(measured[place][scenario])
            found = judge([measured[i][scenario] for i in places])
            for place, verdict in zip(places, found, strict=True):
                judged[place][scenario] = verdict
        for pair, times, said in zip(pairs, measured, judged, strict=True):
            verdicts[pair["a"], pair["b"]] = _add(pair, times, said, timings)
    return verdicts


def _add(
    pair: Document,
    times: dict[str, PairTime],
    said: dict[str, TimeVerdict],
    timings: Timings,
) -> TimeVerdict:
    by_scenario = {
        scenario: {
            **_described(one, said[scenario]),
            "parity": None
            if pair["agreement"] is None
            else timings.parity(one, pair["a"], pair["b"]),
        }
        for scenario, one in times.items()
    }
    first = next(iter(times), None)
    verdict = NOT_TIMED if first is None else said[first]
    own = by_scenario[first] if first is not None else {}
    pair.update(
        {
            "time_ratio": own.get("ratio"),
            "time_low": own.get("low"),
            "time_high": own.get("high"),
            "time_rounds": own.get("rounds", 0),
            "time_notes": list(verdict.notes),
            "time_scenario": first,
            "time_session": own.get("session"),
            "time_verdict": verdict.document(),
            "time_parity": own.get("parity"),
            "time_scenarios": by_scenario,
        }
    )
    return verdict


def _described(one: PairTime, verdict: TimeVerdict) -> Document:
    return {
        "ratio": one.ratio.ratio,
        "low": one.ratio.low,
        "high": one.ratio.high,
        "rounds": one.ratio.rounds,
        "session": one.session,
        "fresh_processes": one.fresh,
        "verdict": verdict.document(),
    }
