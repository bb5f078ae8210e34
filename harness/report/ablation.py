"""An ablation for reading: the tables of single passes, and what each pass was found to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.report import times, words
from harness.report.tabular import markdown_table, markdown_text, terminal_table
from harness.store.naming import settings_text
from harness.studies.effects import EFFECTS, UNTRIED

Document = dict[str, Any]

_KINDS_SHOWN = 4
_ROOMY = 110
_HEADS = ("pass", "flips", "%", "largest diff", "time", "95 % interval", "verdict", "operators")
_LEFT = ("pass", "verdict", "operators")
_NAMED = 8
"""So many inert passes are named under a table on a terminal; the last table names them all."""


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        name: of the pass, or `all on`.
        row: the study's row.
        texts: what stands in the columns after the name.
    """

    name: str
    row: Document
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """One of the two tables.

    Attributes:
        title: what it is.
        lead: how to read it.
        lines: what changed something.
        inert: names of those that changed nothing.
        rewritten: those of them that changed the file, though the same was compiled of it.
        invalid: why times are INVALID, a line a reason.
        failed: what failed: name, kind, message.
    """

    title: str
    lead: str
    lines: tuple[Line, ...]
    inert: tuple[str, ...]
    rewritten: tuple[str, ...]
    invalid: tuple[str, ...]
    failed: tuple[tuple[str, str, str], ...]


def sections(document: Mapping[str, Any]) -> list[Section]:
    """The tables of an ablation: each pass alone, and all passes but one."""
    rows = document["rows"]
    alone = _section(
        "Each pass alone, against all off",
        "What a single pass does to a model that nothing else was done to; the first row is all "
        "of them together.",
        [row for row in rows if row["arm"] in {"off", "on", "alone"}],
    )
    without = _section(
        "All passes but one, against all on",
        "What is lost where a single pass is left out.",
        [row for row in rows if row["arm"] == "without"],
    )
    return [one for one in (alone, without) if one.lines or one.inert or one.failed]


def _section(title: str, lead: str, rows: Sequence[Document]) -> Section:
    lines, inert, failed = [], [], []
    for row in rows:
        name = str(row["pass"] or row["label"])
        if row["status"] in {"failed", "skipped"}:
            failed.append((name, str(row["kind"] or row["status"]), str(row["message"] or "")))
        elif row["arm"] == "off":
            continue
        elif row["inert"]:
            inert.append(name)
        else:
            lines.append(Line(name, row, _texts(row)))
    rewritten = [str(r["pass"] or r["label"]) for r in rows if r["inert"] and r["file_changed"]]
    return Section(
        title, lead, tuple(lines), tuple(inert), tuple(rewritten), _invalid(lines), tuple(failed)
    )


def _invalid(lines: Sequence[Line]) -> tuple[str, ...]:
    """Why times are INVALID: what is wrong with a session once, not for each of its cells."""
    said: dict[str, None] = {}
    for line in lines:
        verdict = (line.row["pair"] or {}).get("time_verdict") or {}
        for reason in verdict.get("reasons") or ():
            if verdict["valid"] is False:
                said[f"{reason['kind']}: {reason['message']}"] = None
    return tuple(said)


def _texts(row: Document) -> tuple[str, ...]:
    pair = row["pair"]
    if pair is None:
        return (*(words.NOTHING,) * 6, f"{row['against']} has no answers")
    verdict = pair["time_verdict"]
    said = [times.short(verdict)] if pair["time_ratio"] is not None else ["not timed"]
    if row["said"]:
        said.append(row["said"])
    return (
        words.count(pair["flips"]),
        words.percent(pair["flip_share"]),
        words.largest(pair),
        words.ratio(pair["time_ratio"]),
        words.interval(pair["time_low"], pair["time_high"]),
        "; ".join(said),
        operators(row),
    )


def operators(row: Mapping[str, Any]) -> str:
    """By how much kinds of operators grew or shrank, the most first: `FusedConv +35, Relu -35`."""
    changed = row["operators_changed"] or {}
    most = sorted(changed.items(), key=lambda one: (-abs(one[1]), one[0]))
    shown = [f"{kind} {number:+d}" for kind, number in most[:_KINDS_SHOWN]]
    if len(most) > _KINDS_SHOWN:
        shown.append(f"{len(most) - _KINDS_SHOWN} more")
    if shown:
        return ", ".join(shown)
    return "same counts" if row["compiled"].get("operators") else words.NOTHING


def by_effect(document: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Each word for what passes do, its meaning, and the passes it is said of; none are left out.

    Of an ablation that is not complete nothing is said that a later point could take back.
    """
    found: dict[str, list[str]] = {word: [] for word in EFFECTS}
    for one in document["passes"]:
        found[one["effect"]].append(str(one["name"]))
    return [(word, EFFECTS[word], names) for word, names in found.items() if names]


def subject(document: Mapping[str, Any]) -> str:
    """What was ablated: model, environment, backend, and the settings that all points share."""
    parts = [document["model"], document["environment"], document["backend"]]
    told = settings_text(document["settings"])
    return " · ".join([*map(str, parts), *([told] if told else [])])


def notes(document: Mapping[str, Any]) -> list[str]:
    """What has to be known to read the tables."""
    tried, known = len(document["passes"]), document["known"]
    were = "was" if tried == 1 else "were"
    chosen = "" if tried == known else f", of which {tried} {were} tried"
    images = document["images"]
    over = "" if images is None else f"; answers of {words.plural(images, 'image')}"
    said = [f"{document['owner']} knows {known} by name{chosen}{over}."]
    looked = document["first_look"]
    if looked is not None and looked != images:
        said.append(
            f"Every point answered {words.plural(looked, 'image')}; what was compiled to the same "
            "program with the same answers was asked no more."
        )
    if document["timed"]:
        said.append("The same program is not timed against itself.")
    else:
        said.append("Nothing was timed (--no-timing).")
    return said


def print_ablation(document: Mapping[str, Any], console: Console) -> None:
    """Print an ablation: what was found, the two tables, and each pass by what it does."""
    style = "bold" if document["complete"] else "bold red"
    console.print(Text(str(document["headline"]), style=style))
    console.print(Text(subject(document), style="dim"))
    for note in notes(document):
        console.print(Text(note, style="dim"), soft_wrap=True)
    for section in sections(document):
        _print_section(section, console)
    effects = by_effect(document)
    if [word for word, *_ in effects] == [UNTRIED]:
        return
    table = terminal_table(
        "What each pass does", "passes", "effect", "which", left=("effect", "which")
    )
    for word, meaning, names in effects:
        table.add_row(Text(str(len(names))), Text(f"{word}: {meaning}"), Text(", ".join(names)))
    console.print(table, width=min(console.width, 160))


def _print_section(section: Section, console: Console) -> None:
    roomy = console.width >= _ROOMY
    heads = _HEADS if roomy else _HEADS[:-1]
    table = terminal_table(section.title, *heads, left=_LEFT)
    for line in section.lines:
        flips = bool(line.row["pair"] and line.row["pair"]["flips"])
        texts = line.texts[: len(heads) - 1]
        table.add_row(
            Text(line.name), *(Text(one) for one in texts), style="yellow" if flips else None
        )
    console.print(table if section.lines else Text(section.title, style="bold"))
    if section.inert:
        console.print(Text(inert_in_words(section, _NAMED), style="dim"), soft_wrap=True)
    for reason in section.invalid:
        console.print(Text(f"INVALID times: {reason}", style="red"), soft_wrap=True)
    for name, kind, message in section.failed:
        said = words.reason(message, 300)
        console.print(Text(f"failed {name} ({kind}): {said}", style="red"), soft_wrap=True)


def inert_in_words(section: Section, most: int | None = None) -> str:
    """The passes of a table that changed nothing, in a sentence.

    Args:
        section: the table.
        most: so many are named, and the others counted; None: all are named.
    """
    named = section.inert if most is None else section.inert[:most]
    more = len(section.inert) - len(named)
    others = f", and {more} more" if more else ""
    said = f"Inert here ({len(section.inert)}): {', '.join(named)}{others}."
    if section.rewritten:
        names = ", ".join(section.rewritten)
        said += f" Of these, the file is changed by {names}, and the same is compiled of it."
    return said


def ablation_markdown(document: Mapping[str, Any]) -> str:
    """An ablation as Markdown: for an issue, a pull request or a document."""
    parts = [
        f"**{markdown_text(str(document['headline']))}**",
        markdown_text(subject(document)),
        markdown_text(" ".join(notes(document))),
    ]
    for section in sections(document):
        parts.append(f"### {section.title}")
        if section.lines:
            rows = ([line.name, *line.texts] for line in section.lines)
            parts.append(markdown_table(_HEADS, rows, left=1))
        if section.inert:
            parts.append(markdown_text(inert_in_words(section)))
        if section.invalid:
            parts.append("\n".join(f"- INVALID times: {markdown_text(i)}" for i in section.invalid))
        if section.failed:
            parts.append("\n".join(_failed(section.failed)))
    parts.append("### What each pass does")
    effects = ([str(len(n)), f"{w}: {m}", ", ".join(n)] for w, m, n in by_effect(document))
    parts.append(markdown_table(("passes", "effect", "which"), effects, left=3))
    return "\n\n".join(parts) + "\n"


def _failed(failed: Iterable[tuple[str, str, str]]) -> list[str]:
    return [
        f"- failed: {markdown_text(f'{name} ({kind}): {words.reason(message, 300)}')}"
        for name, kind, message in failed
    ]
