"""What a conductor is told of the conversions that are still to be made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.datasets.inputs import PreparedInputs
from harness.environments.provision import Provisioned
from harness.execution.attempts import Failure
from harness.execution.bundles import artifact_folder, is_whole
from harness.execution.checking import Check, disagreement
from harness.execution.documents import CheckTask, ConversionTask, TrialTask
from harness.execution.reported import axes_of
from harness.plan.conversions import Checker, Conversion
from harness.plan.feeds import CellInputs
from harness.spec.models import Conversions, SweepSpec

_FLOAT16 = "float16"
_SECTION = "conversions."


def artifact_name(conversion: Conversion) -> str:
    """The file or folder that a conversion leaves in its own folder."""
    return f"model.{conversion.target_format}"


def missing(conversion: Conversion, store: Path) -> tuple[Conversion, ...]:
    """The steps up to a conversion that a store has no artifact of, in their order.

    What comes before an artifact that is there is not needed any more.
    """
    found: list[Conversion] = []
    for step in reversed(conversion.chain):
        if is_whole(artifact_folder(store, step.key)):
            break
        found.append(step)
    return tuple(reversed(found))


def stored_artifact(store: Path, conversion: Conversion) -> tuple[str, dict[str, Any]]:
    """Where an artifact of a store lies, and how it is fed: `input_axes`, `output_axes`."""
    made = artifact_folder(store, conversion.key)
    document = json.loads((made / "artifact.json").read_text(encoding="utf-8"))
    return str((made / artifact_name(conversion)).resolve()), axes_of(document)


def tolerance_of(conversion: Conversion, spec: Conversions) -> tuple[str, float]:
    """How far a conversion may be from its source, and what that is called in a sweep file.

    What was quantised earlier in the chain is still run by other kernels.
    """
    asked = {step.options.get("quantisation") for step in conversion.chain} - {None}
    name = "tolerance"
    if asked:
        name = "float16_tolerance" if asked == {_FLOAT16} else "quantised_tolerance"
    return f"{_SECTION}{name}", float(getattr(spec, name))


def kept_checks(
    store: Path, conversion: Conversion, spec: Conversions
) -> Iterator[tuple[Conversion, Check | None]]:
    """The steps that a store has and that are used again, each with its check.

    What was measured then is held to the tolerance of now: that of the name that bound then.
    """
    todo = {step.key for step in missing(conversion, store)}
    for step in conversion.chain:
        folder = artifact_folder(store, step.key)
        if step.key in todo or not is_whole(folder):
            continue
        found = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))["check"]
        yield step, None if found is None else check_again(step, found, spec)


def check_again(step: Conversion, record: Mapping[str, Any], spec: Conversions) -> Check:
    """A check that `artifact.json` holds, under the tolerance of now."""
    name = record.get("tolerance_name", tolerance_of(step, spec)[0])
    tolerance = float(getattr(spec, name.removeprefix(_SECTION)))
    return Check(**{**record, "tolerance_name": name, "tolerance": tolerance})


def fault_of(step: Conversion, check: Check | None) -> Failure | None:
    """Why a step that was made before is not good enough for what is asked now; None: it is."""
    if check is None or not check.too_far_off:
        return None
    error = disagreement(check)
    limits = {check.tolerance_name: check.tolerance}
    return Failure(step.key, error.kind, f"{step.label}: {error}", limits=limits)


def fault_of_kept(store: Path, conversion: Conversion, spec: Conversions) -> Failure | None:
    """Why a chain cannot be used as far as it was made before; None: it can."""
    faults = (fault_of(step, check) for step, check in kept_checks(store, conversion, spec))
    return next((fault for fault in faults if fault is not None), None)


def conversion_tasks(
    spec: SweepSpec,
    conversion: Conversion,
    store: Path,
    provisioned: Mapping[str, Provisioned],
    inputs: PreparedInputs | None,
) -> list[ConversionTask]:
    """The steps up to a conversion that are still to be made, in their order.

    Args:
        spec: the sweep.
        conversion: the last step.
        store: the results folder.
        provisioned: environments, by identity.
        inputs: what the model is fed for checks and calibration; None: nothing.
    """
    tasks: list[ConversionTask] = []
    for step in missing(conversion, store):
        before = step.before
        source, made_here = str(step.source), None
        axes: dict[str, Any] = {}
        if before is not None and tasks:
            source, made_here = artifact_name(before), before.key
        elif before is not None:
            source, axes = stored_artifact(store, before)
        made_in = provisioned[step.environment_identity]
        tasks.append(
            ConversionTask(
                key=step.key,
                label=step.label,
                python=Path(made_in.python),
                image=made_in.image,
                job={
                    "schema_version": 1,
                    "kind": "convert",
                    "converter": step.converter,
                    "source": {"path": source, "format": step.source_format},
                    "target": artifact_name(step),
                    "options": {k: v for k, v in step.options.items() if k != "calibration"},
                    **_calibration(step, inputs),
                },
                source=made_here,
                source_axes=axes,
                check=_check(spec.conversions, step, provisioned, inputs),
            )
        )
    return tasks


def inputs_of_job(
    fed: CellInputs, inputs: PreparedInputs, count: int | None = None
) -> dict[str, Any]:
    """Prepared inputs as the runner's jobs name them.

    Args:
        fed: how rows become inputs.
        inputs: the prepared rows.
        count: the first so many; None: all.
    """
    return {
        "kind": fed.kind,
        "path": str(inputs.path),
        "count": inputs.count if count is None else min(count, inputs.count),
        "normalise": fed.normalise and dict(fed.normalise),
        "layout": fed.layout,
        "raw_quantised": fed.raw_quantised,
        **({"swap_sides": True} if fed.swap_sides else {}),
    }


def _calibration(step: Conversion, inputs: PreparedInputs | None) -> dict[str, Any]:
    """The inputs for static quantisation: so many, spread evenly over all."""
    wanted = step.options.get("calibration")
    if wanted is None or inputs is None or step.inputs is None:
        return {}
    count = min(int(wanted["images"]), inputs.count)
    rows = np.unique(np.linspace(0, inputs.count - 1, count).round().astype(int)).tolist()
    return {"calibration": {"inputs": inputs_of_job(step.inputs, inputs), "rows": rows}}


def _check(
    spec: Conversions,
    step: Conversion,
    provisioned: Mapping[str, Provisioned],
    inputs: PreparedInputs | None,
) -> CheckTask | None:
    if inputs is None or step.inputs is None or step.checker is None:
        return None
    fed = inputs_of_job(step.inputs, inputs, spec.images)
    target = _trial(step.checker, step, provisioned, fed)
    if target is None:
        return None
    source = step.source_checker
    name, tolerance = tolerance_of(step, spec)
    return CheckTask(
        target=target,
        source=None if source is None else _trial(source, step, provisioned, fed),
        tolerance=tolerance,
        tolerance_name=name,
        quantised_tolerance=spec.quantised_tolerance,
    )


def _trial(
    checker: Checker, step: Conversion, provisioned: Mapping[str, Provisioned], fed: dict[str, Any]
) -> TrialTask | None:
    """How a model is run to see what it answers; None where its environment could not be made."""
    made_in = provisioned.get(checker.environment_identity)
    if made_in is None:
        return None
    return TrialTask(
        key=f"{checker.environment} {checker.backend}",
        label=f"{checker.backend} in {checker.environment}",
        python=Path(made_in.python),
        image=made_in.image,
        job={
            "schema_version": 1,
            "kind": "infer",
            "backend": checker.backend,
            "settings": {},
            "model": {"format": checker.format},
            "precision": "f32",
            "device": "cpu",
            "threads": 1,
            "batch": int(step.options.get("batch", 1)),
            "max_output_bytes": 1 << 30,
            "inputs": fed,
        },
    )
