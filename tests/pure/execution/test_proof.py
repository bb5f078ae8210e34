"""A cell counts only on the device that it was meant for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.cells import CELL

from harness.errors import ExecutionError
from harness.execution.proof import check_device

GPU = replace(CELL, device="cuda", device_name="A GPU, driver 1", gpu="GPU-a")


def test_a_cell_on_its_own_device_is_taken() -> None:
    check_device(CELL, {"device": "cpu"})
    check_device(GPU, {"device": "cuda", "device_proof": {"uuid": "GPU-a", "name": "A GPU"}})
    part = replace(GPU, gpu="MIG-c")
    check_device(part, {"device": "cuda", "device_proof": {"uuid": "GPU-c"}})


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
        check_device(GPU, ran)
    assert caught.value.kind == "wrong-device"
