"""A small store of two environments at three levels, one of which changes nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from support.store_factory import StoreFactory, flip_first, logits

PLAIN = {"Conv": 10, "BatchNormalization": 10, "Relu": 8}
FUSED = {"FusedConv": 10}


def form(program: str, operators: dict[str, int] | None = None) -> dict[str, Any]:
    """What a runner tells of a compiled program, with the same hash for the same program."""
    return {
        "compiled": {
            "form": "onnx",
            "sha256": hashlib.sha256(program.encode()).hexdigest(),
            "operators": operators or FUSED,
            "passes": ["FuseConv", "FoldConstants"],
            "code_bytes": 4096,
        },
        "compile_peak_mib": 96.5,
        "compile_cache": "cold",
    }


def levelled_sweep(root: Path) -> dict[str, str]:
    """A timed sweep of two environments of the backend `null`, and a control.

    In `e-1`, `basic` is another program, slower and with two other labels; `extended` is the very
    same as `default`, though its time came out 40 % shorter. In `e-2`, `basic` is the same program
    as `default` with another answer, and nobody shows what `extended` is.

    Returns:
        The keys, by `ENVIRONMENT LEVEL`, and `control`.
    """
    factory = StoreFactory(root)
    x = logits(40, 6)
    inputs = factory.inputs(40, [int(c) for c in x.argmax(axis=1)])

    def cell(environment: str, level: str, answers: Any, **told: Any) -> str:
        settings = {"basic": {"offset": 1}, "default": {}, "extended": {"offset": 0}}[level]
        return factory.cell(
            inputs,
            [answers],
            environment=environment,
            backend="null",
            level=level,
            settings=settings,
            told=told,
        )

    keys = {
        "e-1 basic": cell("e-1", "basic", flip_first(x, 2), **form("plain", PLAIN)),
        "e-1 default": cell("e-1", "default", x, **form("fused")),
        "e-1 extended": cell("e-1", "extended", x, **form("fused")),
        "e-2 basic": cell("e-2", "basic", flip_first(x, 1), **form("other")),
        "e-2 default": cell("e-2", "default", x, **form("other")),
        "e-2 extended": cell("e-2", "extended", x, compiled={"absent": "it keeps it to itself"}),
    }
    keys["control"] = factory.cell(
        inputs,
        [x],
        environment="e-1",
        backend="null",
        level="default",
        role="control",
        repeat=1,
        told=form("fused"),
    )
    drawn = np.random.default_rng(4)
    speeds = dict(zip(keys.values(), (1.3, 1.0, 0.6, 2.0, 2.0, 1.0, 1.0), strict=True))
    factory.session(
        {
            key: (2e6 * speed * drawn.normal(1, 0.01, (16, 20))).astype(np.int64)
            for key, speed in speeds.items()
        },
        control=keys["control"],
        reference=keys["e-1 default"],
        validity={"cells": {k: {"valid": True, "reasons": []} for k in speeds}, "session": []},
        floor=0.01,
    )
    factory.sweep(list(keys.values()), sessions=["session-1"], baseline=keys["e-1 default"])
    return keys
