"""The parts of a query one by one: what is done before the model, in it, and after it.

They are measured apart from the rounds, because looking into a query costs time: a GPU has to be
waited for between its parts. So they tell where time goes, and rounds tell how much it is.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from runner.backends.base import STAGES, Backend
from runner.errors import RunnerError
from runner.measure import collected

ORDER = ("preprocess", *STAGES, "postprocess")
_COPIES = tuple(stage for stage in STAGES if stage != "compute")

Apart = Callable[[np.ndarray], Tuple[List[np.ndarray], Dict[str, int]]]


def take_apart(
    prepare: Callable[[int], np.ndarray],
    run: Apart,
    finish: Callable[[List[np.ndarray]], Any],
    iterations: int,
) -> Dict[str, List[int]]:
    """Nanoseconds of each stage of each of `iterations` queries, in the order of a query.

    Args:
        prepare: makes the input of a query, by its number.
        run: what `way_to` gives.
        finish: what is done to the outputs.
        iterations: recorded queries; one that is not recorded comes before them.
    """
    clock = time.perf_counter_ns
    found: Dict[str, List[int]] = {}
    with collected():
        for index in range(iterations + 1):
            started = clock()
            batch = prepare(index)
            prepared = clock()
            outputs, stages = run(batch)
            given = clock()
            finish(outputs)
            ended = clock()
            del outputs, batch
            if index == 0:
                continue
            stages = dict(stages, preprocess=prepared - started, postprocess=ended - given)
            for name, duration in stages.items():
                found.setdefault(name, []).append(duration)
    return {name: found[name] for name in ORDER if name in found}


def way_to(
    backend: Backend, name: str, device: str, batch: np.ndarray
) -> Tuple[Apart, Dict[str, str]]:
    """How a call is taken apart, and why a stage is absent, by stage.

    Args:
        backend: a loaded model.
        name: of the backend, for the reason.
        device: where it runs.
        batch: an input to try it with.
    """
    if device == "cpu":
        return _whole(backend), _absent(
            "the model runs on the CPU, in the memory that its inputs and outputs are in; what its "
            "library copies there is a part of compute"
        )
    run_in_stages = getattr(backend, "run_in_stages", None)
    if run_in_stages is None:
        return _whole(backend), _absent(
            f"{name} copies and computes inside one call and does not tell them apart; compute is "
            "the whole call, copies included"
        )
    try:
        run_in_stages(batch)
    except RunnerError as error:
        if error.kind != "unsupported":
            raise
        message = f"{error.message}; compute is the whole call, copies included"
        return _whole(backend), _absent(message)
    return run_in_stages, {}


def _absent(why: str) -> Dict[str, str]:
    return dict.fromkeys(_COPIES, why)


def _whole(backend: Backend) -> Apart:
    """The whole call as `compute`."""
    run, clock = backend.run, time.perf_counter_ns

    def apart(batch: np.ndarray) -> Tuple[List[np.ndarray], Dict[str, int]]:
        started = clock()
        outputs = run(batch)
        return outputs, {"compute": clock() - started}

    return apart
