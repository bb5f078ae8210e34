"""The container engine of this machine: found, asked what it is, and its errors made readable."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import docker
import docker.errors
import requests
from docker.context import ContextAPI
from docker.context.config import get_current_context_name

from harness.errors import EngineError

CONNECT_SECONDS = 10.0
"""For a question that an engine answers at once."""
REQUEST_SECONDS = 120.0
"""For a call of the API; waiting for a container has its own limit."""

_DEFAULT_CONTEXT = "default"
_INSTALL = (
    "Install Docker and start it (Debian: `apt-get install docker.io`, then `systemctl start "
    "docker` or `dockerd`), or run without containers: --executor venv."
)


@dataclass(frozen=True)
class EngineInfo:
    """What an engine says of itself, as far as the harness acts on it."""

    kind: Literal["docker", "podman"]
    version: str
    api_version: str
    address: str
    os_type: str = "linux"
    architecture: str = ""
    rootless: bool = False
    user_namespaces: bool = False
    selinux: bool = False
    storage_driver: str = ""
    cgroup_version: str = ""
    root_dir: str = ""
    """Where images and volumes lie, as the engine sees it."""
    runtimes: tuple[str, ...] = ()
    cdi_spec_dirs: tuple[str, ...] = ()
    cdi_devices: tuple[str, ...] = ()
    """Devices the engine found itself (`nvidia.com/gpu=0`); older engines do not say."""
    cores: int = 0
    memory_bytes: int = 0
    unenforced: tuple[str, ...] = field(default=())
    """Limits that this engine's kernel cannot hold (`memory`, `pids`, `cpuset`)."""


class Engine:
    """A connection to an engine that answered.

    Attributes:
        client: the Docker SDK's client.
        info: what the engine says of itself.
    """

    def __init__(self, client: docker.DockerClient, info: EngineInfo) -> None:
        self.client = client
        self.info = info

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


def addresses() -> list[str]:
    """Where an engine may listen, the most wanted first.

    DOCKER_HOST, or a Docker context that a person chose, leaves no choice; else the usual socket,
    the rootless one, and Podman's.

    Raises:
        EngineError: the context that was chosen is not there, or cannot be read.
    """
    if named := os.environ.get("DOCKER_HOST"):
        return [named]
    name = _context_name()
    if name != _DEFAULT_CONTEXT:
        return [_address_of(name)]
    found: list[str] = []
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    for path in (
        Path("/var/run/docker.sock"),
        runtime / "docker.sock",
        runtime / "podman" / "podman.sock",
        Path("/run/podman/podman.sock"),
    ):
        if path.is_socket() and f"unix://{path}" not in found:
            found.append(f"unix://{path}")
    return found


def named_engine() -> str:
    """How a person named the engine to take, as the start of a sentence; empty if nobody did."""
    if os.environ.get("DOCKER_HOST"):
        return "DOCKER_HOST is set"
    name = _context_name()
    return "" if name == _DEFAULT_CONTEXT else f"The Docker context {name} is chosen"


def _context_name() -> str:
    return os.environ.get("DOCKER_CONTEXT") or str(get_current_context_name())


def _address_of(name: str) -> str:
    remedy = "See `docker context ls`; `docker context use default` takes the usual one."
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:
        raise EngineError(f"The Docker context {name} cannot be read: {error}.", remedy) from error
    if context is None or not context.Host:
        raise EngineError(f"The Docker context {name} does not exist or names no engine.", remedy)
    return str(context.Host)


def connect() -> Engine:
    """Connect to the first engine that answers.

    Raises:
        EngineError: none answers, it is not for Linux containers, or it may not be spoken to;
            each address with its reason.
    """
    tried: list[str] = []
    for address in addresses():
        client = None
        try:
            _knock(address)
            client = docker.DockerClient(
                base_url=address, timeout=int(CONNECT_SECONDS), version="auto"
            )
            info = read_info(client.version(), client.info(), address)
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as e:
            if client is not None:
                client.close()
            tried.append(f"{address}: {_reason(e)}")
            continue
        if info.os_type != "linux":
            client.close()
            tried.append(f"{address}: it runs {info.os_type} containers, not Linux ones")
            continue
        client.api.timeout = int(REQUEST_SECONDS)
        return Engine(client, info)
    said = "; ".join(tried) or "no socket of Docker or Podman is here"
    named = os.environ.get("DOCKER_HOST")
    remedy = (
        f"DOCKER_HOST is set to {named}: correct or unset it, or run without containers: "
        "--executor venv."
        if named
        else _INSTALL
    )
    raise EngineError(f"No container engine answers ({said}).", remedy)


def _knock(address: str) -> None:
    """Find out that nothing listens at a socket before the SDK does, which leaves its own open.

    Raises:
        OSError: why it does not answer.
    """
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
            knocking.settimeout(CONNECT_SECONDS)
            knocking.connect(address.removeprefix("unix://"))


def read_info(version: Mapping[str, Any], info: Mapping[str, Any], address: str = "") -> EngineInfo:
    """An engine's answers to `version` and `info` as a value."""
    components = [str(c.get("Name", "")) for c in version.get("Components") or ()]
    podman = any("podman" in name.lower() for name in components)
    security = [str(option) for option in info.get("SecurityOptions") or ()]
    limits = {"memory": "MemoryLimit", "pids": "PidsLimit", "cpuset": "CPUSet"}
    return EngineInfo(
        kind="podman" if podman else "docker",
        version=str(version.get("Version", "")),
        api_version=str(version.get("ApiVersion", "")),
        address=address,
        os_type=str(info.get("OSType") or version.get("Os") or "linux"),
        architecture=str(info.get("Architecture", "")),
        rootless=any("name=rootless" in option for option in security),
        user_namespaces=any("name=userns" in option for option in security),
        selinux=any("name=selinux" in option for option in security),
        storage_driver=str(info.get("Driver", "")),
        cgroup_version=str(info.get("CgroupVersion", "")),
        root_dir=str(info.get("DockerRootDir", "")),
        runtimes=tuple(sorted(info.get("Runtimes") or ())),
        cdi_spec_dirs=tuple(info.get("CDISpecDirs") or ()),
        cdi_devices=_cdi_devices(info.get("DiscoveredDevices") or ()),
        cores=int(info.get("NCPU") or 0),
        memory_bytes=int(info.get("MemTotal") or 0),
        unenforced=tuple(name for name, key in limits.items() if info.get(key) is False),
    )


@contextlib.contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn the SDK's exceptions into `EngineError`s that say what was being done.

    Args:
        doing: a phrase such as "Starting a container of onnxruntime-1.31".

    Raises:
        EngineError: in place of the SDK's errors and of a connection that broke.
    """
    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        gone = isinstance(error, requests.exceptions.ConnectionError)
        remedy = "See whether it still runs (`docker info`), then start the same command again."
        raise EngineError(f"{doing} failed: {_reason(error)}.", remedy if gone else "") from error


def _cdi_devices(found: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(str(one["ID"]) for one in found if one.get("Source") == "cdi" and one.get("ID"))


def _reason(error: BaseException) -> str:
    """The engine's own words, on one line."""
    text = getattr(error, "explanation", None) or str(error) or type(error).__name__
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    words = " ".join(str(text).split())
    for name in ("PermissionError", "FileNotFoundError", "ConnectionRefusedError"):
        if name in words or type(error).__name__ == name:
            return {
                "PermissionError": "you may not speak to it (be in the group `docker`, or root)",
                "FileNotFoundError": "there is no such socket",
                "ConnectionRefusedError": "nothing listens there",
            }[name]
    return words.rstrip(".")
