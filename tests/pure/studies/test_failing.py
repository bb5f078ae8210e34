"""Which failures are the same one."""

from __future__ import annotations

import pytest

from harness.studies.failing import is_said, same_failure, signal_in


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("It was ended by SIGSEGV.", "It was ended by SIGSEGV.", True),
        ("It was ended by SIGSEGV.", "It was ended by SIGABRT.", False),
        ("ended by signal 11", "ended by signal 6", False),
        ("at 0x7f10 in /a/b.cc:31: no rule", "at 0x80ff in /c/d/b.cc:32: no rule", True),
        ("no rule for Conv", "no rule for Relu", False),
    ],
)
def test_failures_are_the_same_but_for_numbers_and_paths(a, b, same):
    assert same_failure(a, b) is same


@pytest.mark.parametrize(
    ("message", "number"), [("ended by SIGSEGV", 11), ("ended by signal 6", 6), ("no rule", None)]
)
def test_a_message_names_its_signal(message, number):
    assert signal_in(message) == number


def test_a_message_is_found_in_an_output_whatever_was_put_before_it():
    message = "tvm: it was not compiled: InternalError: Check failed: (n == 3) is false"
    output = "Traceback\n  File x\nInternalError: Check failed: (n == 4) is false\n"
    assert is_said(message, output)
    assert not is_said(message, "ImportError: no module named tvm")
    assert not is_said("", output)
