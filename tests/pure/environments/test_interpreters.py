"""The Python of an environment: the running one, another one here, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environments import interpreters
from harness.environments.interpreters import Interpreter, choose, either, running
from harness.errors import EnvironmentSpecError, ProvisionError

OTHER = Interpreter(Path("/opt/python3.9"), "3.9.18")


def test_the_running_python_is_taken_where_it_is_supported():
    assert choose("x", ["3.2", running().minor]) == running()


def test_another_python_that_is_here_is_taken_where_it_is_not(monkeypatch):
    monkeypatch.setattr(
        interpreters, "find_installed", lambda python: OTHER if python == "3.9" else None
    )
    assert choose("x", ["3.2", "3.9"]) == OTHER


def test_where_none_is_here_the_supported_ones_are_named(monkeypatch):
    monkeypatch.setattr(interpreters, "find_installed", lambda _: None)
    with pytest.raises(ProvisionError) as error:
        choose("old", ["3.2", "3.1"], download=False)
    assert "needs Python 3.2 or 3.1" in str(error.value)
    assert running().minor in str(error.value)


def test_a_python_asked_for_must_be_supported():
    with pytest.raises(EnvironmentSpecError, match=r"has no lock for Python .*supports 3\.2"):
        choose("x", ["3.2"], running().minor)


def test_a_python_asked_for_must_be_there(tmp_path: Path):
    with pytest.raises(EnvironmentSpecError, match="No Python interpreter is found"):
        choose("x", ["3.11"], tmp_path / "python")


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a or b"), ("abc", "a, b or c")]
)
def test_words_are_joined(words, text):
    assert either(words) == text
