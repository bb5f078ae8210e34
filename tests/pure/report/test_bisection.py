"""What is said of a bisection, in the terminal and in an issue."""

from __future__ import annotations

import io

from rich.console import Console

from harness.report.bisection import (
    operators_as_markdown,
    passes_as_markdown,
    print_operators,
    print_passes,
)

TRIAL = {
    "label": "A",
    "key": "1f" * 32,
    "status": "done",
    "verdict": "absent",
    "settings": {},
    "kind": "",
    "message": "",
    "compiled": None,
}
PASSES = {
    "headline": "level: none → all by Inline, found in 2 trials",
    "model": "squeezenet",
    "environment": "tvm-0.27",
    "backend": "tvm",
    "a": {"label": "level basic"},
    "b": {"label": "level extended"},
    "changes": ["level: none → all"],
    "guilty": ["level: none → all"],
    "needed": {"passes": ["Inline"], "of": 6, "reason": ""},
    "criterion": "the label of 7.png differs from A's",
    "smallest": {"level": "all", "disabled_passes": ["Fold", "Fuse", "Layout", "Plan", "Unroll"]},
    "without": "shows",
    "notes": ["another cause"],
    "trials": [
        TRIAL,
        {**TRIAL, "label": "B", "verdict": "shows", "flips": 3, "max_abs_diff": 1.25},
        {
            **TRIAL,
            "label": "only a|b",
            "verdict": "unresolved",
            "status": "failed",
            "kind": "signal",
            "message": "ended by SIGSEGV",
        },
        {
            **TRIAL,
            "label": "only Plan",
            "time_ratio": 1.25,
            "time_low": 1.2,
            "time_high": 1.3,
        },
    ],
}
OPERATORS = {
    "headline": 'Conv "stem", of 52 operators, differs by 0.012',
    "model": "squeezenet",
    "a": {"label": "f32"},
    "b": {"label": "bf16"},
    "image": "7.png",
    "criterion": "outputs differ by 0.001 of the largest number or more",
    "operators": [{"type": "Conv", "name": "stem", "outputs": ["t4"]}],
    "of": 52,
    "start": "t3",
    "end": "t4",
    "frozen": ["t1"],
    "trials": [
        {
            "label": "52 operators",
            "operators": 52,
            "difference": "infinite",
            "shows": True,
            "note": "",
        },
        {"label": 'Relu "r"', "operators": 1, "difference": 0.0, "shows": False, "note": ""},
    ],
    "notes": [],
    "reproducer": {"path": "/s/reproducer", "files": [], "verified": None, "reason": ""},
}


def _printed(function, found):
    console = Console(file=io.StringIO(), width=200)
    function(found, console)
    return console.file.getvalue()


def test_the_first_line_says_what_is_to_blame():
    assert _printed(print_passes, PASSES).startswith("To blame: level: none → all by Inline")
    assert passes_as_markdown(PASSES).startswith("# To blame: level: none → all by Inline")


def test_a_second_cause_a_crash_and_an_interval_are_told():
    text = _printed(print_passes, PASSES)
    assert "still shows it: there is another cause" in text
    assert "unresolved (signal: ended by SIGSEGV)" in text
    assert "1.250 × (1.200 to 1.300)" in text
    assert "note: another cause" in text


def test_long_lists_are_counted_in_the_terminal_and_whole_in_an_issue():
    assert "disabled_passes=5 names" in _printed(print_passes, PASSES)
    assert '"Unroll"' in passes_as_markdown(PASSES)


def test_names_do_not_break_a_table_of_markdown():
    assert "only a\\|b" in passes_as_markdown(PASSES)


def test_a_part_is_told_with_its_ends_and_every_part_that_was_tried():
    text = operators_as_markdown(OPERATORS)
    assert "from t3 to t4, 1 of 52 operators" in text
    assert "1 other tensor holds" in text
    assert "| 52 operators | 52 | infinite | yes |" in text
    assert '| Relu "r" | 1 | 0 | no |' in text


def test_a_note_on_a_part_is_in_the_terminal_and_in_an_issue():
    noted = {**OPERATORS, "notes": ["no fault of an operator"]}
    assert "note: no fault of an operator" in _printed(print_operators, noted)
    assert "\n\n> no fault of an operator\n\n" in operators_as_markdown(noted)


def test_whether_it_was_reproduced_is_never_left_open():
    for verified, reason, said in (
        (None, "", "--verify runs it"),
        (None, "no lock", "Not run anew: no lock."),
        (True, "", "Reproduced in fresh environments: they differ by 0.5."),
        (False, "it is smaller", "Not reproduced in fresh environments: it is smaller."),
    ):
        reproducer = {"path": "/r", "verified": verified, "reason": reason, "difference": "0.5"}
        assert said in _printed(print_operators, {**OPERATORS, "reproducer": reproducer})
