"""Which of a compiler's passes and settings are to blame for the difference between two cells.

Delta debugging over the changes that lead from A's settings to B's: each trial is a cell, A with some
of the changes made. What is found is a set of which none can be left out. Where it holds a setting
that stands for passes (a level, a pipeline), a second search goes on from there: with the change made,
which passes have to run so that the fault shows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.analysis.pair_times import Timings
from harness.errors import UsageError
from harness.progress import Progress
from harness.store.load import CellAnswers
from harness.store.sessions import find_sessions
from harness.studies import criteria
from harness.studies.changes import DISABLED, ONLY, Change, alike, between, changes, without
from harness.studies.criteria import Criterion, Fails, Slower
from harness.studies.failing import same_failure
from harness.studies.minimise import Minimum, Verdict, minimal_set
from harness.studies.points import Point, Trial

Document = dict[str, Any]
Settings = Mapping[str, Any]

_LISTED = 3


class Runner(Protocol):
    """What tries points; `studies.trials.Trials` is one."""

    @property
    def store(self) -> Path:
        """The results folder."""

    def run(self, points: Sequence[Point], *, timed: bool = False) -> list[Trial]:
        """Try points, a trial each."""

    def offer(self) -> Document:
        """What the backend says that it can be asked for."""


@dataclass(frozen=True)
class Tried:
    """A trial and what it says.

    Attributes:
        trial: the cell.
        verdict: whether the fault shows.
        measured: flips, differences, times; why it is unresolved.
    """

    trial: Trial
    verdict: Verdict
    measured: Document

    def record(self) -> Document:
        """As the study's document lists it."""
        return {
            "label": self.trial.label,
            "key": self.trial.key,
            "status": self.trial.status,
            "verdict": self.verdict.value,
            "settings": dict(self.trial.point.settings),
            "kind": self.trial.kind,
            "message": self.trial.message,
            "compiled": self.trial.fingerprint,
            **self.measured,
        }


@dataclass(frozen=True)
class Needed:
    """Which passes have to run so that the fault shows, of those that the changed setting runs.

    Attributes:
        passes: names; none of them can be left out. Empty where `reason` says why.
        of: how many there were to choose from.
        reason: why there are none; empty where there are.
    """

    passes: tuple[str, ...] = ()
    of: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """What a bisection of passes found.

    Attributes:
        criterion: what was looked for.
        changes: every change between the two cells.
        guilty: the smallest set of them that shows it.
        needed: what the second search found; None where it was not asked for.
        rest: B without the guilty changes; None where nothing of B is left then.
        tried: every trial, A and B first.
        unresolved: how many smaller sets could not be judged: one of them may show it.
        smallest: the settings of A with the guilty changes made, and of them only `needed`.
    """

    criterion: Criterion
    changes: tuple[Change, ...]
    guilty: tuple[Change, ...]
    needed: Needed | None
    rest: Tried | None
    tried: tuple[Tried, ...]
    unresolved: int
    smallest: Settings

    @property
    def trials(self) -> int:
        """How many cells were tried beside A and B."""
        return len(self.tried) - 2


@dataclass
class _Bench:
    """Tries points and judges them against A."""

    runner: Runner
    progress: Progress
    a: Point
    wishes: Mapping[str, Any]
    criterion: Criterion | None = None
    reference: CellAnswers | None = None
    tried: list[Tried] = field(default_factory=list)

    def open(self, b: Settings) -> tuple[Trial, Trial]:
        """Run A and B."""
        first, second = self._run(Point("B", b, self.wishes), also_a=True)
        return first, second

    def try_settings(self, label: str, settings: Settings) -> Tried:
        """Run settings under a name, and judge and tell what comes of it."""
        trial = self._run(Point(label, settings, self.wishes))[-1]
        tried = self.judged(trial)
        self.progress.note(f"Trial {len(self.tried) - 1}: {label}: {said(tried)}")
        self.tried.append(tried)
        return tried

    def _run(self, point: Point, *, also_a: bool = False) -> list[Trial]:
        timed = isinstance(self.criterion, Slower)
        return self.runner.run([self.a, point] if timed or also_a else [point], timed=timed)

    def judged(self, trial: Trial) -> Tried:
        criterion = self.criterion
        if isinstance(criterion, Fails):
            return Tried(trial, _fails(criterion, trial), {})
        if not trial.answered:
            return Tried(trial, Verdict.UNRESOLVED, {"note": "it has no answers"})
        assert criterion is not None and self.reference is not None  # noqa: S101, PT018 - set when opened
        if isinstance(criterion, Slower):
            keys = [self.reference.key, trial.key]
            timings = Timings(find_sessions(self.runner.store, keys))
            return Tried(trial, *criteria.judge_time(criterion, timings, *keys))
        return Tried(trial, *criteria.judge(criterion, self.reference, trial.answers()))


def bisect_passes(
    runner: Runner,
    a: Settings,
    b: Settings,
    progress: Progress,
    *,
    criterion: Criterion | None = None,
    image: str | None = None,
    refine: bool = True,
    wishes: Mapping[str, Any] | None = None,
) -> Found:
    """Find the smallest set of changes from A's settings to B's that shows B's fault.

    Args:
        runner: tries points of settings over one model, environment and backend.
        a: settings of the cell that is taken for right.
        b: settings of the cell with the fault.
        progress: where each trial is told.
        criterion: what to look for; by default the flip that is surest, or half of the largest
            difference, or that B fails.
        image: of which image the label flips, by name or index, in place of a criterion; B has to
            have answers then.
        refine: go on where a guilty change stands for passes.
        wishes: what both want of their conversions.

    Raises:
        UsageError: the two have the same settings, A has no answers, or B does not show it.
    """
    known = dict(runner.offer().get("names") or {})
    given_a, given_b = a, b
    a, b = alike(a, b, known)
    steps = changes(a, b, known)
    if not steps:
        raise UsageError(
            "The two cells have the same settings: no pass can be to blame.",
            "`harness bisect operators A B` finds the part of the model that differs.",
        )
    wanted = dict(wishes or {})
    bench = _Bench(runner, progress, Point("A", given_a, wanted), wanted, criterion)
    _begin(bench, given_b, image)

    def made(chosen: Collection[str]) -> Tried:
        mine = [step for step in steps if step.name in chosen]
        label = _label("A with", [step.name for step in mine], len(steps))
        return bench.try_settings(label, between(a, b, mine, known))

    least = minimal_set([step.name for step in steps], lambda names: made(names).verdict)
    guilty = tuple(step for step in steps if step.name in least.found)
    smallest: Settings = between(a, b, guilty, known)
    needed, more = None, Minimum((), 0)
    if refine and any(step.kind != "member" for step in guilty):
        needed, more, smallest = _needed(bench, smallest, known)
    others = [step for step in steps if step not in guilty]
    rest = None
    if others:
        label = _label("B without", least.found, len(steps))
        rest = bench.try_settings(label, between(a, b, others, known))
    assert bench.criterion is not None  # noqa: S101 - set when it was opened
    return Found(
        criterion=bench.criterion,
        changes=tuple(steps),
        guilty=guilty,
        needed=needed,
        rest=rest,
        tried=tuple(bench.tried),
        unresolved=len(least.unresolved) + len(more.unresolved),
        smallest=smallest,
    )


def _begin(bench: _Bench, settings: Settings, image: str | None) -> None:
    """Run A and B, choose what to look for, and see that B shows it."""
    a, b = bench.open(settings)
    if not a.answered:
        why = f"A has no answers ({a.kind or a.status}: {a.message}), so nothing can be held against it"
        if not b.answered:
            raise UsageError(
                f"{why}, and B has none either.",
                "Sweep a third cell that answers, and take it as A.",
            )
        raise UsageError(f"{why}.", "Exchange the two: what A does not do is then looked for.")
    bench.reference = a.answers()
    if image is not None and not b.answered:
        raise UsageError(
            f"B has no answers ({b.kind or b.status}: {b.message}), so no label of {image} can "
            "flip in it.",
            "Leave --image away: what makes B fail is looked for then.",
        )
    if bench.criterion is None:
        bench.criterion = (
            criteria.choose(bench.reference, b.answers(), image)
            if b.answered
            else Fails(b.kind or b.status, b.message)
        )
    bench.progress.note(f"Looking for: {bench.criterion}.")
    bench.tried.append(Tried(a, Verdict.ABSENT, {}))
    shown = bench.judged(b)
    bench.tried.append(shown)
    if shown.verdict is not Verdict.SHOWS:
        raise UsageError(
            f"B does not show it ({bench.criterion}): {said(shown)}.",
            "Nothing can be told from times like these: end what else runs, then the same again; "
            "or ask for a smaller factor."
            if shown.verdict is Verdict.UNRESOLVED and isinstance(bench.criterion, Slower)
            else "Ask for less, or for another image; `harness compare A B` tells what differs.",
        )


def _needed(
    bench: _Bench, settings: Settings, known: Mapping[str, Sequence[str]]
) -> tuple[Needed, Minimum, Settings]:
    """With the guilty changes made: which passes have to run, so that it shows."""
    none = Minimum((), 0)
    if settings.get(ONLY) is not None:
        return Needed(reason=f"{ONLY} says already which run"), none, settings
    if not known.get(DISABLED):
        return (
            Needed(reason="this backend names no passes that can be switched off"),
            none,
            settings,
        )
    off = set(settings.get(DISABLED) or ())
    there = [name for name in known[DISABLED] if name not in off]
    if not there:
        return Needed(reason="every pass is switched off already"), none, settings

    def only(kept: Collection[str]) -> Settings:
        return without(settings, [name for name in there if name not in kept])

    bare = bench.try_settings("the same, all passes off", only(()))
    if bare.verdict is not Verdict.ABSENT:
        why = (
            "it shows with every pass off that can be switched off"
            if bare.verdict is Verdict.SHOWS
            else "with all passes off it cannot be told"
        )
        return Needed(of=len(there), reason=why), none, settings
    ran = set(
        bench.try_settings("A with what was found", settings).trial.compiled.get("passes") or ()
    )
    names = [name for name in there if name in ran]
    if not names or names == there or not _enough(bench, names, only(names)):
        # Which ran is not told, or those alone are not it: others take their place.
        names = there

    def test(kept: Collection[str]) -> Verdict:
        label = _label("the same, only", [n for n in names if n in kept], len(names))
        return bench.try_settings(label, only(kept)).verdict

    least = minimal_set(names, test)
    return Needed(least.found, len(names)), least, only(least.found)


def _enough(bench: _Bench, names: Sequence[str], settings: Settings) -> bool:
    """Whether it still shows with the passes alone that ran."""
    tried = bench.try_settings(f"the same, only the {len(names)} that ran", settings)
    return tried.verdict is Verdict.SHOWS


def _fails(criterion: Fails, trial: Trial) -> Verdict:
    if trial.answered:
        return Verdict.ABSENT
    same = (trial.kind or trial.status) == criterion.kind
    if same and criterion.message:
        same = same_failure(criterion.message, trial.message)
    return Verdict.SHOWS if same else Verdict.UNRESOLVED


def _label(what: str, names: Sequence[str], of: int) -> str:
    if len(names) <= _LISTED:
        return f"{what} {', '.join(names)}"
    return f"{what} {len(names)} of {of} ({names[0]} … {names[-1]})"


def said(tried: Tried) -> str:
    """One line: the verdict and what it rests on."""
    told = tried.measured
    facts = []
    if told.get("flips") is not None:
        facts.append(f"{told['flips']} flip{'' if told['flips'] == 1 else 's'}")
    if told.get("max_abs_diff") is not None:
        facts.append(f"differs by {told['max_abs_diff']:.3g}")
    if told.get("time_ratio") is not None:
        facts.append(f"time × {told['time_ratio']:.3f}")
    if tried.trial.message:
        facts.append(f"{tried.trial.kind or tried.trial.status}: {tried.trial.message[:120]}")
    elif told.get("note"):
        facts.append(str(told["note"]))
    return f"{tried.verdict.value} ({', '.join(facts)})" if facts else tried.verdict.value
