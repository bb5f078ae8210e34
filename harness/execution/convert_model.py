"""Converting one model without a sweep: planned, made and checked as a sweep does it.

What is made is kept in the user's cache, by its lineage as in a results folder: the same conversion
is made once.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.datasets.inputs import PreparedInputs
from harness.environments import adhoc, adopted
from harness.environments.provide import provide
from harness.environments.provision import Provisioned
from harness.environments.registry import find, folders, resolve
from harness.errors import EngineError, ProvisionError, StoreError, UsageError
from harness.execution import convert_inputs
from harness.execution.assemble import container_limits
from harness.execution.attempts import Failure
from harness.execution.bundles import artifact_folder, is_whole
from harness.execution.conversion_tasks import (
    artifact_name,
    conversion_tasks,
    missing,
    stored_artifact,
)
from harness.execution.convert_steps import StepDone, StepListener, kept_steps
from harness.execution.documents import GroupDocument
from harness.execution.executors.base import Executor
from harness.execution.executors.local import LocalExecutor
from harness.execution.resolve import Resolved, runner_parent
from harness.execution.route_search import (
    Subject,
    check_format,
    choose,
    end_of,
    known_model,
    makers_of,
    subject_of,
)
from harness.execution.sweep import plan_sweep
from harness.execution.workspace import Workspace, leased_devices, workspace
from harness.paths import cache_dir
from harness.plan.conversions import Conversion
from harness.plan.parts import Workshop
from harness.plan.routes import Route, word_of
from harness.plan.wishes import STATIC, wishes_of
from harness.progress import Progress
from harness.spec.load import check_spec
from harness.spec.models import SweepSpec
from harness.spec.routes import AUTO
from harness.trees import remove_tree

_POLL_S = 0.5
_LATER = "-"
"""In place of what is not known yet, for a spec that is checked before it is complete."""


@dataclass(frozen=True)
class Wanted:
    """What a person asks for.

    Attributes:
        model: as a sweep file names it.
        to: the format; None where a route says it.
        route: the formats on the way; None for the shortest.
        axes: what is wanted of the conversions: `opset`, `quantisation`, `folding`, `layout`,
            `optimise`.
        conversions: how they are checked, as in a sweep file.
        reader: the environment that reads the result; None: the first that does.
        data: a folder of images.
        inputs: an array, instead.
        limit: how many of these.
        executor: `auto`, `venv` or `docker`.
    """

    model: Mapping[str, Any]
    to: str | None = None
    route: str | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)
    conversions: Mapping[str, Any] = field(default_factory=dict)
    reader: str | None = None
    data: Path | None = None
    inputs: Path | None = None
    limit: int | None = None
    executor: str = AUTO


@dataclass(frozen=True)
class Intent:
    """A conversion that was thought through, before anything is made for it.

    Attributes:
        spec: a sweep of the model in the one environment that reads the result.
        route: what is to be done.
        source: the model itself, where it is a file that is here.
        inputs_made: what it is fed that was made on the spot; empty where a person gave it.
    """

    spec: SweepSpec
    route: Route
    source: Path | None
    inputs_made: str

    @property
    def format(self) -> str:
        """What the model will be."""
        return self.route.format


@dataclass(frozen=True)
class Converted:
    """What came of it.

    Attributes:
        model: how it is called.
        route: by which it was converted.
        format: what it is now.
        steps: the conversions in order.
        artifact: the file or folder in the cache; None where a step failed.
        axes: how it is fed, where that is not as the model is: `input_axes`, `output_axes`.
        failure: of the step that failed.
        log: of that step.
        inputs_made: what it was fed that was made on the spot; empty where a person gave it.
    """

    model: str
    route: str
    format: str
    steps: tuple[StepDone, ...]
    artifact: Path | None
    axes: Mapping[str, Any]
    failure: Failure | None
    log: Path | None
    inputs_made: str

    @property
    def status(self) -> Literal["made", "kept", "failed"]:
        """`kept`: nothing had to be converted."""
        if self.failure is not None:
            return "failed"
        return "made" if any(step.status == "made" for step in self.steps) else "kept"


def store_dir() -> Path:
    """Where converted models are kept."""
    return cache_dir() / "converted"


def intend(wanted: Wanted, progress: Progress) -> Intent:
    """Find the route and the inputs; nothing is converted, and no environment is built.

    Raises:
        UsageError: no such route, format, model or environment; nothing to convert.
    """
    document: dict[str, Any] = {
        "name": "convert",
        "models": [dict(wanted.model)],
        "axes": dict(wanted.axes),
        "conversions": dict(wanted.conversions),
        "timing": {"enabled": False},
        "executor": wanted.executor,
    }
    draft = check_spec(
        {**document, "inputs": {"path": _LATER}, "environments": [_LATER]}, "options"
    )
    [model] = draft.models
    subject = subject_of(model)
    route, reader = _route(wanted, draft, subject, progress)
    known = known_model(model)
    count = draft.conversions.images
    if STATIC in draft.axes.quantisation:
        if wanted.data is None and wanted.inputs is None:
            raise UsageError(
                "Static quantisation takes the ranges of numbers from what the model is fed, and "
                "nothing is given.",
                "Give images with --data DIR, or arrays with --inputs X.npy; --quantisation "
                "dynamic does without.",
            )
        count = max(count, draft.conversions.calibration)
    feeding = convert_inputs.given(known, wanted.data, wanted.inputs, wanted.limit, count)
    if feeding is None:
        feeding = convert_inputs.make(model, known, count, progress)
    document["axes"] = {**wanted.axes, "route": [route.name if wanted.to else wanted.route]}
    spec = check_spec({**document, **feeding.document, "environments": [reader]}, "options")
    path = model.path if known is None else known.path
    return Intent(spec, route, path and path.expanduser(), feeding.made_here)


def convert(
    intent: Intent,
    progress: Progress,
    *,
    store: Path | None = None,
    executor: Executor | None = None,
) -> Converted:
    """Make what is not in the cache yet, check each step, and say what came of it.

    Args:
        intent: what to do.
        progress: where to report to.
        store: where it is kept; the user's cache by default.
        executor: where conversions are made; this machine by default.

    Raises:
        HarnessError: it could not be begun. A step that fails is told in the result.
    """
    store = store or store_dir()
    with contextlib.ExitStack() as held:
        space, _ = held.enter_context(workspace(store))
        resolved, plan = plan_sweep(intent.spec, progress)
        held.callback(resolved.stacks.close)
        cell = plan.cells[0]
        conversion = cell.conversion
        assert conversion is not None  # noqa: S101 - the intent has a step
        for step in conversion.chain:
            _forget_broken(store, step)
        steps, failure = kept_steps(store, conversion, intent.spec.conversions)
        log = None
        todo = missing(conversion, store)
        if failure is None and todo:
            inputs = resolved.inputs[cell.inputs.inputs_key]
            document = _document(intent.spec, conversion, store, space, resolved, inputs, progress)
            listener = StepListener(store, todo, document.results, progress, space.note_worker)
            with leased_devices(None, progress):
                _follow(executor or LocalExecutor(), document, listener)
            steps = [*steps, *listener.steps]
            failure, log = listener.failure, listener.log
        made = artifact_folder(store, conversion.key) / artifact_name(conversion)
        return Converted(
            model=cell.model,
            route=cell.route,
            format=conversion.target_format,
            steps=tuple(steps),
            artifact=None if failure else made,
            axes={} if failure else _axes(store, conversion),
            failure=failure,
            log=log,
            inputs_made=intent.inputs_made,
        )


def _route(
    wanted: Wanted, draft: SweepSpec, subject: Subject, progress: Progress
) -> tuple[Route, str]:
    known = folders()
    others = makers_of(known, subject)
    readers = others
    if wanted.reader is not None:
        readers = [_reader(wanted.reader, progress)]
    end = word_of(end_of(wanted.route, subject)) if wanted.route else str(wanted.to)
    target = check_format(end, known)
    wishes = wishes_of(draft.axes)[0]
    reader, route = choose(subject, target, wanted.route or AUTO, readers, others, wishes)
    if not route.steps and not wishes.asked:
        raise UsageError(
            f"The model is {word_of(target)} already: there is nothing to convert.",
            "Ask for another format, or for what is to change: --opset, --quantisation, --folding, "
            "--input-layout or --optimise.",
        )
    return route, wanted.reader or reader.name


def _reader(name: str, progress: Progress) -> Workshop:
    """An environment that a person named; a version that nobody wrote a folder for is resolved."""
    if adopted.is_adopted(name) or adhoc.is_pin(name):
        env = resolve(name, progress=progress)
        return Workshop(env.name, "", "venv", env.converters, env.formats)
    folder = find(name)
    return Workshop(folder.name, "", "venv", folder.file.converters, folder.file.backends)


def _forget_broken(store: Path, step: Conversion) -> None:
    """Remove what was kept of a step and is not what it was: it is made again."""
    folder = artifact_folder(store, step.key)
    if folder.exists() and not is_whole(folder, deep=True):
        remove_tree(folder)


def _axes(store: Path, conversion: Conversion) -> dict[str, Any]:
    return stored_artifact(store, conversion)[1]


def _document(
    spec: SweepSpec,
    conversion: Conversion,
    store: Path,
    space: Workspace,
    resolved: Resolved,
    inputs: PreparedInputs,
    progress: Progress,
) -> GroupDocument:
    """The conversions that are left, for a conductor; their environments are built."""
    provisioned = _provisioned(missing(conversion, store), resolved, progress)
    return GroupDocument(
        runner=runner_parent(),
        results=(space.path / uuid.uuid4().hex[:8]).resolve(),
        timeout_s=spec.limits.timeout_seconds,
        conversion_timeout_s=spec.conversions.timeout_seconds,
        conversion_memory_mib=spec.conversions.memory_mib,
        conversions=tuple(conversion_tasks(spec, conversion, store, provisioned, inputs)),
        cells=(),
        limits=container_limits(spec),
        owner=space.owner,
    )


def _provisioned(
    todo: Sequence[Conversion], resolved: Resolved, progress: Progress
) -> dict[str, Provisioned]:
    """The environments of steps and of their checks; a check's may be missing, and that is said."""
    stacks = resolved.stacks
    made = dict(stacks.ready)
    converting = {step.environment_identity for step in todo}
    checkers = [one for step in todo for one in (step.source_checker, step.checker) if one]
    for identity in dict.fromkeys([*converting, *(one.environment_identity for one in checkers)]):
        if identity in made:
            continue
        env = stacks.environments[identity]
        try:
            made[identity] = provide(env, progress, stacks.engine)
        except (ProvisionError, EngineError, StoreError) as error:
            if identity in converting:
                raise
            progress.note(f"{env.name}, which would check, cannot be made: {error}")
    return made


def _follow(executor: Executor, document: GroupDocument, listener: StepListener) -> None:
    name = executor.submit(document)
    with _cancelled_on_error(executor, name), listener:
        poll = executor.poll(name, _POLL_S)
        while poll.running:
            for event in poll.events:
                listener.on(event)
            poll = executor.poll(name, _POLL_S)
        executor.fetch(name)
        listener.ended()


@contextlib.contextmanager
def _cancelled_on_error(executor: Executor, name: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        executor.cancel(name)
        raise
