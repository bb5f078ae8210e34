"""Which environments, executors and devices a spec means on this machine."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.containers.engine import Engine, named_engine
from harness.doctor.choice import choose_executor, is_local
from harness.doctor.gpus import Gpu, find_gpu
from harness.doctor.machine import cpu_name
from harness.environments import adopted
from harness.environments.adhoc import is_pin
from harness.environments.base import ensure_base
from harness.environments.builder import can_build
from harness.environments.environment import Environment, Executor
from harness.environments.provision import Provisioned
from harness.environments.registry import find, resolve
from harness.errors import EngineError, HarnessError, ProvisionError, SpecError
from harness.plan.parts import DeviceHere, Stack
from harness.progress import Progress
from harness.spec.models import EnvironmentEntry, SweepSpec

# Any base will do to find out whether images can be built; 3.11 is every environment's first.
_PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Stacks:
    """The environments of a sweep, each as it is or will be on this machine.

    Attributes:
        stacks: as planning sees them, in the spec's order.
        environments: to be provisioned, by identity.
        ready: those that were there already and only had to be asked, by identity.
        engine: the container engine, where one is needed.
    """

    stacks: tuple[Stack, ...]
    environments: dict[str, Environment]
    ready: dict[str, Provisioned] = field(default_factory=dict)
    engine: Engine | None = None

    def close(self) -> None:
        """Close the connection to the engine, if there is one."""
        if self.engine is not None:
            self.engine.close()


def resolve_stacks(spec: SweepSpec, progress: Progress) -> Stacks:
    """Find or lock what is named, for every executor that is to run it; builds nothing.

    `auto` takes containers where an engine answers. Where one does, but images cannot be built
    here, virtual environments are taken, and that is said. The caller closes the result.

    Raises:
        EnvironmentSpecError, SpecError, ProvisionError, EngineError: what cannot be had.
    """
    if spec.executor != "auto":
        engine = _local_engine() if "docker" in spec.executor else None
        with closed_on_error(engine):
            return _resolve(spec, spec.executor, engine, progress, chosen=True)
    names = [name for entry in spec.environments for name in entry.names]
    if any(adopted.is_image(name) for name in names):
        engine = _local_engine()
    else:
        choice = choose_executor("auto")
        engine = choice.engine
        if engine is None and (named := named_engine()):
            progress.note(
                f"{named}, but no engine can be used: {choice.reason}. "
                "Virtual environments are used instead."
            )
    with closed_on_error(engine):
        executor: Executor = "venv"
        if engine is not None and not all(adopted.is_adopted(name) for name in names):
            executor = _buildable(engine, progress)
        return _resolve(spec, (executor,), engine, progress, chosen=False)


@contextlib.contextmanager
def closed_on_error(engine: Engine | None) -> Iterator[None]:
    """Close the connection where the block fails; else whoever got it does."""
    try:
        yield
    except BaseException:
        if engine is not None:
            engine.close()
        raise


def _local_engine() -> Engine:
    """The engine, which must be this machine's: cells see folders of this machine.

    Raises:
        EngineError: none answers, or it is another machine's.
    """
    engine = choose_executor("docker").engine
    assert engine is not None  # noqa: S101 - it was asked for
    if not is_local(engine.info):
        engine.close()
        raise EngineError(
            f"The engine at {engine.info.address} is on another machine, which has not this "
            "one's folders.",
            "Unset DOCKER_HOST, start the harness over there, or use --executor venv.",
        )
    return engine


def _buildable(engine: Engine, progress: Progress) -> Executor:
    """`docker` where images can be built for this engine, else `venv`, and why."""
    try:
        can_build(engine)
        ensure_base(engine, _PYTHONS, progress)
    except (ProvisionError, EngineError) as error:
        progress.note(
            f"A container engine answers, but no image can be built here: {error.message} "
            f"Virtual environments are used instead; --executor docker insists."
        )
        return "venv"
    return "docker"


def devices_of(spec: SweepSpec) -> tuple[dict[str, DeviceHere], dict[str, Gpu]]:
    """The devices that a spec names, as they are on this machine, and the GPUs among them by UUID.

    Raises:
        HarnessError: a GPU that is not here, with what is.
    """
    found: dict[str, DeviceHere] = {}
    gpus: dict[str, Gpu] = {}
    for asked in dict.fromkeys(spec.axes.device):
        if asked == "cpu":
            found[asked] = DeviceHere("cpu", cpu_name())
        else:
            gpu = find_gpu(asked)
            gpus[gpu.uuid] = gpu
            found[asked] = DeviceHere("cuda", f"{gpu.name}, driver {gpu.driver}", gpu.uuid)
    return found, gpus


def _resolve(
    spec: SweepSpec,
    executors: Sequence[Executor],
    engine: Engine | None,
    progress: Progress,
    *,
    chosen: bool,
) -> Stacks:
    found: list[tuple[EnvironmentEntry, Environment]] = []
    ready: dict[str, Provisioned] = {}
    for entry in spec.environments:
        places = [_adopted_place(name, executors, chosen=chosen) for name in entry.names]
        for executor in dict.fromkeys(place for one in places for place in one):
            env = _first_that_fits(entry.names, executor, engine, progress, ready)
            found.append((entry, env))
    _refuse_doubles(found)
    return Stacks(
        stacks=tuple(_stack(entry, env) for entry, env in found),
        environments={env.identity: env for _, env in found},
        ready=ready,
        engine=engine,
    )


def _adopted_place(name: str, executors: Sequence[Executor], *, chosen: bool) -> Sequence[Executor]:
    """The executors that can run an environment: what exists already runs only as what it is."""
    if not adopted.is_adopted(name):
        return executors
    needed: Executor = "docker" if adopted.is_image(name) else "venv"
    if chosen and needed not in executors:
        raise SpecError(
            f"{name} cannot run with --executor {' '.join(executors)}: "
            + (
                "an image needs the container engine."
                if needed == "docker"
                else "it is an interpreter of this machine, which no container sees."
            ),
            "Leave --executor away (auto): each environment then runs where it can.",
        )
    return (needed,)


def _first_that_fits(
    names: Sequence[str],
    executor: Executor,
    engine: Engine | None,
    progress: Progress,
    ready: dict[str, Provisioned],
) -> Environment:
    """The first candidate with wheels for the running Python; without one, the first that works."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if len(names) > 1 and executor == "venv":
        for name in names:
            folder = is_pin(name) or adopted.is_adopted(name)
            if not folder and running in find(name).locked_pythons:
                return resolve(name, progress=progress)
    failure: HarnessError | None = None
    for name in names:
        try:
            if adopted.is_adopted(name):
                made = adopted.resolve_adopted(name, progress, engine)
                ready[made.env.identity] = made
                return made.env
            return resolve(name, progress=progress, executor=executor, engine=engine)
        except ProvisionError as error:
            failure = error
    assert failure is not None  # noqa: S101 - there is at least one name
    raise failure


def _refuse_doubles(found: Sequence[tuple[EnvironmentEntry, Environment]]) -> None:
    counts = Counter(
        (env.name, env.executor, entry.model_dump_json(exclude={"name"})) for entry, env in found
    )
    if again := [name for (name, _, _), number in counts.items() if number > 1]:
        raise SpecError(f"The environment {', '.join(again)} is given twice.", "Name each once.")
    identities = {(env.name, env.executor, env.identity) for _, env in found}
    doubled = Counter((name, executor) for name, executor, _ in identities)
    if several := [name for (name, _), number in doubled.items() if number > 1]:
        raise SpecError(
            f"Several different environments are called {', '.join(several)}.",
            "Rename one of the folders: results are told apart by the name.",
        )


def _stack(entry: EnvironmentEntry, env: Environment) -> Stack:
    return Stack(
        entry=entry,
        name=env.name,
        stack=env.stack,
        version=env.version,
        identity=env.identity,
        formats=env.formats,
        converters=env.converters,
        executor=env.executor,
        accelerator=env.accelerator,
        lock_sha256=env.lock_sha256,
        parts=env.parts,
        instruction_sets=env.instruction_sets,
    )
