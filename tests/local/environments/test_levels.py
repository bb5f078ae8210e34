"""The table of levels against what each environment's backends say that they can be asked for."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.installed import cannot_install

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.execution.offers import refusal
from harness.plan.cells import Cell
from harness.plan.levels import LEVELS
from harness.progress import SilentProgress

ENVIRONMENTS = {
    "onnxruntime-1.31": ("onnxruntime",),
    "litert-2.3": ("tflite",),
    "tvm-0.27": ("tvm",),
    "torch-2.13": ("torch.eager", "torch.jit", "torch.compile", "torch.export"),
    "tensorflow-2.21": (
        *("tensorflow.eager", "tensorflow.graph", "tensorflow.xla", "keras.predict", "tflite"),
    ),
    "openvino-2026.4": ("openvino",),
    "jax-0.10": ("jax",),
    "iree-3.13": ("iree",),
    "ncnn-20261020": ("ncnn",),
}
ROWS = [
    (environment, backend, level)
    for environment, names in ENVIRONMENTS.items()
    for backend in names
    for level, found in LEVELS[backend].items()
    if not isinstance(found, str)
]


@cache
def probed(environment: str) -> dict[str, Any]:
    """An environment's probe; skips where the environment can't be installed."""
    try:
        return dict(provision(resolve(environment), SilentProgress()).probe)
    except HarnessError as error:
        cannot_install(environment, error)


@pytest.mark.parametrize(("environment", "backend", "level"), ROWS)
def test_a_level_asks_for_nothing_that_its_backend_does_not_offer(
    environment: str, backend: str, level: str
) -> None:
    probe = probed(environment)
    assert probe["backends"][backend]["ok"], probe["backends"][backend]["detail"]
    asked = cast("Cell", SimpleNamespace(backend=backend, settings=LEVELS[backend][level]))
    assert refusal(asked, probe) is None
