"""Levels and settings as people read them: what each changes, at what cost, and which change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.plan.levels import OWN
from harness.report import times, words
from harness.store.cell_routes import asked_of
from harness.store.compiled import NOT_SHOWN, given_settings, level_of
from harness.store.naming import settings_text

Document = dict[str, Any]

LEAD = (
    "Each level or setting of a backend beside a reference of its own. The compiled form is a hash of "
    "all that is executed, constants included. Where it and every bit of the answers are the same, "
    "the setting changes nothing: it is inert, and whatever its time came out at is what two runs "
    "of one program differ by. Where only the answers are the same, it may still run otherwise."
)

_WIDE = 120
_KINDS_SHOWN = 4
_HASH_SHOWN = 10
_NAMED = 6


@dataclass(frozen=True)
class LevelRow:
    """One cell of a group in words.

    Attributes:
        key: of the cell.
        name: its level, its settings, or what a study calls it.
        settings: all that it was compiled with, those of its level included.
        effect: what it changes.
        state: `reference`, `inert`, `changes`, `unknown` or `failed`: for colours.
        alike: names of the others in the group that it is inert to, the reference left out.
        flips: labels changed, of how many.
        share: the same in per cent with its interval; empty where none did or none could.
        changed: whether any did; None: not known.
        largest: difference of the outputs.
        ratio: its time as a multiple of the reference's.
        interval: of the ratio.
        verdict: on the time, in a word or two.
        time_state: of the verdict: `faster`, `slower`, `even` or `unknown`.
        form: the kind of program and the beginning of its hash, or why there is none.
        operators: how many; empty where not told.
        moved: which kinds have become more or fewer than in the reference.
        code: size of the code.
        compiling: time to load and compile.
        memory: the most of it meanwhile.
        cache: `cold`, `warm`, or a dash where nothing is kept.
    """

    key: str
    name: str
    settings: str
    effect: str
    state: str
    alike: tuple[str, ...]
    flips: str
    share: str
    changed: bool | None
    largest: str
    ratio: str
    interval: str
    verdict: str
    time_state: str
    form: str
    operators: str
    moved: str
    code: str
    compiling: str
    memory: str
    cache: str


@dataclass(frozen=True)
class LevelsView:
    """The levels and settings of one backend of one environment.

    Attributes:
        model: whose.
        place: environment and backend, and what else tells the group from another.
        rows: the cells.
        note: what weakens the proof; or "".
    """

    model: str
    place: str
    rows: tuple[LevelRow, ...]
    note: str


def levels_views(result: Document) -> list[LevelsView]:
    """The groups of a sweep's result; results of old stores have none."""
    cells = {cell["key"]: cell for cell in result["cells"]}
    return [_view(group, cells) for group in result.get("levels") or []]


def _view(group: Document, cells: Mapping[str, Document]) -> LevelsView:
    names = {row["key"]: _called(cells[row["key"]]) for row in group["rows"]}
    reference = next((r for r in group["rows"] if r["key"] == group["reference"]), None)
    note = ""
    if group["repeatable"] is False:
        note = "The same cell compiled twice gave two forms, so another form proves no change here."
    cell = cells[group["rows"][0]["key"]]
    return LevelsView(
        model=str(group["model"]),
        place=" \u00b7 ".join([str(group["environment"]), *_apart(cell)]),
        rows=tuple(_row(row, reference, names) for row in group["rows"]),
        note=note,
    )


def _apart(cell: Document) -> list[str]:
    """The backend and what is not usual of a cell, without its level and settings."""
    bare = {**cell, "level": OWN, "called": "", "settings": {}, "optimise": None}
    return words.backend(bare).split(" \u00b7 ")


def _called(cell: Document) -> str:
    if cell.get("called"):
        return str(cell["called"])
    level = level_of(cell)
    told = [] if level == OWN else [level]
    told.append(settings_text(given_settings(cell), whole=False))
    told.append(words.spoken(cell, "optimise") if "optimise" in asked_of(cell) else "")
    return ", ".join(filter(None, told)) or "no settings"


def _row(row: Document, reference: Document | None, names: Mapping[str, str]) -> LevelRow:
    verdict = row["time_verdict"]
    timed = verdict is not None and verdict["ratio"] is not None
    own, base = row["compiled"] or {}, (reference or {}).get("compiled") or {}
    first = reference is not None and row["key"] == reference["key"]
    alike = [names[key] for key in row["same_as"] if not reference or key != reference["key"]]
    return LevelRow(
        key=row["key"],
        name=names[row["key"]],
        settings=settings_text(row["settings"] or {}, whole=False),
        effect=_effect(row, names[reference["key"]] if reference else ""),
        state=_STATES[row["effect"]],
        alike=tuple(alike),
        flips=_flips(row),
        share=_share(row),
        changed=None if row["flips"] is None else row["flips"] > 0,
        largest=words.difference(row["max_abs_diff"], identical=bool(row["identical"])),
        ratio=words.ratio(row["time_ratio"]),
        interval=words.interval(row["time_low"], row["time_high"]),
        verdict=times.short(verdict) if timed else words.NOTHING,
        time_state=times.state(verdict) if timed else "even",
        form=_form(row),
        operators=_operators(own),
        moved="" if first else moved(base.get("operators") or {}, own.get("operators") or {}),
        code=words.NOTHING if own.get("code_bytes") is None else words.size(own["code_bytes"]),
        compiling=_compiling(row),
        memory=_memory(row),
        cache=str(row["compile_cache"]) if row["compile_cache"] in {"cold", "warm"} else "",
    )


_STATES = {
    "reference": "reference",
    "inert": "inert",
    "same-form": "unknown",
    "changes": "changes",
    "unstable": "unknown",
    "unknown": "unknown",
    "failed": "failed",
}


def _effect(row: Document, reference: str) -> str:
    said = {
        "reference": "reference",
        "inert": f"inert: changes nothing, same compiled form as {reference}",
        "same-form": "same compiled form, other answers: it is not deterministic",
        "unstable": "another compiled form, which proves nothing here",
        "failed": f"failed: {row['kind'] or 'no answers'}",
    }
    if row["effect"] == "changes":
        equal = ", the same answers bit for bit" if row["identical"] else ""
        return f"another compiled form{equal}"
    return said.get(row["effect"], "cannot be told: no compiled form is known")


def _flips(row: Document) -> str:
    if row["flips"] is None:
        return words.NOTHING
    return f"{words.count(row['flips'])} of {words.count(row['images'])}"


def _share(row: Document) -> str:
    if not row["flips"]:
        return ""
    reach = f"{words.percent(row['flip_low'])} to {words.percent(row['flip_high'])}"
    return f"{words.percent(row['flip_share'])} ({reach})"


def _form(row: Document) -> str:
    found = row["compiled"]
    if found is None:
        return words.NOTHING if row["effect"] == "failed" else "not asked for"
    if "absent" in found:
        return words.not_shown(str(found["absent"] or NOT_SHOWN))
    return f"{found['form']} {found['sha256'][:_HASH_SHOWN]}"


def _operators(compiled: Mapping[str, Any]) -> str:
    counts = compiled.get("operators") or {}
    told = [words.plural(sum(counts.values()), "operator")] if counts else []
    if compiled.get("passes") is not None:
        ran = len(compiled["passes"])
        told.append("1 pass ran" if ran == 1 else f"{words.count(ran)} passes ran")
    return ", ".join(told)


def moved(base: Mapping[str, int], own: Mapping[str, int]) -> str:
    """The kinds of operators whose number changed most, as `Clip 35 \u2192 0`."""
    if not base or not own:
        return ""
    kinds = sorted(
        (kind for kind in {*base, *own} if base.get(kind, 0) != own.get(kind, 0)),
        key=lambda kind: (-abs(own.get(kind, 0) - base.get(kind, 0)), kind),
    )
    told = [f"{kind} {base.get(kind, 0)} \u2192 {own.get(kind, 0)}" for kind in kinds]
    more = [f"and {len(told) - _KINDS_SHOWN} more kinds"] if len(told) > _KINDS_SHOWN else []
    return ", ".join([*told[:_KINDS_SHOWN], *more])


def _compiling(row: Document) -> str:
    if row["load_ns"] is None:
        return words.NOTHING
    return words.duration((row["load_ns"] or 0) + (row["compile_ns"] or 0))


def _memory(row: Document) -> str:
    peak = row["compile_peak_mib"]
    return words.NOTHING if peak is None else words.size(peak * 2**20)


def inert_in_words(result: Document) -> str:
    """A sentence that names what changes nothing; empty where everything does, or nobody knows."""
    told = []
    several = len({str(cell["model"]) for cell in result["cells"]}) > 1
    for view in levels_views(result):
        inert = [row.name for row in view.rows if row.state == "inert"]
        reference = next((row.name for row in view.rows if row.state == "reference"), "")
        if inert:
            of_model = f"{view.model} \u00b7 " if several else ""
            told.append(f"{of_model}{view.place}: {', '.join(inert)} (as {reference})")
    if not told:
        return ""
    more = f"; and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return f"Inert, same compiled form: {'; '.join(told[:_NAMED])}{more}."


def print_levels(result: Document, console: Console, new_table: Any) -> None:
    """Print the levels of a sweep as tables for the terminal, if there are any.

    Args:
        result: what `harness.analysis.sweep_result` returns.
        console: where to.
        new_table: makes an empty table from its title and columns.
    """
    wide = console.width >= _WIDE
    views = levels_views(result)
    several = len({view.model for view in views}) > 1
    for view in views:
        heads = ["cell", "level", "flips", "largest diff", "time", "95 % interval", "verdict"]
        heads += ["compiled form", "operators", "load + compile", "peak"] if wide else []
        of_model = f" \u00b7 {view.model}" if several else ""
        left = ("cell", "level", "verdict", "compiled form", "effect")
        table: Table = new_table(
            f"Levels \u00b7 {view.place}{of_model}", *heads, "effect", left=left
        )
        for row in view.rows:
            texts = [row.key[:8], row.name, row.flips, row.largest, row.ratio, row.interval]
            texts.append(row.verdict)
            texts += [row.form, row.operators.partition(" ")[0]] if wide else []
            texts += [_compiled_in(row), row.memory] if wide else []
            effect = Text(_with_alike(row), style=_STYLES.get(row.state, ""))
            table.add_row(*map(Text, texts), effect, style=_STYLES.get(f"row {row.state}"))
        console.print(table)
        if view.note:
            console.print(Text(view.note, style="yellow"), soft_wrap=True)


_STYLES = {"inert": "bold yellow", "failed": "red", "row reference": "dim"}


def _compiled_in(row: LevelRow) -> str:
    return f"{row.compiling} ({row.cache})" if row.cache else row.compiling


def _with_alike(row: LevelRow) -> str:
    return f"{row.effect}; inert to {', '.join(row.alike)}" if row.alike else row.effect


def levels_markdown(view: LevelsView) -> tuple[tuple[str, ...], Sequence[Sequence[str]]]:
    """Heads and rows of a group's table."""
    heads = (
        *("level", "effect", "compiled form", "flips", "largest difference", "time"),
        *("95 % interval", "verdict", "operators", "code", "load + compile", "peak memory"),
    )
    rows = [
        [
            row.name,
            _with_alike(row),
            row.form,
            f"{row.flips}, {row.share}" if row.share else row.flips,
            row.largest,
            row.ratio,
            row.interval,
            row.verdict,
            "; ".join(part for part in (row.operators, row.moved) if part) or words.NOTHING,
            row.code,
            _compiled_in(row),
            row.memory,
        ]
        for row in view.rows
    ]
    return heads, rows
