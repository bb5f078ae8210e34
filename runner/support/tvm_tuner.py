"""Tunes the kernels of a module by TVM's MetaSchedule: a program of its own, for it may crash.

`python -m runner.support.tvm_tuner ORDER.json`: the order names the module, the target, the database
and how many trials are left. Candidates are built and measured by further processes of TVM's own; one
that crashes or takes too long is a trial that failed.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Dict, List

from runner import lifeline

WORKLOADS, RECORDS = "workloads.json", "records.json"
"""The two files of a database."""

_MOST_PER_ROUND = 64
_SEED = 20
"""Of the search; what is measured differs anyway."""
_BUILD_LIMIT_S = 120.0
_RUN_LIMIT_S = 120.0
"""Of one candidate, its process's start included, which takes a while where others compute too."""
_POPULATION = 16
"""Candidates that are thought of for each that is measured; TVM's 512 take seconds a round."""
_MOST_THOUGHT_OF = 512
_WARM_UP = 100
_FAULTS_KEPT = 5
_FAULT_CHARACTERS = 1000
_INTRINSICS = "tvm.s_tir.tensor_intrin"
_OF_PROCESSORS = {"x86": ("x86_64", "AMD64"), "arm_cpu": ("aarch64", "arm64")}
_OF_OTHERS = ("cuda", "rocm", "hexagon", "riscv_cpu", "metal")


def main(arguments: List[str]) -> int:
    """Tune, and write how many kernels there were to the order's `done`."""
    lifeline.die_with_parent()
    with open(arguments[0], encoding="utf-8") as file:
        order = json.load(file)
    faults: List[str] = []
    tasks = tune(order, faults)
    with open(order["done"], "w", encoding="utf-8") as file:
        json.dump({"tasks": tasks, "faults": faults[:_FAULTS_KEPT]}, file)
    return 0


def tune(order: Dict[str, Any], faults: List[str]) -> int:
    """Measure candidates for the kernels of a module, all kept in the database; how many kernels.

    Args:
        order: `module` (a file of TVM's JSON), `target`, `database` and `logs` (folders), `trials`,
            `cores` to search and build on.
        faults: gets what was said of each candidate that was not built or did not run.
    """
    tvm = import_module("tvm")
    schedule = import_module("tvm.s_tir.meta_schedule")
    integration = import_module("tvm.s_tir.meta_schedule.relax_integration")
    intrinsics()
    with open(order["module"], encoding="utf-8") as file:
        module = tvm.ir.load_json(file.read())
    target = tvm.target.Target(order["target"])
    with target:
        found = integration.extract_tasks(module, target)
        if not found:
            return 0
        each = per_round(order["trials"], len(found))
        tasks, weights = integration.extracted_tasks_to_tune_contexts(
            found,
            order["logs"],
            strategy=schedule.search_strategy.EvolutionarySearch(
                population_size=population(each), init_min_unmeasured=each
            ),
            num_threads=order["cores"],
            seed=_SEED,
        )
        schedule.tune_tasks(
            tasks=tasks,
            task_weights=weights,
            work_dir=order["logs"],
            max_trials_global=order["trials"],
            num_trials_per_iter=each,
            builder=_builder(order["cores"]),
            runner=schedule.runner.LocalRunner(timeout_sec=_RUN_LIMIT_S),
            database=open_database(order["database"]),
            measure_callbacks=[
                *schedule.measure_callback.MeasureCallback.create("default"),
                _listener(schedule, faults),
            ],
            cost_model=_cost_model(schedule, order["trials"]),
            task_scheduler=schedule.task_scheduler.GradientBased(seed=_SEED),
        )
    return len(tasks)


def per_round(trials: int, tasks: int) -> int:
    """How many candidates of one kernel are measured at once: few enough that each has its turn."""
    return min(_MOST_PER_ROUND, max(1, trials // tasks))


def population(each: int) -> int:
    """How many candidates a round thinks of, for so many that it measures."""
    return min(_MOST_THOUGHT_OF, _POPULATION * max(2, each))


def intrinsics() -> None:
    """Make the instructions of this processor known that a kernel can be made of.

    TVM imports those of every kind of device, and parses each: twenty seconds of work, for which
    the modules of the others stand here empty.
    """
    machine = platform.machine()
    here = [name for name, machines in _OF_PROCESSORS.items() if machine in machines]
    for name in (*_OF_PROCESSORS, *_OF_OTHERS):
        path = f"{_INTRINSICS}.{name}"
        if name not in here:
            sys.modules.setdefault(path, ModuleType(path))
    import_module(_INTRINSICS)


def open_database(folder: str) -> Any:
    """The database in a folder, made if there is none."""
    os.makedirs(folder, exist_ok=True)
    database = import_module("tvm.s_tir.meta_schedule.database")
    return database.JSONDatabase(
        path_workload=os.path.join(folder, WORKLOADS),
        path_tuning_record=os.path.join(folder, RECORDS),
    )


def _cost_model(schedule: Any, trials: int) -> Any:
    """What guesses a candidate's time: boosted trees, on one thread (theirs wait by spinning).

    TVM asks them nothing before they have seen a hundred candidates, but trains them from the first.
    """
    models = schedule.cost_model
    if trials <= _WARM_UP:
        return models.RandomModel(seed=_SEED)
    return models.XGBModel(num_warmup_samples=_WARM_UP, num_tuning_cores=1)


def _listener(schedule: Any, faults: List[str]) -> Any:
    """What hears of each measurement, and notes those that failed."""
    derived = import_module("tvm.ir.utils").derived_object

    class Listener(schedule.measure_callback.PyMeasureCallback):  # type: ignore[misc, name-defined]
        """By TVM's protocol."""

        def apply(
            self, _scheduler: Any, _task: int, _candidates: Any, built: Any, ran: Any
        ) -> None:
            """Note the end of what each candidate's builder or runner said."""
            faults.extend(
                str(one.error_msg).strip()[-_FAULT_CHARACTERS:]
                for one in (*built, *ran)
                if one is not None and one.error_msg
            )

    return derived(Listener)()


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
        # As TVM's default_build, which imports the instructions of every device before.
        plain = import_module("tvm.s_tir.transform").RemoveWeightLayoutRewriteBlock
        module = plain(skip_tensor_rewrite=True)(module)
        return local.default_export(import_module("tvm.tirx").build(module, target=target))

    return derived(KeptBuilder)()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
