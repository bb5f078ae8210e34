"""ONNX files become PyTorch programs, with what is constant in them kept constant."""

from __future__ import annotations

import json
from pathlib import Path

from support.environment_python import run_inside

PROGRAM = Path(__file__).with_name("onnx_to_torch.py")
SHAPES = {
    "all axes": [1, 6, 5],
    "every second pixel": [1, 4, 4],
    "from the end": [1, 6, 3],
    "backwards": [1, 3, 8],
    "more than there is": [1, 2, 5],
}


def test_slices_and_squeezes_with_constant_arguments_answer_as_in_onnx(tmp_path: Path) -> None:
    found = json.loads(run_inside("torch-2.13", PROGRAM, tmp_path).splitlines()[-1])
    assert len(found) == 15
    for name, one in found.items():
        assert one["shape"] == SHAPES[name.partition(", opset")[0]], name
        assert one["difference"] is not None, name
        assert one["difference"] < 1e-6, name
