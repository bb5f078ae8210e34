"""The conductor's conversions: one process each, its result run beside its source and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from harness.errors import ExecutionError
from harness.execution.bundles import read_array
from harness.execution.checking import (
    QUANTISED,
    Check,
    difference,
    disagreement,
    require_usable,
)
from harness.execution.documents import CheckTask, ConversionTask, GroupDocument, TrialTask
from harness.execution.reported import accumulated, check_plain, require_sound
from harness.execution.workers import Worker

# What a runner's own words mean of a conversion: they all are about the one thing that was asked.
_OF_A_CONVERSION = frozenset({"model", "backend", "exit", "no-result", "invalid-output"})
# What goes wrong with whoever checks, and says nothing of what was made.
_OF_THE_CHECKER = frozenset({"environment", "engine", "disk-full"})
_LIMITS = {"timeout": "conversions.timeout_seconds", "out-of-memory": "conversions.memory_mib"}

Outputs = list[npt.NDArray[Any]]


class OpenWorker(Protocol):
    """How the conductor starts a worker; a conversion's may use so much memory."""

    def __call__(
        self,
        task: ConversionTask | TrialTask,
        job: Mapping[str, Any],
        folder: Path,
        memory_mib: int | None,
    ) -> Worker:
        """Start it."""


class Converting:
    """Makes the conversions of a group, in their order.

    Args:
        group: the group document.
        open_worker: starts a worker.
        forget: told the key of a worker that is gone.
        tell: writes an event.

    After `make`, `broken` holds why conversions failed and `limits` under what limits, and `axes` how
    what was made is fed, by the conversions' keys.
    """

    def __init__(
        self,
        group: GroupDocument,
        open_worker: OpenWorker,
        forget: Callable[[str], None],
        tell: Callable[..., None],
    ) -> None:
        self._group, self._open, self._forget, self._tell = group, open_worker, forget, tell
        self._answers: dict[str, Outputs | ExecutionError] = {}
        self._quantised: set[str] = set()
        self._trials = 0
        self.broken: dict[str, ExecutionError] = {}
        self.limits: dict[str, dict[str, float]] = {}
        self.axes: dict[str, dict[str, Any]] = {}

    def folder(self, key: str) -> Path:
        """Where a conversion of this group is made."""
        return self._group.results / "artifacts" / key

    def make(self, task: ConversionTask) -> None:
        """Convert, check, and tell what came of it."""
        if task.source is not None and task.source in self.broken:
            self.limits[task.key] = self.limits[task.source]
            self._not_converted(task, self.broken[task.source])
            return
        self.limits[task.key] = self._limits_of(task)
        self._tell("converting", key=task.key, label=task.label)
        folder = self.folder(task.key)
        folder.mkdir(parents=True)
        source = dict(task.job["source"])
        if task.source is not None:
            source["path"] = str(self.folder(task.source) / source["path"])
        source_axes = task.source_axes if task.source is None else self.axes[task.source]
        target = folder / task.job["target"]
        job = {**task.job, "source": source, "target": str(target)}
        if "calibration" in job:
            fed = {"input_axes": source_axes.get("input_axes")}
            job["calibration"] = {**job["calibration"], **fed}
        try:
            made = self._convert(task, job, folder)
            self.axes[task.key] = accumulated(source_axes, made)
            made = {**made, "input_axes": None, "output_axes": None, **self.axes[task.key]}
            check = None
            if task.check is not None:
                models = Path(source["path"]), target
                check = self._check(task.check, models, source_axes, self.axes[task.key])
                if check.too_far_off:
                    del self.limits[task.key][task.check.tolerance_name]
                    self.limits[task.key][check.tolerance_name] = check.tolerance
                    raise disagreement(check)
            self._tell(
                "converted", key=task.key, folder=str(folder), result=made,
                check=check and check.record(),
            )  # fmt: skip
        except ExecutionError as error:
            if error.kind in _OF_A_CONVERSION:
                error.kind = "conversion"
            if limit := _LIMITS.get(error.kind):
                error.remedy = f"Allow more with `{limit}` in the sweep file."
            _name_the_step(error, task)
            self._not_converted(task, error)

    def _convert(
        self, task: ConversionTask, job: Mapping[str, Any], folder: Path
    ) -> dict[str, Any]:
        worker: Worker | None = None
        try:
            worker = self._open(task, job, folder, self._group.conversion_memory_mib)
            timeout_s = self._group.conversion_timeout_s
            made = worker.event("converted", timeout_s, lambda _: None)
            # Only what nobody can change any more is looked at and used.
            worker.kill()
            require_sound(made, task.job["target"])
            check_plain(folder, made["files"])
            return made
        finally:
            if worker is not None:
                worker.kill()
                self._forget(task.key)

    def _not_converted(self, task: ConversionTask, error: ExecutionError) -> None:
        self.broken[task.key] = error
        self._tell(
            "not-converted",
            key=task.key,
            kind=error.kind,
            message=str(error),
            detail=error.detail,
            exit_status=error.exit_status,
            signal=error.signal,
            limits=self.limits[task.key],
        )

    def _limits_of(self, task: ConversionTask) -> dict[str, float]:
        """What a conversion may use and how far off it may be, by the names in a sweep file."""
        limits = {"conversions.timeout_seconds": self._group.conversion_timeout_s}
        if self._group.conversion_memory_mib is not None:
            limits["conversions.memory_mib"] = self._group.conversion_memory_mib
        if task.check is not None:
            limits[task.check.tolerance_name] = task.check.tolerance
        return limits

    def _check(
        self,
        task: CheckTask,
        models: tuple[Path, Path],
        source_axes: Mapping[str, Any],
        axes: Mapping[str, Any],
    ) -> Check:
        """Run a source and what was made of it over the same inputs.

        Raises:
            ExecutionError: what was made cannot be run, or gives no usable outputs.
        """
        source, target = models
        expected: Outputs | None = None
        note = "" if task.source else "nothing runs its source by itself"
        if task.source is not None:
            answers = self._answers_of(task.source, source, source_axes)
            if isinstance(answers, ExecutionError):
                note = f"its source cannot be run by {task.source.label}: {answers.message}"
            else:
                expected = answers
        self._tell("checking", label=task.target.label)
        got = self._answers_of(task.target, target, axes)
        name, tolerance = self._tolerance(task, models)
        checked_by = task.source.label if task.source else ""
        if isinstance(got, ExecutionError):
            if got.kind not in _OF_THE_CHECKER:
                raise _not_run(task.target.label, got)
            note = f"{task.target.label}, which was to run it, cannot be used: {got.message}"
            return Check(0, None, None, tolerance, name, checked_by, "", note)
        require_usable(got, expected)
        largest, share = (None, None) if expected is None else difference(got, expected)
        ran_by = task.target.label
        return Check(len(got[0]), largest, share, tolerance, name, checked_by, ran_by, note)

    def _tolerance(self, task: CheckTask, models: tuple[Path, Path]) -> tuple[str, float]:
        """What the result is held to: integers, which only a run shows, have a limit of their own."""
        if task.quantised_tolerance is not None and self._quantised & {str(one) for one in models}:
            return QUANTISED, task.quantised_tolerance
        return task.tolerance_name, task.tolerance

    def _answers_of(
        self, task: TrialTask, model: Path, axes: Mapping[str, Any]
    ) -> Outputs | ExecutionError:
        """What a model answers, laid out as the chain's first model does; each model is run once."""
        known = f"{model} {task.key}"
        if known not in self._answers:
            try:
                self._answers[known] = self._run(task, model, axes)
            except ExecutionError as error:
                self._answers[known] = error
        return self._answers[known]

    def _run(self, task: TrialTask, model: Path, axes: Mapping[str, Any]) -> Outputs:
        self._trials += 1
        folder = self._group.results / "checks" / str(self._trials)
        folder.mkdir(parents=True)
        job = {**task.job, "model": {**task.job["model"], "path": str(model)}, **axes}
        worker: Worker | None = None
        try:
            timeout_s = self._group.conversion_timeout_s
            worker = self._open(task, job, folder, self._group.conversion_memory_mib)
            loaded = worker.event("loaded", timeout_s, lambda _: None)
            if any(one.get("scale") is not None for one in (loaded["input"], *loaded["outputs"])):
                self._quantised.add(str(model))
            reply = worker.command({"command": "answers"}, timeout_s, lambda _: None)
            worker.kill()
            limit = int(job["max_output_bytes"])
            files = [Path(str(output["file"])).name for output in reply["outputs"]]
            return [read_array(folder / name, max_bytes=limit) for name in files]
        finally:
            if worker is not None:
                worker.kill()
                self._forget(task.key)


def _name_the_step(error: ExecutionError, task: ConversionTask) -> None:
    """Say which conversion it was; what converters say of themselves begins with their name."""
    converter = str(task.job["converter"])
    said = error.message.removeprefix(f"{converter}: ")
    error.message = f"{task.label}: {said}"
    error.args = (error.message,)


def _not_run(checker: str, error: ExecutionError) -> ExecutionError:
    """The failure of what was made, which whoever checks it could not run."""
    said = f"What it made cannot be run by {checker}, which checks it: {error.message}"
    found = ExecutionError(error.kind, said, error.remedy, error.detail)
    found.exit_status, found.signal = error.exit_status, error.signal
    return found
