"""Tunes the kernels of a module by TVM's MetaSchedule: a program of its own, for it may crash.

`python tvm_tuner.py ORDER.json`: the order names the module, the target, the database, how many trials
are left and where to write. Candidates are built and measured by further processes of TVM's own; one
that crashes or takes too long is a trial that failed, and is counted.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any, Dict, List

WORKLOADS, RECORDS = "workloads.json", "records.json"
"""The two files of a database."""

FAILED_SECONDS = 1e9
"""TVM notes a candidate that did not run as one that took this long or longer."""

_MOST_PER_ROUND = 64
_SEED = 20
"""Of the search; what is measured differs anyway."""


def main(arguments: List[str]) -> int:
    """Tune, and write what was done beside the database."""
    with open(arguments[0], encoding="utf-8") as file:
        order = json.load(file)
    done = tune(order)
    with open(order["done"], "w", encoding="utf-8") as file:
        json.dump(done, file)
    return 0


def tune(order: Dict[str, Any]) -> Dict[str, Any]:
    """Measure up to `trials` candidates for the kernels of a module; all go to the database.

    Args:
        order: `module` and `target` (JSON of TVM's), `database` (a folder), `trials`, `cores` to
            build on, `logs` (a folder).

    Returns:
        `tasks`: how many different kernels there are.
    """
    tvm = import_module("tvm")
    schedule = import_module("tvm.s_tir.meta_schedule")
    integration = import_module("tvm.s_tir.meta_schedule.relax_integration")
    with open(order["module"], encoding="utf-8") as file:
        module = tvm.ir.load_json(file.read())
    target = tvm.target.Target(order["target"])
    with target:
        found = integration.extract_tasks(module, target)
        if not found:
            return {"tasks": 0}
        tasks, weights = integration.extracted_tasks_to_tune_contexts(
            found, order["logs"], seed=_SEED, num_threads=order["cores"]
        )
        schedule.tune_tasks(
            tasks=tasks,
            task_weights=weights,
            work_dir=order["logs"],
            max_trials_global=order["trials"],
            # Each kernel has its turn before one has a second.
            num_trials_per_iter=min(_MOST_PER_ROUND, max(1, order["trials"] // len(tasks))),
            builder=schedule.builder.LocalBuilder(max_workers=order["cores"]),
            database=open_database(order["database"]),
            task_scheduler=schedule.task_scheduler.GradientBased(seed=_SEED),
        )
    return {"tasks": len(tasks)}


def open_database(folder: str) -> Any:
    """The database in a folder, made if there is none."""
    os.makedirs(folder, exist_ok=True)
    database = import_module("tvm.s_tir.meta_schedule.database")
    return database.JSONDatabase(
        path_workload=os.path.join(folder, WORKLOADS),
        path_tuning_record=os.path.join(folder, RECORDS),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
