"""A plain cell for tests to vary."""

from __future__ import annotations

from pathlib import Path

from harness.plan.cells import Cell
from harness.plan.feeds import CellInputs

CELL = Cell(
    model="m",
    model_path=Path("m.onnx"),
    model_format="onnx",
    model_sha256="sha",
    class_offset=0,
    output="auto",
    environment="e",
    environment_identity="identity",
    stack="s",
    version="1",
    backend="b",
    settings={},
    precision="f32",
    device="cpu",
    device_name="A CPU",
    threads=1,
    batch=1,
    executor="venv",
    runner_sha256="runner",
    route="onnx",
    conversion=None,
    inputs=CellInputs("pixels", "inputs", "pixels", None, None, raw_quantised=False),
)
