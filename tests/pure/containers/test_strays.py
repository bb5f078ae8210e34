"""Whose containers are strays: decided from labels and living processes."""

from __future__ import annotations

import os

import psutil
import pytest

from harness.containers.strays import OWNER, Place, here, is_stray, owner_labels

HERE = Place(machine="m1", boot="b1", namespace="pid:[4]")
PROCESSES = {10: 1000.0}
LABELS = {
    OWNER: "harness",
    f"{OWNER}.pid": "10",
    f"{OWNER}.started": "1000.250",
    f"{OWNER}.machine": "m1",
    f"{OWNER}.boot": "b1",
    f"{OWNER}.namespace": "pid:[4]",
    f"{OWNER}.container": "",
}


@pytest.mark.parametrize(
    ("change", "stray"),
    [
        ({}, False),
        ({"pid": "11"}, True),
        ({"started": "1002.000"}, True),
        ({"boot": "b0"}, True),
        ({"boot": "b0", "machine": "m2"}, False),
        ({"boot": "b0", "machine": "m2", "pid": "11"}, False),
        ({"boot": "b0", "machine": ""}, False),
        ({"namespace": "pid:[5]"}, False),
        ({"namespace": "pid:[5]", "container": "aaaaaaaaaaaa"}, False),
        ({"namespace": "pid:[5]", "container": "bbbbbbbbbbbb"}, True),
        ({"pid": "garbled"}, True),
    ],
)
def test_an_owner_is_dead_or_cannot_be_judged(change: dict[str, str], stray: bool) -> None:
    labels = {**LABELS, **{f"{OWNER}.{name}": value for name, value in change.items()}}
    running = frozenset({"aaaaaaaaaaaa" + 52 * "0"})
    assert is_stray(labels, HERE, PROCESSES, running) is stray


def test_other_peoples_containers_are_no_strays() -> None:
    assert not is_stray({"com.docker.compose.project": "x"}, HERE, PROCESSES, frozenset())


def test_labels_name_the_process_that_was_given_or_this_one() -> None:
    own = owner_labels()
    assert own[f"{OWNER}.pid"] == str(os.getpid())
    assert float(own[f"{OWNER}.started"]) == pytest.approx(psutil.Process().create_time(), abs=0.01)
    other = owner_labels(4711, 12.5)
    assert (other[f"{OWNER}.pid"], other[f"{OWNER}.started"]) == ("4711", "12.500")
    alive = {os.getpid(): psutil.Process().create_time()}
    assert not is_stray(own, here(), alive, frozenset())
    assert is_stray(other, here(), alive, frozenset())
