"""Tunes the kernels of a module by TVM's MetaSchedule: a program of its own, for it may crash.

`python -m runner.support.tvm_tuner ORDER.json`: the order names the module, the target, the database
and how many trials are left. Candidates are built and measured by further processes of TVM's own; one
that crashes or takes too long is a trial that failed.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any, Dict, List

from runner import lifeline

WORKLOADS, RECORDS = "workloads.json", "records.json"
"""The two files of a database."""

_MOST_PER_ROUND = 64
_SEED = 20
"""Of the search; what is measured differs anyway."""
_BUILD_LIMIT_S = 60.0


def main(arguments: List[str]) -> int:
    """Tune, and write how many kernels there were to the order's `done`."""
    lifeline.die_with_parent()
    with open(arguments[0], encoding="utf-8") as file:
        order = json.load(file)
    tasks = tune(order)
    with open(order["done"], "w", encoding="utf-8") as file:
        json.dump({"tasks": tasks}, file)
    return 0


def tune(order: Dict[str, Any]) -> int:
    """Measure candidates for the kernels of a module, all kept in the database; how many kernels.

    Args:
        order: `module` (a file of TVM's JSON), `target`, `database` and `logs` (folders), `trials`,
            `cores` to search and build on.
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
            return 0
        tasks, weights = integration.extracted_tasks_to_tune_contexts(
            found, order["logs"], seed=_SEED, num_threads=order["cores"]
        )
        schedule.tune_tasks(
            tasks=tasks,
            task_weights=weights,
            work_dir=order["logs"],
            max_trials_global=order["trials"],
            num_trials_per_iter=per_round(order["trials"], len(tasks)),
            builder=_builder(order["cores"]),
            database=open_database(order["database"]),
            task_scheduler=schedule.task_scheduler.GradientBased(seed=_SEED),
        )
    return len(tasks)


def per_round(trials: int, tasks: int) -> int:
    """How many candidates of one kernel are measured at once: few enough that each has its turn."""
    return min(_MOST_PER_ROUND, max(1, trials // tasks))


def open_database(folder: str) -> Any:
    """The database in a folder, made if there is none."""
    os.makedirs(folder, exist_ok=True)
    database = import_module("tvm.s_tir.meta_schedule.database")
    return database.JSONDatabase(
        path_workload=os.path.join(folder, WORKLOADS),
        path_tuning_record=os.path.join(folder, RECORDS),
    )


def _builder(cores: int) -> Any:
    """What builds candidates in processes that live on from round to round.

    TVM's own starts its processes anew each round, and with a small budget rounds are many and
    short: most of the time would go into imports.
    """
    builders = import_module("tvm.s_tir.meta_schedule.builder")
    local = import_module("tvm.s_tir.meta_schedule.builder.local_builder")
    pools = import_module("tvm.support.popen_pool")
    derived = import_module("tvm.ir.utils").derived_object

    class KeptBuilder(builders.PyBuilder):  # type: ignore[misc, name-defined]
        """By TVM's protocol: `build` takes candidates and gives a result for each."""

        def __init__(self) -> None:
            super().__init__()
            self.pool = pools.PopenPoolExecutor(
                max_workers=cores, timeout=_BUILD_LIMIT_S, maximum_process_uses=64
            )

        def build(self, build_inputs: List[Any]) -> List[Any]:
            """Build each; what crashed or took too long is a result that says so."""
            wanted = [(one.mod, one.target) for one in build_inputs]
            results = []
            for found in self.pool.map_with_error_catching(lambda one: _build(*one), wanted):
                if found.status == pools.StatusKind.COMPLETE:
                    results.append(builders.BuilderResult(found.value, None))
                    continue
                late = found.status == pools.StatusKind.TIMEOUT
                why = f"not built within {_BUILD_LIMIT_S} s" if late else str(found.value)
                results.append(builders.BuilderResult(None, why))
            return results

    def _build(module: Any, target: Any) -> Any:
        return local.default_export(local.default_build(module, target, None))

    return derived(KeptBuilder)()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
