"""What a session says of its members' times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.store_factory import StoreFactory, logits

from harness.store.sessions import Validity, load_session, ratio_validity, validity_of

GOOD: dict[str, Any] = {"valid": True, "reasons": []}
BAD: dict[str, Any] = {"valid": False, "reasons": [{"kind": "drift", "message": "it drifts"}]}
BUSY = {"kind": "busy-machine", "message": "others ran"}


@pytest.mark.parametrize(
    ("cells", "session", "valid", "kinds"),
    [
        ({"a": GOOD, "b": GOOD}, [], True, []),
        ({"a": GOOD, "b": BAD}, [], False, [("drift", "b")]),
        ({"a": GOOD, "b": GOOD}, [BUSY], False, [("busy-machine", None)]),
        ({"a": BAD, "b": BAD}, [BUSY], False, [("busy-machine", None), ("drift", "a"), ("drift", "b")]),
        ({"a": GOOD, "b": {"valid": False, "reasons": []}}, [], False, []),
        ({"a": GOOD}, [], None, []),
        ({"a": BAD}, [], False, [("drift", "a")]),
        ({"a": GOOD, "b": GOOD, "c": BAD}, [], True, []),
    ],
)  # fmt: skip
def test_members_are_valid_together(
    cells: dict[str, Any], session: list[Any], valid: bool | None, kinds: list[Any]
) -> None:
    found = validity_of({"validity": {"cells": cells, "session": session}}, ["a", "b"])
    assert found.valid is valid
    assert [(reason["kind"], reason["key"]) for reason in found.reasons] == kinds


def test_a_shared_drift_is_against_each_ones_times_and_not_against_their_ratio() -> None:
    drift = {"kind": "shared-drift", "message": "all drift"}
    cells = {key: {"valid": False, "reasons": [drift]} for key in "ab"}
    document: dict[str, Any] = {"validity": {"cells": cells, "session": []}}
    assert validity_of(document, ["a"]).valid is False
    assert validity_of(document, ["a", "b"]).valid is False
    assert ratio_validity(document, ["a", "b"]) == Validity(True)
    cells["b"] = BAD
    assert [one["kind"] for one in ratio_validity(document, ["a", "b"]).reasons] == ["drift"]
    document["validity"]["session"] = [BUSY]
    assert ratio_validity(document, ["a"]).valid is False


def test_sessions_of_before_judge_nothing() -> None:
    assert validity_of({}, ["a"]).valid is None
    assert validity_of({"validity": None}, ["a"]).valid is None


def test_a_session_of_before_is_a_single_stream_of_unknown_batch(tmp_path: Path) -> None:
    factory = StoreFactory(tmp_path)
    key = factory.cell(factory.inputs(3), [logits(3, 4)])
    factory.session({key: np.full((2, 2), 5)}, session_id="old")
    factory.session(
        {key: np.full((2, 2), 5)},
        session_id="new",
        scenario="offline",
        batch={key: 8},
        floor=0.02,
        energy={key: {"absent": "why"}},
    )
    old, new = (load_session(tmp_path, name) for name in ("old", "new"))
    assert (old.scenario, old.batch(key), old.floor, old.of(key, "energy")) == (
        *("single_stream", None, None, None),
    )
    assert (new.scenario, new.batch(key), new.floor) == ("offline", 8, 0.02)
    assert new.of(key, "energy") == {"absent": "why"}
    assert new.batch("another") is None
