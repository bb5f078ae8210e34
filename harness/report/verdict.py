"""The sentence an engineer came for: did the answers change, by how much, and in which cell?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.report import words
from harness.report.levels import inert_in_words
from harness.report.times import times_in_words

Document = dict[str, Any]
State = Literal["same", "differs", "unknown", "alone"]

_NAMED = 6


@dataclass(frozen=True)
class Verdict:
    """A headline, what stands behind it, and how it should look.

    Attributes:
        state: `same` (no label changed), `differs`, `unknown` (nothing could be compared), or
            `alone` (nothing was meant to be: each model ran in one cell).
        headline: one sentence.
        detail: one or two more, or "".
    """

    state: State
    headline: str
    detail: str = ""


def verdict(result: Document) -> Verdict:
    """Judge a sweep by its pairs against the reference of the same model."""
    cells = {cell["key"]: cell for cell in result["cells"]}
    judged = [
        pair
        for pair in result["pairs"]
        if pair["agreement"] is not None and cells[pair["a"]]["model"] == cells[pair["b"]]["model"]
    ]
    across = [pair for pair in result["pairs"] if pair["agreement"] is not None]
    if not across:
        return _nothing_compared(result)
    found = judge(judged, result["cells"]) if judged else _between_models(across, result["cells"])
    if len({cells[pair["a"]]["model"] for pair in judged}) == 1:
        times = times_in_words(judged, words.names(result["cells"]))
        found = replace(found, detail=f"{found.detail} {times}".strip())
    if inert := inert_in_words(result):
        found = replace(found, detail=f"{found.detail} {inert}".strip())
    controls = {control["key"] for control in result["controls"]}
    failed = sum(failure["key"] not in controls for failure in result["failures"])
    if failed:
        detail = (
            f"{words.plural(failed, 'cell')} failed and cannot be judged. {found.detail}".strip()
        )
        return Verdict(found.state, found.headline, detail)
    return found


def comparison_verdict(found: Document) -> Verdict:
    """Judge a comparison; with rules the headline says first whether they allow the change."""
    pairs, unmeasured = found["pairs"], found["unmeasured"]
    judged = judge(pairs, found["cells"]) if pairs else Verdict("unknown", "")
    judged = replace(judged, detail=f"{judged.detail} {_same_programs(pairs)}".strip())
    if found["allowed"]:
        return Verdict(judged.state, f"Allowed. {judged.headline}", judged.detail)
    detail = f"{judged.headline} {judged.detail}".strip()
    broken = [f"could not be measured: {pair['reason']}" for pair in unmeasured]
    untold = [one["message"] for pair in pairs for one in pair["undecided"]]
    if found["allowed"] is None and untold and not broken:
        more = f", and {len(untold) - 1} more" if len(untold) > 1 else ""
        return Verdict("unknown", f"Cannot tell: {untold[0]}{more}.", detail)
    if found["allowed"] is None and not broken:
        return judged if pairs else Verdict("unknown", "Nothing could be compared.")
    if found["allowed"] is None:
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        return Verdict("unknown", f"{_upper(broken[0])}{more}.", detail)
    broken += [v["message"] for pair in pairs for v in pair["violations"]]
    if found["baseline_only"]:
        missing = words.plural(len(found["baseline_only"]), "baseline cell")
        broken.append(f"{missing} without a counterpart in the candidate")
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    return Verdict(judged.state, f"Not allowed: {broken[0]}{more}.", detail)


def _same_programs(pairs: Sequence[Document]) -> str:
    """What to say where every pair of a comparison runs one program, or one that varies by itself."""
    if pairs and all(pair["inert"] for pair in pairs):
        return "Inert: both sides are compiled to the very same program, which changes nothing."
    if any(pair["compiled"] == "same" and not pair["identical"] for pair in pairs):
        return "The same compiled form gave other answers: it is not deterministic."
    return ""


def judge(judged: Sequence[Document], cells: Sequence[Document]) -> Verdict:
    """Judge pairs that carry all measures; at least one."""
    names = words.names(cells)
    models = {cell["key"]: str(cell["model"]) for cell in cells}
    if len({models[p["b"]] for p in judged}) > 1:
        names = {key: f"{models[key]} in {name}" for key, name in names.items()}
    broken = [p for p in judged if _nonfinite(p)]
    if broken:
        return _broken(max(broken, key=_nonfinite), names)
    changed = [p for p in judged if p["flips"]]
    if changed:
        return _changed(changed, judged, names)
    if any(p["flips"] is None for p in judged):
        return _values_only(judged, names)
    labels = words.plural(max(p["images"] for p in judged), "label")
    headline = f"Same answers: none of {labels} changed"
    if len(judged) > 1:
        headline += f" in any of {len(judged)} comparisons"
    return Verdict("same", f"{headline}.", _largest_difference(judged, names))


def _nonfinite(pair: Document) -> int:
    measured = pair["agreement"]
    return int(measured["nonfinite_a"] + measured["nonfinite_b"])


def _largest_difference(judged: Sequence[Document], names: dict[str, str]) -> str:
    if all(p["identical"] for p in judged):
        return "Every output is equal bit for bit."
    known = [p for p in judged if p["max_abs_diff"] is not None]
    if not known:
        return "Scores are of unlike kinds, so only labels were compared."
    worst = max(known, key=lambda p: p["max_abs_diff"])
    largest = words.difference(worst["max_abs_diff"])
    return f"The largest difference of any output value is {largest}, in {names[worst['b']]}."


def _between_models(pairs: Sequence[Document], cells: Sequence[Document]) -> Verdict:
    """Judge pairs of unlike models, where no model has two cells to compare."""
    places, models = words.names(cells), {cell["key"]: str(cell["model"]) for cell in cells}
    names = {key: f"{models[key]} in {name}" for key, name in places.items()}
    broken = [p for p in pairs if _nonfinite(p)]
    if broken:
        return _broken(max(broken, key=_nonfinite), names)
    if any(p["flips"] is None for p in pairs):
        return _values_only(pairs, names)
    worst = max(pairs, key=lambda p: p["flip_share"])
    images = words.count(worst["images"])
    if not worst["flips"]:
        headline = f"No label differs between models: none of {images}."
        return Verdict("same", headline, _largest_difference(pairs, names))
    headline = (
        f"Labels differ between models: {words.count(worst['flips'])} of {images} "
        f"({words.percent(worst['flip_share'])})."
    )
    between = f"{names[worst['a']]} against {names[worst['b']]}."
    if len(pairs) > 1:
        between = f"Most of {len(pairs)} comparisons: {between}"
    return Verdict("differs", headline, f"{between} {_upper(_effect(worst))}".strip())


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _nothing_compared(result: Document) -> Verdict:
    controls = {control["key"] for control in result["controls"]}
    failed = sum(failure["key"] not in controls for failure in result["failures"])
    if failed:
        return Verdict("unknown", f"Nothing to compare: {words.plural(failed, 'cell')} failed.")
    cells = result["cells"]
    if not cells:
        return Verdict("unknown", "Nothing to compare: no cell ran.")
    models = {str(cell["model"]) for cell in cells}
    if len(models) == len(cells) and all(cell["path"] for cell in cells):
        return _alone(cells)
    return Verdict("unknown", "Nothing to compare: no two cells have answers over the same images.")


def _alone(cells: Sequence[Document]) -> Verdict:
    """Judge cells that have no other to be set against."""
    called = words.whole_names(cells)
    for cell in cells:
        if cell["nonfinite"]:
            values = words.plural(cell["nonfinite"], "value")
            return Verdict(
                "unknown",
                f"Broken answers: {called[cell['key']]} gives {values} of NaN or infinity.",
                "Labels of such images prove nothing.",
            )
    told = [f"{called[c['key']]}: {words.plural(c['images'], 'image')}" for c in cells]
    right = cells[0]["top1"]
    if len(cells) == 1 and right is not None:
        told[0] += f", top-1 accuracy {words.share(right)}"
    return Verdict(
        "alone",
        f"Answered. {_enumerated(told)}.",
        "A second environment or setting over the same images gives something to compare.",
    )


def _broken(pair: Document, names: dict[str, str]) -> Verdict:
    measured = pair["agreement"]
    side = "b" if measured["nonfinite_b"] >= measured["nonfinite_a"] else "a"
    return Verdict(
        "unknown",
        f"Broken answers: {names[pair[side]]} gives NaN or infinity for "
        f"{words.count(measured['nonfinite_' + side])} of {words.count(pair['images'])} images.",
        "Labels of such images prove nothing; look at that cell first.",
    )


def _changed(
    changed: Sequence[Document], judged: Sequence[Document], names: dict[str, str]
) -> Verdict:
    worst = max(changed, key=lambda p: p["flip_share"])
    labels = (
        f"{words.count(worst['flips'])} of {words.count(worst['images'])} labels "
        f"({words.percent(worst['flip_share'])})"
    )
    if len(judged) == 1:
        headline = f"Answers changed: {labels} from {names[worst['a']]} to {names[worst['b']]}."
        return Verdict("differs", headline, _effect(worst))
    headline = (
        f"Answers changed in {len(changed)} of {len(judged)} comparisons, "
        f"most in {names[worst['b']]}: {labels}."
    )
    same = [names[p["b"]] for p in judged if p["flips"] == 0]
    told = [f"{names[p['b']]} ({words.count(p['flips'])})" for p in changed]
    detail = f"Changed: {_enumerated(told)}."
    return Verdict(
        "differs", headline, f"{detail} Unchanged: {_enumerated(same)}." if same else detail
    )


def _enumerated(names: Sequence[str]) -> str:
    shown = "; ".join(names[:_NAMED])
    return f"{shown}; and {len(names) - _NAMED} more" if len(names) > _NAMED else shown


def _effect(pair: Document) -> str:
    measured = pair["agreement"]
    if measured["broke"] is None:
        return ""
    return (
        f"{words.count(measured['broke'])} broke a right answer and "
        f"{words.count(measured['mended'])} mended a wrong one "
        f"(McNemar p = {measured['mcnemar_p']:.2g})."
    )


def _values_only(judged: Sequence[Document], names: dict[str, str]) -> Verdict:
    unknown = [p for p in judged if p["max_abs_diff"] is None]
    if unknown:
        name = names[unknown[0]["b"]]
        return Verdict("unknown", f"Outputs of {name} cannot be compared with its reference's.")
    if all(p["identical"] for p in judged):
        return Verdict("same", "Same answers: every output is equal bit for bit.")
    worst = max(judged, key=lambda p: p["max_abs_diff"])
    return Verdict(
        "differs",
        f"Outputs differ by up to {words.difference(worst['max_abs_diff'])}, "
        f"in {names[worst['b']]}.",
        "The model has no class scores, so outputs are compared by value.",
    )
