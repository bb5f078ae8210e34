"""A probe is believed only when every declared backend works."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environments.probe import check_probe, parse_events, probe_environment
from harness.errors import ProvisionError

OK = '{"event": "probe", "backends": {"a": {"ok": true}, "b": {"ok": false, "detail": "no b"}}}'


def test_events_are_the_lines_that_are_json_objects():
    assert parse_events(f"noise\n[1]\n{OK}\n")[0]["event"] == "probe"
    assert len(parse_events(f"noise\n[1]\n{OK}\n")) == 1


def test_a_probe_with_every_declared_backend_is_given():
    assert check_probe("x", parse_events(OK), ["a"])["backends"]["a"] == {"ok": True}


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("", "no answer"),
        (OK, "its backend b does not work: no b"),
        ('{"event": "probe"}', "its backend a does not work: the runner does not know it"),
    ],
)
def test_a_probe_without_one_is_refused(output: str, says: str):
    with pytest.raises(ProvisionError) as error:
        check_probe("x", parse_events(output), ["a", "b"])
    assert says in str(error.value)


def test_the_callers_python_does_not_leak_into_a_probe():
    given = {"PYTHONHOME": "/x", "PYTHONPATH": "/mine", "VIRTUAL_ENV": "/v", "PATH": "/bin"}
    made = probe_environment(given, Path("/runner"))
    assert made == {"PATH": "/bin", "PYTHONPATH": "/runner", "PYTHONNOUSERSITE": "1"}
