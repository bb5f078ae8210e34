"""A probe is believed only when every declared backend works."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environments.environment import Preparing
from harness.environments.probe import check_probe, parse_events
from harness.environments.variables import probe_variables, runner_variables
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


PREPARING = Preparing(("pillow",), ("imagecorruptions",))
READY = (
    '{"event": "probe", "backends": {}, "preprocessors": {"pillow": {"ok": true}}, '
    '"corruptions": {"imagecorruptions": {"ok": true}}}'
)


def test_a_probe_of_what_prepares_images_needs_no_backend():
    found = check_probe("x", parse_events(READY), [], PREPARING)
    assert found["preprocessors"]["pillow"] == {"ok": True}


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (
            READY.replace('"pillow"', '"opencv"'),
            "its preprocessor pillow does not work: the runner",
        ),
        (
            READY.replace(
                '"imagecorruptions": {"ok": true}',
                '"imagecorruptions": {"ok": false, "detail": "no numba"}',
            ),
            "its library for corruptions imagecorruptions does not work: no numba",
        ),
        ('{"event": "probe"}', "its preprocessor pillow does not work"),
    ],
)
def test_a_probe_without_what_was_declared_for_images_is_refused(output: str, says: str):
    with pytest.raises(ProvisionError) as error:
        check_probe("x", parse_events(output), [], PREPARING)
    assert says in str(error.value)


CALLERS = {
    "HOME": "/home/me",
    "LD_LIBRARY_PATH": "/mine",
    "OMP_NUM_THREADS": "7",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "PATH": "/bin",
    "PYTHONHOME": "/x",
    "PYTHONPATH": "/mine",
    "VIRTUAL_ENV": "/v",
}


def test_a_probe_has_the_variables_of_a_cell_and_nothing_else_of_the_callers(tmp_path: Path):
    made = probe_variables(tmp_path, Path("/runner"), CALLERS)
    assert made == runner_variables(tmp_path, Path("/runner"), CALLERS)
    assert made == {
        "PATH": "/bin",
        "HOME": str(tmp_path / "home"),
        "LANG": "C.UTF-8",
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONPATH": "/runner",
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    assert (tmp_path / "home").is_dir()
    assert (tmp_path / "tmp").is_dir()


def test_a_probe_sees_the_gpus_that_the_caller_sees(tmp_path: Path):
    given = {**CALLERS, "CUDA_VISIBLE_DEVICES": "1"}
    assert probe_variables(tmp_path, Path("/r"), given)["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in runner_variables(tmp_path, Path("/r"), given)
