"""Tuned kernels for a module: TVM's MetaSchedule in a process of its own, and the database it keeps.

The database lies in the cell's cache. A first compilation measures up to its budget of trials; a later
one finds the budget spent and takes what is there, so that the same code runs again. A tuner that was
stopped in the middle goes on from what it had measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Dict, List, Sequence, Tuple

import tvm

import runner
from runner.errors import RunnerError
from runner.support import tvm_tuner

TUNERS = ("none", "metaschedule")
TRIALS = 256
"""What is measured where nobody says how much."""

_FOLDER = "metaschedule"
_DONE = "done.json"
_PROGRAM = ("-m", tvm_tuner.__name__)
_TAIL = 3000
_NOT_RUN_SECONDS = 1e9
"""TVM notes a candidate that did not run as one that took at least so long."""


@dataclass(frozen=True)
class Budget:
    """How much may be measured, on how many cores, and the folder of the cell's cache."""

    trials: int
    cores: int
    cache: str


def tune(module: Any, target: Any, budget: Budget) -> Tuple[Any, Dict[str, Any]]:
    """A module with the best kernels that are known of, and what is known.

    Args:
        module: operators are kernels in it already.
        target: it says how many cores a kernel may use.
        budget: what may be spent if it was not yet.

    Raises:
        RunnerError: kind `signal` if the tuner crashed, `backend` if it failed otherwise, or if not
            one candidate ran. What it had measured is kept, except for the last.
    """
    folder = os.path.join(budget.cache, _FOLDER)
    started = time.monotonic()
    _drop_cut_line(os.path.join(folder, tvm_tuner.RECORDS))
    before = len(_lines(folder))
    kept = _kept(folder)
    if kept.get("trials", 0) < budget.trials:
        kept = _spend(module, target, budget, folder, before)
    records = _lines(folder)
    if kept["tasks"] and all(map(_failed, records)):
        shutil.rmtree(folder, ignore_errors=True)
        faults = kept.get("faults", [])
        last = "".join(f": {fault.splitlines()[-1][:300]}" for fault in faults[:1])
        raise RunnerError(
            "backend",
            f"tvm: none of the {len(records)} candidates that the tuner made ran{last}; --retry "
            "measures anew, at best while nothing else computes on this machine",
            "\n\n".join(faults),
        )
    changed = _apply(module, target, folder)
    return changed, {
        "tuner": "metaschedule",
        "trials": budget.trials,
        "kernels": kept["tasks"],
        "records": len(records),
        "records_failed": sum(map(_failed, records)),
        "records_found": before,
        "database_sha256": hashlib.sha256("\n".join(records).encode()).hexdigest(),
        "seconds": round(time.monotonic() - started, 3),
    }


def _spend(module: Any, target: Any, budget: Budget, folder: str, before: int) -> Dict[str, Any]:
    """Run the tuner for what is left of a budget; what is noted of that beside the database."""
    place = tempfile.mkdtemp(prefix="tvm-tuner-")
    try:
        order = {
            "module": os.path.join(place, "module.json"),
            "target": str(target),
            "database": folder,
            "logs": os.path.join(place, "logs"),
            "trials": max(1, budget.trials - before),
            "cores": budget.cores,
            "done": os.path.join(place, _DONE),
        }
        with open(order["module"], "w", encoding="utf-8") as file:
            file.write(tvm.ir.save_json(module))
        said = os.path.join(place, "order.json")
        with open(said, "w", encoding="utf-8") as file:
            json.dump(order, file)
        _run([sys.executable, *_PROGRAM, said], place, budget, folder)
        with open(order["done"], encoding="utf-8") as file:
            done = dict(json.load(file), trials=budget.trials)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    os.makedirs(folder, exist_ok=True)
    beside = os.path.join(folder, _DONE)
    with open(beside + ".new", "w", encoding="utf-8") as file:
        json.dump(done, file)
    os.replace(beside + ".new", beside)
    return done


def _run(command: Sequence[str], place: str, budget: Budget, folder: str) -> None:
    """Run the tuner; its candidates lie in `place` until they were measured.

    Raises:
        RunnerError: as `tune`.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(runner.__file__)))
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    log = os.path.join(place, "log.txt")
    with open(log, "wb") as file:
        status = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=dict(os.environ, PYTHONPATH=path, TMPDIR=place),
        ).returncode
    if status == 0:
        return
    with open(log, "rb") as file:
        said = file.read().decode("utf-8", "replace")[-_TAIL:]
    measured = f"{len(_lines(folder))} of {budget.trials} trials were measured and are kept"
    if status < 0:
        name = signal.Signals(-status).name
        raise RunnerError(
            "signal",
            f"tvm: the tuner was ended by {name}; {measured}, so --retry goes on from there (TVM 0.27 "
            "with another apache-tvm-ffi than 0.1.14.post1 is known to crash here)",
            said,
        )
    last = " ".join(said.strip().splitlines()[-1:])[:500]
    raise RunnerError("backend", f"tvm: the tuner ended with {status}: {last}; {measured}", said)


def _apply(module: Any, target: Any, folder: str) -> Any:
    """The module with the best kernel of the database in the place of each that it knows."""
    relax = import_module("tvm.relax")
    tvm_tuner.intrinsics()
    with target, tvm_tuner.open_database(folder):
        return relax.transform.MetaScheduleApplyDatabase()(module)


def _kept(folder: str) -> Dict[str, Any]:
    """What was noted when a budget had been spent; nothing, if none was yet."""
    try:
        with open(os.path.join(folder, _DONE), encoding="utf-8") as file:
            noted: Dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return noted


def _drop_cut_line(path: str) -> None:
    """Remove what a tuner that was killed while it wrote has left of its last record."""
    if not os.path.isfile(path):
        return
    with open(path, "rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def _lines(folder: str) -> List[str]:
    """The records of a database, one candidate each."""
    try:
        with open(os.path.join(folder, tvm_tuner.RECORDS), encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _failed(record: str) -> bool:
    """Whether a candidate did not run: its times are absent, or what TVM puts there instead."""
    times = json.loads(record)[1][1]
    return not times or min(times) >= _NOT_RUN_SECONDS
