"""Containers of sweeps that were killed: told by their labels, and removed at the next start."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.canonical import key_of
from harness.containers.container import remove_container
from harness.containers.engine import Engine, engine_errors

OWNER = "io.harness.owner"
_PID = f"{OWNER}.pid"
_STARTED = f"{OWNER}.started"
_MACHINE = f"{OWNER}.machine"
_BOOT = f"{OWNER}.boot"
_NAMESPACE = f"{OWNER}.namespace"
_CONTAINER = f"{OWNER}.container"
_CONTAINER_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Place:
    """Where a process number means something.

    Attributes:
        machine: which machine, as far as that can be told.
        boot: of which start of it.
        namespace: the process namespace.
        container: the id of the container this is in; empty outside of one.
    """

    machine: str
    boot: str
    namespace: str
    container: str = ""


def here() -> Place:
    """The place of this process."""
    hostname = socket.gethostname()
    inside = Path("/.dockerenv").exists() and _CONTAINER_ID.fullmatch(hostname) is not None
    return Place(
        machine=key_of([_machine_id(), hostname])[:16],
        boot=Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        namespace=str(Path("/proc/self/ns/pid").readlink()),
        container=hostname if inside else "",
    )


def _machine_id() -> str:
    """The machine's own number; inside a container there is mostly none."""
    try:
        return Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def owner_labels(pid: int | None = None, started: float | None = None) -> dict[str, str]:
    """The labels that say whose a container is.

    Args:
        pid: the process without which nobody needs the container: the sweep's, not that of the
            conductor it started. None: this one.
        started: when that process was created, seconds since the epoch.
    """
    if pid is None:
        pid = os.getpid()
    if started is None:
        started = psutil.Process(pid).create_time()
    place = here()
    return {
        OWNER: "harness",
        _PID: str(pid),
        _STARTED: f"{started:.3f}",
        _MACHINE: place.machine,
        _BOOT: place.boot,
        _NAMESPACE: place.namespace,
        _CONTAINER: place.container,
    }


def is_stray(
    labels: Mapping[str, str],
    place: Place,
    processes: Mapping[int, float],
    containers: frozenset[str],
) -> bool:
    """Whether the owner that these labels name is dead.

    An owner of an earlier start of this machine is. One of another machine that uses the same
    engine cannot be judged from here and is left alone. So is one in another process namespace,
    except if that was a container that does not run any more.

    Args:
        labels: a container's labels.
        place: where this is asked.
        processes: when each living process of this place was created.
        containers: the ids of all containers that run.
    """
    if OWNER not in labels:
        return False
    if labels.get(_BOOT) != place.boot:
        return labels.get(_MACHINE) == place.machine
    if labels.get(_NAMESPACE) != place.namespace:
        inside = labels.get(_CONTAINER, "")
        return bool(inside) and not any(number.startswith(inside) for number in containers)
    try:
        created = processes.get(int(labels[_PID]))
        return created is None or abs(created - float(labels[_STARTED])) >= 1.0
    except (KeyError, ValueError):
        return True


def remove_strays(engine: Engine) -> list[str]:
    """Remove every container of a harness process that is dead, whatever state it is in.

    Returns:
        What was removed, each with its name and state, for a person.

    Raises:
        EngineError: the engine went away, or could not remove one.
    """
    with engine_errors("Looking for containers that a killed sweep left"):
        found = engine.client.api.containers(all=True)
    place = here()
    processes = _processes()
    running = frozenset(str(one["Id"]) for one in found if one.get("State") == "running")
    removed = []
    for one in found:
        if is_stray(one.get("Labels") or {}, place, processes, running):
            number = str(one["Id"])
            remove_container(engine, number)
            removed.append(f"{_name(one['Labels'])} ({number[:12]}, {one.get('State', 'unknown')})")
    return removed


def _name(labels: Mapping[str, str]) -> str:
    return labels.get("io.harness.name") or "container"


def _processes() -> dict[int, float]:
    """Every living process, and when it was created; one that nobody waits for is dead."""
    return {
        process.info["pid"]: process.info["create_time"] or 0.0
        for process in psutil.process_iter(["pid", "create_time", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
    }
