"""Fingerprints: the same for the same program, another for any other, and never in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner import fingerprints
from runner.documents import _problems, schema
from runner.fingerprints import number_names, of_lines

ONES = np.ones((2, 3), np.float32)


def test_equal_programs_and_constants_have_one_hash_and_any_change_another() -> None:
    base = of_lines("onnx", ["Conv a b", "Relu b"], [ONES])
    assert base == of_lines("onnx", ["Conv a b  ", "Relu b"], [ONES.copy()])
    changed = [
        of_lines("onnx", ["Conv a b", "Relu6 b"], [ONES]),
        of_lines("onnx", ["Relu b", "Conv a b"], [ONES]),
        of_lines("onnx", ["Conv a b", "Relu b"], [ONES * 2]),
        of_lines("onnx", ["Conv a b", "Relu b"], [ONES.reshape(3, 2)]),
        of_lines("onnx", ["Conv a b", "Relu b"], [ONES.astype(np.int32)]),
        of_lines("onnx", ["Conv a b", "Relu b"], []),
    ]
    assert len({one.sha256 for one in [base, *changed]}) == 1 + len(changed)


def test_constants_that_are_divided_elsewhere_are_others() -> None:
    assert of_lines("hlo", [], [b"ab", b"c"]).sha256 != of_lines("hlo", [], [b"a", b"bc"]).sha256


def test_operators_are_counted_by_first_word_and_the_most_frequent_stands_first() -> None:
    document = of_lines("tir", ["relu x", "conv y", "conv z", ""], passes=["A", "B"]).as_document()
    assert list(document["operators"].items()) == [("conv", 2), ("relu", 1)]
    assert document["passes"] == ["A", "B"]
    assert document["code_bytes"] == len("relu x\nconv y\nconv z\n\n")
    assert _problems(document, {"$ref": "#/$defs/fingerprint"}, schema("event")["$defs"], "") == []


def test_names_that_a_compiler_chose_anew_are_numbered_by_appearance() -> None:
    one = number_names(["%12 = conv(%in, %7)", "%13 = relu(%12)"])
    two = number_names(["%40 = conv(%in, %8)", "%41 = relu(%40)"])
    crossed = number_names(["%40 = conv(%in, %8)", "%41 = relu(%8)"])
    assert one == two == ["%0 = conv(%1, %2)", "%3 = relu(%0)"]
    assert crossed != one


def test_what_differs_between_processes_is_taken_out_of_texts() -> None:
    text = "call 0x7ffe12ab at /tmp/w1/kernel.c"
    assert fingerprints.strip_addresses(text) == "call 0x at /tmp/w1/kernel.c"
    assert fingerprints.strip_paths(text, ["/tmp", "/tmp/w1", ""]) == "call 0x7ffe12ab at /kernel.c"
    assert fingerprints.strip_numbers("fused_conv2d_add_12") == "fused_conv2d_add"
    assert fingerprints.strip_numbers("fusion.3.1") == "fusion"
    assert fingerprints.strip_numbers("42") == "42"


class _Shows:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def fingerprint(self, folder: str) -> Any:
        Path(folder, "scratch").write_text("x")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def test_a_backend_is_asked_in_an_empty_folder_that_is_gone_after(tmp_path: Path) -> None:
    folder = tmp_path / "fingerprint"
    folder.mkdir()
    (folder / "old").write_text("x")
    found = of_lines("onnx", ["Conv"]).as_document()
    assert fingerprints.take(_Shows(found), str(folder)) == found
    assert not folder.exists()


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        (object(), "its library does not show"),
        (_Shows(RuntimeError("no dump in this version")), "no dump in this version"),
        (_Shows({"sha256": "x"}), "no document of one"),
    ],
)
def test_without_an_answer_the_reason_is_told(tmp_path: Path, backend: Any, why: str) -> None:
    found = fingerprints.take(backend, str(tmp_path / "f"))
    assert list(found) == ["absent"]
    assert why in found["absent"]
    assert not (tmp_path / "f").exists()


def test_with_other_environment_variables_it_is_not_known_to_be_the_same() -> None:
    found = of_lines("onnx", ["Conv"]).as_document()
    given = [{}, {"A": "1"}, {"A": "1", "B": "2"}, {"A": "2"}, {"B": "1"}]
    hashes = [fingerprints.beside(found, variables)["sha256"] for variables in given]
    assert hashes[0] == found["sha256"]
    assert len(set(hashes)) == len(given)
    assert fingerprints.beside(found, {"B": "2", "A": "1"})["sha256"] == hashes[2]
    assert {**fingerprints.beside(found, {"A": "1"}), "sha256": ""} == {**found, "sha256": ""}
    absent = {"absent": "its library does not show"}
    assert fingerprints.beside(absent, {"A": "1"}) == absent


def test_a_plug_in_made_of_one_of_the_runners_backends_does_not_pass_for_it(tmp_path: Path) -> None:
    def shows(self: object, folder: str) -> dict[str, Any]:
        return of_lines("onnx", ["Conv"]).as_document()

    ours = type("Ours", (), {"__module__": "runner.backends.onnxruntime", "fingerprint": shows})
    theirs = type("Paced", (ours,), {"__module__": "paced"})
    own = type("Own", (ours,), {"__module__": "paced", "fingerprint": shows})
    within = type("Within", (ours,), {"__module__": "runner.backends.other"})
    assert "give it one of its own" in fingerprints.take(theirs(), str(tmp_path / "f"))["absent"]
    for whole in (ours, own, within):
        assert "sha256" in fingerprints.take(whole(), str(tmp_path / "f"))
