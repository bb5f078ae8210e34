"""How a container gets one GPU: CDI, else the NVIDIA runtime, else a refusal with the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pynvml  # type: ignore[import-untyped]
import yaml
from docker.types import DeviceRequest

from harness.containers.engine import EngineInfo
from harness.errors import EngineError

Route = Literal["cdi", "nvidia"]
CDI_KIND = "nvidia.com/gpu"

_TOOLKIT = (
    "Install the NVIDIA Container Toolkit on this machine, then either write a CDI specification "
    "(`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`; Docker 25 and later) or register "
    "the runtime (`nvidia-ctk runtime configure --runtime=docker`), and restart the engine. "
    "Without containers: --executor venv."
)
_PODMAN = "Use Docker for GPU cells (DOCKER_HOST chooses the engine), or --executor venv."
_GPU = re.compile(r"\d+|(GPU|MIG)-[0-9A-Za-z/-]+")


def gpu_route(info: EngineInfo) -> tuple[Route | None, str]:
    """How this engine can give a GPU to a container, and why so; None: it cannot.

    Returns:
        The route, and one sentence for a person.
    """
    if info.kind == "podman":
        return None, (
            "Podman's Docker-compatible API drops GPU requests without a word, so a cell would "
            "run without its GPU"
        )
    devices = cdi_devices(info)
    if devices:
        return "cdi", f"the engine has CDI devices: {', '.join(devices)}"
    if "nvidia" in info.runtimes:
        return "nvidia", "the engine has the runtime `nvidia`"
    looked = ", ".join(info.cdi_spec_dirs) or "it has no CDI"
    return None, (
        f"the engine has no CDI device of {CDI_KIND} ({looked}) and no runtime `nvidia` "
        f"(it has: {', '.join(info.runtimes) or 'none'})"
    )


def nvml_index(uuid: str) -> int | None:
    """The index of a GPU, as CDI specifications number them; None without a driver or such a GPU."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return int(pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByUUID(uuid)))
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def gpu_arguments(
    info: EngineInfo, gpu: str, index_of: Callable[[str], int | None] = nvml_index
) -> dict[str, Any]:
    """The arguments of the SDK's `containers.create` that make exactly one GPU visible.

    Args:
        info: the engine.
        gpu: its UUID (`GPU-…`) or index.
        index_of: finds the index of a UUID: specifications often name GPUs by index only.

    Raises:
        EngineError: the engine cannot give a GPU to a container; with what to do about it.
    """
    if not _GPU.fullmatch(gpu):
        raise EngineError(f"{gpu!r} names no GPU.", "Name it by its index or UUID: cuda:0.")
    route, reason = gpu_route(info)
    if route is None:
        remedy = _PODMAN if info.kind == "podman" else _TOOLKIT
        raise EngineError(f"GPU {gpu} cannot be given to a container: {reason}.", remedy)
    if route == "cdi":
        device = _cdi_device(cdi_devices(info), gpu, index_of)
        if device is not None:
            # `void`: the runtime's own way must not add the GPUs that an image asks for.
            return {
                "device_requests": [DeviceRequest(driver="cdi", device_ids=[device])],
                "environment": {"NVIDIA_VISIBLE_DEVICES": "void"},
            }
        if "nvidia" not in info.runtimes:
            raise EngineError(
                f"GPU {gpu} is in no CDI specification "
                f"(there are: {', '.join(cdi_devices(info))}).",
                "Write it again: `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`.",
            )
    request = DeviceRequest(
        driver="nvidia", device_ids=[gpu], capabilities=[["gpu", "compute", "utility"]]
    )
    return {"device_requests": [request], "environment": {"NVIDIA_VISIBLE_DEVICES": gpu}}


def _cdi_device(
    devices: Sequence[str], gpu: str, index_of: Callable[[str], int | None]
) -> str | None:
    """The CDI name of a GPU, by what it is called or by its index."""
    names = [gpu]
    if not gpu.isdigit():
        index = index_of(gpu)
        names += [] if index is None else [str(index)]
    return next((f"{CDI_KIND}={n}" for n in names if f"{CDI_KIND}={n}" in devices), None)


def cdi_devices(info: EngineInfo) -> tuple[str, ...]:
    """The GPUs that the engine knows by CDI, such as `nvidia.com/gpu=0`.

    Newer engines list them; of others (Docker 25 to 28.1) the specifications are read.
    """
    listed = [name for name in info.cdi_devices if name.startswith(f"{CDI_KIND}=")]
    if listed:
        return tuple(listed)
    found: list[str] = []
    for folder in info.cdi_spec_dirs:
        for path in sorted(Path(folder).glob("*")):
            if path.suffix in {".yaml", ".yml", ".json"}:
                found.extend(name for name in _named_in(path) if name not in found)
    return tuple(found)


def _named_in(path: Path) -> list[str]:
    """The GPUs of one specification; a file that cannot be read names none, as for the engine."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("kind") != CDI_KIND:
            return []
        return [f"{CDI_KIND}={device['name']}" for device in document["devices"]]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []
