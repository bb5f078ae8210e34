"""A cell counts only on the device that it was meant for."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import ExecutionError
from harness.execution.proof import check_device


def test_a_cell_on_its_own_device_is_taken() -> None:
    check_device("cpu", None, {"device": "cpu"})
    proof = {"uuid": "GPU-a", "name": "A GPU"}
    check_device("cuda", "GPU-a", {"device": "cuda", "device_proof": proof})
    check_device("cuda", "MIG-a", {"device": "cuda", "device_proof": proof})


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        ({"device": "cpu"}, "to run on cuda and ran on cpu"),
        ({}, "nobody knows what"),
        ({"device": "cuda"}, "no proven GPU"),
        ({"device": "cuda", "device_proof": {"uuid": "GPU-b"}}, "its model is on GPU-b"),
        ({"device": "cuda", "device_proof": "GPU-a"}, "no proven GPU"),
    ],
)
def test_a_silent_fall_back_and_another_gpu_are_refused(ran: dict[str, Any], said: str) -> None:
    with pytest.raises(ExecutionError, match=said) as caught:
        check_device("cuda", "GPU-a", ran)
    assert caught.value.kind == "wrong-device"
