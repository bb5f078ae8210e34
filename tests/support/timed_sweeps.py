"""A small timed store, whose sessions are VALID, INVALID or from before times were judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from support.store_factory import StoreFactory, flip_first, logits

ENVIRONMENTS = ("onnxruntime-1.31", "openvino-2026.4", "torch-2.13", "litert-2.3")
BUSY = {"kind": "busy-machine", "message": "Others used 31 % of the leased cores (bound 5 %)."}
DRIFT = {"kind": "drift", "message": "Its rounds drift by 12 % (bound 5 %): let it warm up longer."}

_COMPUTE = {"median_ns": 1_850_000, "samples_ns": [1_850_000]}
_PREPARE = {"median_ns": 40_000, "samples_ns": [40_000]}


def timed_sweep(root: Path, *, drifting: int | None = None, **session: Any) -> list[str]:
    """A sweep of four cells and a control: as fast, 30 % slower, half as long.

    Args:
        root: the store.
        drifting: which of the cells is INVALID by itself.
        session: more for both session documents; `validity=None` makes them old ones.

    Returns:
        The keys: cells in the order of `ENVIRONMENTS`, then the control.
    """
    factory = StoreFactory(root)
    x = logits(40, 6)
    inputs = factory.inputs(40, [int(c) for c in x.argmax(axis=1)])
    keys = [
        factory.cell(inputs, [flip_first(x, number)], environment=name)
        for number, name in enumerate(ENVIRONMENTS)
    ]
    keys.append(factory.cell(inputs, [x], environment=ENVIRONMENTS[0], role="control", repeat=1))
    cells = {key: {"valid": True, "reasons": []} for key in keys}
    if drifting is not None:
        cells[keys[drifting]] = {"valid": False, "reasons": [DRIFT]}
    session = {"validity": {"cells": cells, "session": []}, "floor": 0.01, **session}
    drawn = np.random.default_rng(4)
    speeds = dict(zip(keys, (1.0, 1.0, 1.3, 0.5, 1.0), strict=True))
    shared = drawn.normal(1, 0.05, (16, 1))

    def times(millis: float) -> Any:
        return (millis * 1e6 * shared * drawn.normal(1, 0.01, (16, 20))).astype(np.int64)

    factory.session(
        {key: times(2 * speed) for key, speed in speeds.items()},
        session_id="single",
        control=keys[4],
        peak_rss_mib=dict.fromkeys(keys, 123.4),
        energy={key: {"absent": "this machine has no energy counters"} for key in keys},
        stages={
            key: {
                "stages": {"preprocess": _PREPARE, "compute": _COMPUTE},
                "absent": {"host_to_device": "the CPU reads the batch where it lies"},
            }
            for key in keys
        },
        **session,
    )
    factory.session(
        {key: times(16 * speed) for key, speed in speeds.items()},
        session_id="offline",
        scenario="offline",
        control=keys[4],
        batch=dict(zip(keys, (8, 8, 16, 4, 8), strict=True)),
        **session,
    )
    factory.sweep(keys, sessions=["single", "offline"])
    return keys
