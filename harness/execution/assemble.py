"""Writing the group document of what is left to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.containers.rules import Limits
from harness.datasets.inputs import PreparedInputs
from harness.environments.provision import Provisioned
from harness.execution.bundles import artifact_folder, is_whole
from harness.execution.documents import (
    CellTask,
    ConversionTask,
    GroupDocument,
    Owner,
    SessionTask,
)
from harness.plan.cells import Cell, Conversion
from harness.spec.models import SweepSpec


def group_document(
    spec: SweepSpec,
    members: Sequence[Cell],
    *,
    unanswered: frozenset[str],
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
            file = artifact_name(cell.conversion)
            if is_whole(made):
                path = str((made / file).resolve())
                axes = axes_of(json.loads((made / "artifact.json").read_text(encoding="utf-8")))
            else:
                path, conversion = file, cell.conversion.key
                conversions.setdefault(
                    conversion, _conversion_task(cell.conversion, provisioned, file)
                )
        tasks.append(
            CellTask(
                key=cell.key,
                label=cell.label,
                python=Path(provisioned[cell.environment_identity].python),
                image=provisioned[cell.environment_identity].image,
                gpu=cell.gpu,
                job={**infer_job(cell, path, inputs[cell.inputs.inputs_key]), **axes},
                answers=cell.key in unanswered,
                conversion=conversion,
                threads=cell.threads,
            )
        )
    return GroupDocument(
        runner=runner,
        results=results.resolve(),
        timeout_s=spec.limits.timeout_seconds,
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


def artifact_name(conversion: Conversion) -> str:
    """The file that a conversion leaves in its folder."""
    return f"model.{conversion.target_format}"


def axes_of(conversion: Mapping[str, Any]) -> dict[str, Any]:
    """How inputs and outputs are transposed for a converted model, as `infer` jobs hold it.

    Args:
        conversion: the event `converted`, or the artifact's document.
    """
    named = ("input_axes", "output_axes")
    return {name: conversion[name] for name in named if conversion.get(name) is not None}


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
        "inputs": {
            "kind": cell.inputs.kind,
            "path": str(inputs.path),
            "count": inputs.count,
            "normalise": cell.inputs.normalise and dict(cell.inputs.normalise),
            "layout": cell.inputs.layout,
            "raw_quantised": cell.inputs.raw_quantised,
            **({"swap_sides": True} if cell.inputs.swap_sides else {}),
        },
        **({"softmax": True} if cell.inputs.softmax else {}),
    }


def _conversion_task(
    conversion: Conversion, provisioned: Mapping[str, Provisioned], file: str
) -> ConversionTask:
    return ConversionTask(
        key=conversion.key,
        label=f"{conversion.source.name}: {conversion.converter} in {conversion.environment}",
        python=Path(provisioned[conversion.environment_identity].python),
        image=provisioned[conversion.environment_identity].image,
        job={
            "schema_version": 1,
            "kind": "convert",
            "converter": conversion.converter,
            "source": {"path": str(conversion.source), "format": conversion.source_format},
            "target": file,
            "options": dict(conversion.options),
        },
    )
