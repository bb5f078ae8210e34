"""The graph that OpenVINO runs, as its own XML."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any


def keep(compiled: Any, folder: str) -> None:
    """Write the runtime model: each node with its kernel, layout and precision; it has no weights."""
    target = os.path.join(folder, "runtime.xml")
    import_module("openvino").serialize(compiled.get_runtime_model(), target)
    weights = os.path.join(folder, "runtime.bin")
    if os.path.isfile(weights) and os.path.getsize(weights) == 0:
        os.unlink(weights)
