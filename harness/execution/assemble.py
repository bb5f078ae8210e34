"""Writing the group document of what is left to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.containers.limits import Limits
from harness.datasets.inputs import PreparedInputs
from harness.environments.instruction_sets import OWN
from harness.environments.provision import Provisioned
from harness.execution.bundles import artifact_folder, is_whole
from harness.execution.caches import compile_cache
from harness.execution.conversion_tasks import (
    artifact_name,
    conversion_tasks,
    inputs_of_job,
    stored_artifact,
)
from harness.execution.documents import (
    CellTask,
    ConversionTask,
    GroupDocument,
    Owner,
    SessionTask,
)
from harness.plan.cells import Cell
from harness.plan.groups import OFFLINE
from harness.spec.models import SweepSpec
from harness.spec.timing import Timing

_NS = 1_000_000_000


def group_document(
    spec: SweepSpec,
    members: Sequence[Cell],
    *,
    unanswered: frozenset[str],
    unkept: frozenset[str] = frozenset(),
    proved: frozenset[str] = frozenset(),
    session: SessionTask | None,
    store: Path,
    results: Path,
    runner: Path,
    provisioned: Mapping[str, Provisioned],
    inputs: Mapping[str, PreparedInputs],
    owner: Owner,
) -> GroupDocument:
    """The document for a conductor: what to convert, open, answer and time.

    Args:
        spec: the sweep.
        members: cells to open, in order.
        unanswered: keys of those whose answers are wanted.
        unkept: keys of those of which what their backends compile is wanted.
        proved: keys of those that are to say, by a fingerprint, what that is.
        session: how they are timed, if they are.
        store: the results folder.
        results: where the conductor is to write.
        runner: the folder that holds the package `runner`.
        provisioned: environments, by identity.
        inputs: prepared inputs, by inputs key.
        owner: the sweep's process.
    """
    conversions: dict[str, ConversionTask] = {}
    tasks: list[CellTask] = []
    axes: dict[str, Any]
    for cell in members:
        path, conversion, axes = str(cell.model_path), None, {}
        if cell.conversion is not None:
            made = artifact_folder(store, cell.conversion.key)
            if is_whole(made):
                path, axes = stored_artifact(store, cell.conversion)
            else:
                path, conversion = artifact_name(cell.conversion), cell.conversion.key
                fed = (
                    inputs.get(cell.conversion.inputs.inputs_key)
                    if cell.conversion.inputs
                    else None
                )
                for task in conversion_tasks(spec, cell.conversion, store, provisioned, fed):
                    conversions.setdefault(task.key, task)
        tasks.append(
            CellTask(
                key=cell.key,
                label=cell.label,
                python=Path(provisioned[cell.environment_identity].python),
                image=provisioned[cell.environment_identity].image,
                gpu=cell.gpu,
                job={
                    **infer_job(cell, path, inputs[cell.inputs.inputs_key]),
                    **axes,
                    **({"keep_ir": True} if cell.key in unkept else {}),
                    **({"fingerprint": True} if cell.key in proved else {}),
                },
                answers=cell.key in unanswered,
                conversion=conversion,
                threads=cell.threads,
                cache=compile_cache(store, cell),
            )
        )
    return GroupDocument(
        runner=runner,
        results=results.resolve(),
        timeout_s=spec.limits.timeout_seconds,
        compile_timeout_s=spec.limits.compile_seconds,
        conversion_timeout_s=spec.conversions.timeout_seconds,
        conversion_memory_mib=spec.conversions.memory_mib,
        conversions=tuple(conversions.values()),
        cells=tuple(tasks),
        session=session,
        limits=container_limits(spec),
        owner=owner,
    )


def container_limits(spec: SweepSpec) -> Limits:
    """What a container of this sweep may use."""
    limits = spec.limits
    return Limits(
        memory_mib=limits.memory_mib,
        tmp_mib=limits.tmp_mib,
        shm_mib=limits.shm_mib,
        pids=limits.pids,
        output_bytes=limits.output_bytes,
    )


def infer_job(cell: Cell, model_path: str, inputs: PreparedInputs) -> dict[str, Any]:
    """The runner's `infer` document of a cell, without what belongs to the place."""
    file_format = cell.conversion.target_format if cell.conversion else cell.model_format
    return {
        "schema_version": 1,
        "kind": "infer",
        "backend": cell.backend,
        "settings": dict(cell.settings),
        "model": {"path": model_path, "format": file_format},
        "precision": cell.precision,
        "device": cell.device,
        "threads": cell.threads,
        "batch": cell.batch,
        "max_output_bytes": cell.output_bytes,
        "inputs": inputs_of_job(cell.inputs, inputs),
        **({"softmax": True} if cell.inputs.softmax else {}),
        **({} if cell.instruction_set == OWN else {"instruction_set": cell.instruction_set}),
    }


def session_task(
    timing: Timing, scenario: str | None, reference: str, control: str | None
) -> SessionTask:
    """How a group is timed.

    Args:
        timing: the sweep's.
        scenario: the group's.
        reference: key of the cell that times are related to.
        control: key of its A/A repeat, if there is one.
    """
    offline = scenario == OFFLINE
    batches = timing.offline_batches
    return SessionTask(
        scenario="offline" if offline else "single_stream",
        reference=reference,
        control=control,
        rounds=timing.rounds,
        round_ns=round(timing.round_seconds * _NS),
        min_ns=round(timing.min_seconds * _NS),
        min_queries=timing.min_queries,
        warmup_ns=round(timing.warmup_seconds * _NS),
        offline_batches=batches if offline and batches != "auto" else None,
        fresh_processes=timing.fresh_processes,
        floor=timing.floor,
        control_bound=timing.control_bound,
    )
