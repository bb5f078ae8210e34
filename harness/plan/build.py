"""From a checked spec and what it resolved to, the cells of the matrix: pure and deterministic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from harness.errors import SpecError
from harness.plan.ceilings import refused
from harness.plan.cells import Cell, point_key
from harness.plan.checks import (
    baseline_name,
    check_coverage,
    check_devices,
    check_names,
    check_routes,
)
from harness.plan.conversions import Checker, Conversion
from harness.plan.feeds import CellInputs, Feed, feeds_of
from harness.plan.groups import Group, make_groups
from harness.plan.levels import OWN, level_settings
from harness.plan.parts import Place, Skipped, Stack, Subject, Workshop
from harness.plan.routes import Step, produces
from harness.plan.ways import Makers, Way, barred_for, find_ways, makers_for
from harness.plan.wishes import STATIC
from harness.spec.models import ALL, EnvironmentEntry, SweepSpec


@dataclass(frozen=True)
class Plan:
    """Cells, how they are grouped, and the combinations that cannot exist."""

    cells: tuple[Cell, ...]
    groups: tuple[Group, ...]
    skipped: tuple[Skipped, ...]
    baseline: str | None = None
    """Name of the environment that times are related to; None: each model's first."""


def build_plan(
    spec: SweepSpec,
    subjects: Sequence[Subject],
    stacks: Sequence[Stack],
    place: Place,
    workshops: Sequence[Workshop] = (),
    called: Mapping[str, str] | None = None,
) -> Plan:
    """Cross models, environments, backends and axes.

    Args:
        spec: the sweep.
        subjects: models with their inputs.
        stacks: the environments that run them.
        place: this machine.
        workshops: environments that convert where a stack has no converter of its own.
        called: what to call points of settings and wishes, by their `point_key`.

    Raises:
        SpecError: a model or an environment that takes part in no cell, an unknown backend or
            baseline: the sweep would not answer what was asked.
    """
    check_names(spec, stacks)
    check_devices(place)
    cells: list[Cell] = []
    skipped: list[Skipped] = []
    unfed: set[tuple[str, str]] = set()
    unreached: dict[str, str] = {}
    reached: set[str] = set()
    feeds = feeds_of(spec.axes)
    for subject, stack in product(subjects, stacks):
        architecture = subject.network.architecture if subject.network else None
        makers = makers_for(stack, workshops, barred_for(subject.format, architecture))
        ways, missed = find_ways(spec, stack, subject.format, makers)
        skipped.extend(Skipped(subject.name, stack.name, n.backend, n.reason) for n in missed)
        unreached.update({n.asked: n.reason for n in missed})
        reached.update(way.asked for way in ways)
        fed, without = _fed(subject, stack, feeds)
        skipped.extend(without)
        if ways and not fed:
            unfed.add((subject.name, stack.name))
        for way in ways:
            backend = way.backend
            for point in product(_points(spec, stack.entry, subject), fed, _variants(subject)):
                settled, (feed, inputs), variant = point
                asked, threads, batch, precision, ceiling, level, given = settled
                device = place.devices[asked]
                settings = level_settings(backend, level, given)
                if isinstance(settings, str):
                    skipped.append(Skipped(subject.name, stack.name, backend, settings))
                    continue
                if device.kind not in {"cpu", stack.accelerator}:
                    reason = f"{stack.name} is a stack for {stack.accelerator}, not {device.kind}"
                    skipped.append(Skipped(subject.name, stack.name, backend, reason))
                    continue
                if why := refused(
                    ceiling,
                    backend=backend,
                    kept=stack.instruction_sets.get(backend),
                    device=device.kind,
                    flags=place.cpu_flags,
                ):
                    skipped.append(Skipped(subject.name, stack.name, backend, why))
                    continue
                conversion = _conversion(
                    subject, way, makers, batch, variant, place, spec.conversions.calibration
                )
                part, version = stack.parts.get(backend, (stack.stack, stack.version))
                cells.append(
                    Cell(
                        model=subject.name,
                        model_path=subject.path,
                        model_format=subject.format,
                        model_sha256=subject.sha256,
                        class_offset=subject.class_offset,
                        output=subject.output,
                        environment=stack.name,
                        environment_identity=stack.identity,
                        stack=part,
                        version=version,
                        backend=backend,
                        settings=settings,
                        precision=precision,
                        device=device.kind,
                        device_name=device.name,
                        gpu=device.gpu,
                        threads=threads,
                        batch=batch,
                        executor=stack.executor,
                        lock_sha256=stack.lock_sha256,
                        runner_sha256=place.runner_sha256,
                        route=way.route.name,
                        conversion=conversion,
                        inputs=inputs,
                        feed=feed,
                        architecture=subject.network.architecture if subject.network else None,
                        variant=variant,
                        wishes=way.wishes,
                        instruction_set=ceiling,
                        output_bytes=spec.limits.output_bytes,
                        level=level,
                        called=(called or {}).get(point_key(settings, way.wishes.asked), ""),
                    )
                )
    unique, same = _unique(cells)
    skipped = list(dict.fromkeys([*skipped, *same]))
    check_routes(spec, unreached, reached)
    check_coverage(subjects, stacks, unique, skipped, unfed)
    baseline = baseline_name(spec, stacks)
    groups = make_groups(
        unique,
        baseline=baseline,
        timed=spec.timing.enabled,
        control=spec.timing.control,
        scenarios=spec.timing.scenarios,
    )
    return Plan(tuple(unique), tuple(groups), tuple(skipped), baseline)


def _variants(subject: Subject) -> tuple[Mapping[str, Any], ...]:
    return subject.network.variants if subject.network else ({},)


def _fed(
    subject: Subject, stack: Stack, feeds: Sequence[Feed]
) -> tuple[list[tuple[Feed, CellInputs]], list[Skipped]]:
    """The inputs that a stack is given, and the ways in which it cannot be given any."""
    fed, without = [], []
    for feed in feeds:
        inputs = subject.feeds.of(feed, stack.identity)
        if isinstance(inputs, str):
            without.append(Skipped(subject.name, stack.name, ALL, inputs))
        else:
            fed.append((feed, inputs))
    return fed, without


def _conversion(
    subject: Subject,
    way: Way,
    makers: Makers,
    batch: int,
    variant: Mapping[str, Any],
    place: Place,
    calibration: int,
) -> Conversion | None:
    """The steps of a way, each after the one before it; None where the file is read as it is."""
    inputs = subject.feeds.usual
    made: Conversion | None = None
    before: tuple[Workshop, str] | None = None
    for step in way.route.steps:
        maker = makers.named(step.maker)
        source_format, target_format = produces(step.converter)
        if made is None:
            before = makers.checker(source_format, maker)
        after = makers.checker(target_format, maker)
        made = Conversion(
            converter=step.converter,
            environment=maker.name,
            environment_identity=maker.identity,
            source=subject.path,
            source_sha256=subject.sha256,
            source_format=source_format,
            target_format=target_format,
            runner_sha256=place.runner_sha256,
            options={
                "batch": batch,
                **(_of_the_file(subject, variant) if made is None else {}),
                **step.options,
                **_calibration(step, inputs, calibration),
            },
            before=made,
            executor=maker.executor,
            inputs=inputs,
            source_checker=_checker(before, source_format),
            checker=_checker(after, target_format),
        )
        before = after
    return made


def _of_the_file(subject: Subject, variant: Mapping[str, Any]) -> dict[str, Any]:
    """What the converter that reads the file itself is told of it."""
    shape = {"item_shape": list(subject.item_shape)} if subject.item_shape else {}
    return {**shape, **(subject.network.options(variant) if subject.network else {})}


def _calibration(step: Step, inputs: CellInputs | None, images: int) -> dict[str, Any]:
    if step.options.get("quantisation") != STATIC or inputs is None:
        return {}
    fed = {"pixels": inputs.pixels_key, "feeding": inputs.feeding, "images": images}
    return {"calibration": fed}


def _checker(found: tuple[Workshop, str] | None, file_format: str) -> Checker | None:
    if found is None:
        return None
    who, backend = found
    return Checker(who.name, who.identity, backend, file_format)


def _unique(cells: Sequence[Cell]) -> tuple[list[Cell], list[Skipped]]:
    """The cells, each once, and the levels and ways of feeding that turned out to be another one.

    Two models or environments that are the same are refused.
    """
    found: dict[str, Cell] = {}
    same: list[Skipped] = []
    for cell in cells:
        first = found.setdefault(cell.key, cell)
        if (first.model, first.environment) != (cell.model, cell.environment):
            what = (
                f"The models {first.model} and {cell.model} are the same file, fed the same way"
                if first.model != cell.model
                else f"The environments {first.environment} and {cell.environment} hold the same"
            )
            raise SpecError(f"{what}.", "Name it once: a cell is run once.")
        if first.feed != cell.feed:
            reason = _the_same(cell.feed, first.feed)
            same.append(Skipped(cell.model, cell.environment, cell.backend, reason))
        if first.level != cell.level:
            # What has a name is called by it, though it was asked for without as well.
            kept, other = (cell, first) if first.level == OWN else (first, cell)
            found[cell.key] = kept
            reason = f"level {other.level} is the same as level {kept.level}: the same settings"
            same.append(Skipped(cell.model, cell.environment, cell.backend, reason))
    return list(found.values()), same


def _the_same(feed: Feed, first: Feed) -> str:
    """That a way of feeding is another one under a second name, in the points that they differ."""
    a, b = asdict(feed), asdict(first)
    named = [name for name in a if a[name] != b[name]]
    second, one = (", ".join(f"{name} {point[name]}" for name in named) for point in (a, b))
    return f"{second} is the same as {one}"


def _points(
    spec: SweepSpec, entry: EnvironmentEntry, subject: Subject
) -> list[tuple[str, int, int, str, str, str, dict[str, Any]]]:
    axes = spec.axes
    batches = axes.batch
    if subject.batch is not None:
        if "batch" in axes.model_fields_set and set(batches) != {subject.batch}:
            raise SpecError(
                f"{subject.path} is fixed to a batch of {subject.batch}; "
                f"asked for was {', '.join(map(str, batches))}.",
                "Leave the batch away, or export the model with an open batch dimension.",
            )
        batches = (subject.batch,)
    return list(
        product(
            axes.device,
            entry.threads or axes.threads,
            batches,
            entry.precision or axes.precision,
            entry.instruction_set or axes.instruction_set,
            entry.level or axes.level,
            entry.settings or axes.settings,
        )
    )
