"""Checks of the container engine, of what builds its images, and of the way of a GPU into it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.doctor.checks import Check, failed, info, ok, warning
from harness.doctor.choice import engine_name, is_local
from harness.doctor.facts import Facts

_TOOLKIT = (
    "Install the NVIDIA Container Toolkit, then `sudo nvidia-ctk cdi generate "
    "--output=/etc/cdi/nvidia.yaml` (an engine with CDI) or `sudo nvidia-ctk runtime configure "
    "--runtime=docker`, and start the engine again."
)
# A GPU of which this much is taken, or that works this much, is somebody else's just now.
_GPU_USED_MIB = 1024
_GPU_BUSY_PERCENT = 5


def engine_checks(facts: Facts) -> Iterator[Check]:
    """The engine: who it is, whether it can hold the limits, and whether images can be made."""
    engine = facts.engine
    if engine is None:
        yield warning("engine", facts.engine_reason.rstrip("."), facts.engine_remedy)
        return
    who = f"{engine_name(engine)} (API {engine.api_version}) at {engine.address}"
    if is_local(engine):
        yield ok("engine", who)
    else:
        yield warning(
            "engine",
            f"{who}: on another machine, which cannot mount this one's folders",
            "Run the harness there, or unset DOCKER_HOST to use an engine of this machine.",
        )
    yield _user(facts)
    yield _limits(facts)
    yield _storage(facts)
    yield _cdi(facts)
    if is_local(engine):
        yield _builder(facts)
        yield _base(facts)


def gpu_checks(facts: Facts) -> Iterator[Check]:
    """GPUs, whether they are free, and how they come into a container."""
    found = facts.gpus
    if not found.gpus:
        if found.hardware or found.hidden:
            yield failed("GPU", f"{_seen(facts)}: {found.reason}", found.remedy)
        else:
            yield info("GPU", f"{found.reason or 'none'}; cells run on the CPU", found.remedy)
        return
    for gpu in found.gpus:
        memory = f", {gpu.memory_mib / 1024:.0f} GiB" if gpu.memory_mib else ""
        words = f"{gpu.name}{memory}, driver {gpu.driver} (CUDA {gpu.cuda}), {gpu.uuid}"
        yield ok(f"GPU {gpu.index}", words)
    if found.reason:
        yield warning("GPU", found.reason, found.remedy)
    yield from _gpu_use(facts)
    if facts.engine is not None:
        yield _gpu_route(facts)


def auto_check(facts: Facts) -> Check:
    """What `--executor auto` will take, and why."""
    words = f"{facts.executor}: {facts.executor_reason}"
    if facts.executor == "docker" and not docker_can(facts):
        return failed(
            "auto",
            f"{words}; but it can make no image here",
            "Mend the line that failed below, or take virtual environments: `--executor venv`",
        )
    if facts.executor == "venv" and not venv_can(facts):
        return failed(
            "auto",
            f"{words}; but it can install nothing here",
            "Mend a line below.",
        )
    return ok("auto", words)


def default_check(facts: Facts) -> Iterator[Check]:
    """What stands in the way of `auto`: the variable that sets another default."""
    if facts.default_executor not in {"", "auto"}:
        yield info(
            "default",
            f"HARNESS_EXECUTOR={facts.default_executor} is what a sweep takes without --executor",
        )


def docker_can(facts: Facts) -> bool:
    """Whether cells can run in containers: an engine, and images or what they are made with."""
    building = facts.building
    if facts.engine is None or not is_local(facts.engine):
        return False
    based = building.base or not building.base_reason or not building.registry_reason
    return bool(building.images or (building.builder and based))


def venv_can(facts: Facts) -> bool:
    """Whether cells can run in virtual environments: uv, and an index or what is installed."""
    return bool(facts.uv and (not facts.index_reason or facts.venvs))


def _user(facts: Facts) -> Check:
    engine = facts.engine
    assert engine is not None  # noqa: S101 - the caller looked
    if engine.rootless:
        return info(
            "engine user",
            "rootless: output folders are opened to all inside a private parent folder, and "
            "limits hold only as far as the user's control groups are delegated",
        )
    if engine.user_namespaces:
        return info("engine user", "user namespaces: container users are mapped to others here")
    return ok("engine user", "the system's engine; no cell runs as root")


def _limits(facts: Facts) -> Check:
    engine = facts.engine
    assert engine is not None  # noqa: S101
    group = f"cgroup v{engine.cgroup_version}" if engine.cgroup_version else "control groups"
    if engine.unenforced:
        missing = ", ".join(engine.unenforced)
        return warning(
            "limits",
            f"{group}: {missing} cannot be limited, a cell may take more than it should",
            "Rootless: delegate the controllers (`systemctl edit user@.service`, then "
            "`Delegate=cpu cpuset memory pids`). Otherwise boot a kernel that has them.",
        )
    return ok("limits", f"{group}: memory, pids and cpuset are held")


def _storage(facts: Facts) -> Check:
    engine = facts.engine
    assert engine is not None  # noqa: S101
    if engine.storage_driver == "vfs":
        return warning(
            "storage",
            "vfs copies every layer whole: images take many times their size",
            'Set `{"storage-driver": "overlay2"}` in /etc/docker/daemon.json and start the '
            "engine again.",
        )
    return ok("storage", engine.storage_driver or "not said")


def _cdi(facts: Facts) -> Check:
    engine = facts.engine
    assert engine is not None  # noqa: S101
    if engine.cdi_devices:
        return ok("CDI", f"{len(engine.cdi_devices)} devices: {', '.join(engine.cdi_devices[:4])}")
    if engine.cdi_spec_dirs:
        return info("CDI", f"on, specifications are read from {', '.join(engine.cdi_spec_dirs)}")
    return info("CDI", "not offered by this engine (Docker: an option from 25, on from 28.2)")


def _builder(facts: Facts) -> Check:
    building = facts.building
    if building.builder:
        return ok("image builder", building.builder)
    if building.images:
        return warning(
            "image builder",
            f"none ({building.builder_reason}): only the {building.images} images that are built "
            "can run",
            building.builder_remedy,
        )
    return failed("image builder", building.builder_reason or "none", building.builder_remedy)


def _base(facts: Facts) -> Check:
    building = facts.building
    if building.base:
        return ok("base image", building.base)
    if not building.registry_reason:
        return ok("base image", "not here yet: the first build pulls it")
    if not building.base_reason:
        return info(
            "base image",
            "not here yet: the first build makes one from Debian's packages, for no registry "
            f"gives one ({building.registry_reason})",
            "To make it now: `harness env base`",
        )
    return (warning if building.images else failed)(
        "base image",
        f"not here, no registry gives one ({building.registry_reason}), and none can be made "
        f"({building.base_reason})",
        "`sudo apt-get install mmdebstrap`, then `sudo harness env base`; or name an image that "
        "has Python: `harness env base --use IMAGE`",
    )


def _seen(facts: Facts) -> str:
    seen = facts.gpus.hardware
    return (
        f"{len(seen)} NVIDIA GPU{'s' * (len(seen) != 1)} here ({', '.join(seen)})"
        if seen
        else ("GPUs are here")
    )


def _gpu_use(facts: Facts) -> Iterator[Check]:
    numbers = {gpu.uuid: gpu.index for gpu in facts.gpus.gpus}
    for use in facts.gpu_uses:
        used, busy = use.used_mib or 0, use.utilisation_percent or 0
        if use.uuid in numbers and (used > _GPU_USED_MIB or busy > _GPU_BUSY_PERCENT):
            yield warning(
                f"GPU {numbers[use.uuid]} use",
                f"{used} MiB taken, {busy} % busy: somebody else works there",
                "See who with `nvidia-smi`, and wait, or take another GPU.",
            )


def _gpu_route(facts: Facts) -> Check:
    engine, route = facts.engine, facts.gpu_route
    assert engine is not None  # noqa: S101
    if route is not None:
        way = "by CDI" if route == "cdi" else "by the NVIDIA runtime's device request"
        return ok("GPU in containers", f"{way}: {facts.gpu_route_reason}".rstrip(": "))
    if engine.kind == "podman":
        return failed(
            "GPU in containers",
            facts.gpu_route_reason,
            "Use Docker for GPU cells, or `--executor venv`.",
        )
    return failed("GPU in containers", facts.gpu_route_reason, _TOOLKIT)
