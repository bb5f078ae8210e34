"""The NVIDIA GPUs of this machine: asked of the driver (NVML), and looked for without one.

A GPU that a Slurm job or a person hid by CUDA_VISIBLE_DEVICES is not offered here either. Numbers
are those of `nvidia-smi`; a MIG instance counts as a GPU of its own and is named by its UUID.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import NothingRanError, SpecError

_NVIDIA = "0x10de"
_DISPLAY_CLASSES = ("0x0300", "0x0302")
# NVML's codes, by number: constants of a binding that may be replaced by a fake in tests.
_REASONS = {
    4: "you may not speak to the NVIDIA driver",
    9: "the kernel module of the NVIDIA driver is not loaded",
    12: "the NVIDIA driver's library (libnvidia-ml.so.1) is not here",
    18: "the NVIDIA driver was upgraded under the running kernel module",
}
_REMEDIES = {
    4: "Give this user the devices /dev/nvidia* (often the group `video` or `render`).",
    18: "Restart the machine.",
}
_INSTALL_DRIVER = (
    "Install the NVIDIA driver for this GPU (Debian: `apt-get install nvidia-driver`), restart, "
    "and see that `nvidia-smi` answers."
)


@dataclass(frozen=True)
class Gpu:
    """One GPU that the driver offers."""

    index: int
    """As `nvidia-smi` counts; a MIG instance has its parent's."""
    uuid: str
    name: str
    memory_mib: int
    driver: str
    """The driver's version: `580.82.07`."""
    cuda: str
    """The newest CUDA that the driver can run: `13.0`."""

    def __str__(self) -> str:
        return f"cuda:{self.index} {self.name} ({self.uuid})"


@dataclass(frozen=True)
class GpuUse:
    """How busy a GPU is; None where the driver does not say."""

    uuid: str
    used_mib: int | None
    utilisation_percent: int | None


@dataclass(frozen=True)
class GpuSurvey:
    """What was found, and why not more."""

    gpus: tuple[Gpu, ...] = ()
    hidden: tuple[Gpu, ...] = ()
    """Those that CUDA_VISIBLE_DEVICES leaves out."""
    hardware: tuple[str, ...] = ()
    """NVIDIA GPUs seen on the PCI bus or as device files, driver or not."""
    reason: str = ""
    """Why no GPU, or not every GPU, is offered."""
    remedy: str = ""


def gpus() -> tuple[Gpu, ...]:
    """The GPUs that may be used here, in the order of `nvidia-smi`; none without a driver."""
    return survey().gpus


def survey(
    nvml: Any = None, *, root: Path = Path("/"), environ: Mapping[str, str] = os.environ
) -> GpuSurvey:
    """Look for GPUs through the driver, and on the bus for those that have none.

    Args:
        nvml: the NVML binding; None for `pynvml`.
        root: where /sys and /dev are looked for.
        environ: holds CUDA_VISIBLE_DEVICES, perhaps.
    """
    nvml = nvml if nvml is not None else importlib.import_module("pynvml")
    hardware = _hardware(root)
    try:
        with _started(nvml):
            found, broken = _listed(nvml)
    except nvml.NVMLError as error:
        reason, remedy = _why(error, seen=bool(hardware))
        return GpuSurvey(hardware=hardware, reason=reason, remedy=remedy)
    visible = _visible(found, environ.get("CUDA_VISIBLE_DEVICES"))
    hidden = tuple(gpu for gpu in found if gpu not in visible)
    reason, remedy = "", ""
    if broken:
        reason = f"the driver cannot speak to {', '.join(broken)}"
        remedy = "See `nvidia-smi` and the kernel's log (`dmesg | grep NVRM`)."
    elif not found:
        reason = "the driver is here but offers no GPU"
    elif not visible:
        value = environ.get("CUDA_VISIBLE_DEVICES")
        reason = f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU"
        remedy = "Unset CUDA_VISIBLE_DEVICES, or name a GPU of `nvidia-smi -L` in it."
    return GpuSurvey(visible, hidden, hardware, reason, remedy)


def find_gpu(asked: str, found: GpuSurvey | None = None) -> Gpu:
    """The GPU that a sweep's device names.

    Args:
        asked: `cuda` (the first), `cuda:1` (by number) or `cuda:GPU-…` (by UUID, or its start).
        found: what a survey gave; None to look now.

    Raises:
        SpecError: `asked` is not a GPU's name, or fits several.
        NothingRanError: there is no such GPU; the message says which there are.
    """
    kind, _, which = asked.partition(":")
    if kind != "cuda" or (":" in asked and not which):
        raise SpecError(
            f"{asked!r} is no GPU's name.", "Write cuda, cuda:0 (a number) or cuda:GPU-… (a UUID)."
        )
    found = found if found is not None else survey()
    if not found.gpus:
        raise NothingRanError(
            f"Device {asked} was asked for, but no GPU can be used here: "
            f"{found.reason or 'none was found'}.",
            found.remedy or "See `harness doctor`, or take `--device cpu`.",
        )
    if not which:
        return found.gpus[0]
    if which.isascii() and which.isdigit():
        fitting = [gpu for gpu in found.gpus if gpu.index == int(which)]
    else:
        fitting = [gpu for gpu in found.gpus if gpu.uuid.lower().startswith(which.lower())]
    if not fitting:
        hidden = "; others are hidden by CUDA_VISIBLE_DEVICES" if found.hidden else ""
        raise NothingRanError(
            f"Device {asked} is not here.",
            f"Here are: {', '.join(str(gpu) for gpu in found.gpus)}{hidden}.",
        )
    if len(fitting) > 1:
        raise SpecError(
            f"Device {asked} fits several: {', '.join(str(gpu) for gpu in fitting)}.",
            f"Name one by its UUID: cuda:{fitting[0].uuid}.",
        )
    return fitting[0]


def uses(nvml: Any = None) -> tuple[GpuUse, ...]:
    """How busy each GPU is now; none without a driver."""
    nvml = nvml if nvml is not None else importlib.import_module("pynvml")
    found = []
    try:
        with _started(nvml):
            for index in range(nvml.nvmlDeviceGetCount()):
                with contextlib.suppress(nvml.NVMLError):
                    handle = nvml.nvmlDeviceGetHandleByIndex(index)
                    found.append(
                        GpuUse(
                            uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
                            used_mib=_or_none(
                                nvml,
                                lambda h=handle: int(nvml.nvmlDeviceGetMemoryInfo(h).used) >> 20,
                            ),
                            utilisation_percent=_or_none(
                                nvml,
                                lambda h=handle: int(nvml.nvmlDeviceGetUtilizationRates(h).gpu),
                            ),
                        )
                    )
    except nvml.NVMLError:
        return ()
    return tuple(found)


@contextlib.contextmanager
def _started(nvml: Any) -> Iterator[None]:
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _listed(nvml: Any) -> tuple[list[Gpu], list[str]]:
    driver = _text(nvml.nvmlSystemGetDriverVersion())
    version = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
    cuda = f"{version // 1000}.{version % 1000 // 10}"
    found: list[Gpu] = []
    broken: list[str] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found += [
                Gpu(
                    index=index,
                    uuid=_text(nvml.nvmlDeviceGetUUID(one)),
                    name=_text(nvml.nvmlDeviceGetName(one)),
                    # GPUs that share the machine's memory do not say how much they have.
                    memory_mib=_or_none(
                        nvml, lambda h=one: int(nvml.nvmlDeviceGetMemoryInfo(h).total) >> 20
                    )
                    or 0,
                    driver=driver,
                    cuda=cuda,
                )
                for one in _instances(nvml, handle) or [handle]
            ]
        except nvml.NVMLError as error:
            broken.append(f"GPU {index} ({error})")
    return found, broken


def _instances(nvml: Any, handle: Any) -> list[Any]:
    """The MIG instances of a GPU that is split: such a GPU cannot be used as a whole."""
    try:
        current, _pending = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:
        return []
    if not current:
        return []
    instances = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with contextlib.suppress(nvml.NVMLError):
            instances.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
    return instances


def _visible(found: list[Gpu], named: str | None) -> tuple[Gpu, ...]:
    """Those that CUDA itself would offer: names are taken up to the first that is none."""
    if named is None:
        return tuple(found)
    chosen: list[Gpu] = []
    for name in (part.strip() for part in named.split(",")):
        if name.isascii() and name.isdigit():
            fitting = [gpu for gpu in found if gpu.index == int(name)]
        else:
            fitting = [gpu for gpu in found if name and gpu.uuid.startswith(name)]
        if not fitting:
            break
        chosen += [gpu for gpu in fitting[:1] if gpu not in chosen]
    return tuple(chosen)


def _hardware(root: Path) -> tuple[str, ...]:
    seen = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor, kind = _read(device / "vendor"), _read(device / "class")
        if vendor == _NVIDIA and kind.startswith(_DISPLAY_CLASSES):
            seen.append(f"PCI {device.name}")
    if not seen:
        seen = [f"/dev/{path.name}" for path in sorted((root / "dev").glob("nvidia[0-9]*"))]
    if not seen and (root / "dev/dxg").exists():
        seen = ["/dev/dxg (Windows' driver)"]
    return tuple(seen)


def _why(error: Any, *, seen: bool) -> tuple[str, str]:
    """The reason and its remedy; where no GPU is to be seen there is nothing to install."""
    code = getattr(error, "value", None)
    reason = _REASONS.get(code or 0, f"the NVIDIA driver answers: {error}")
    if code in {9, 12} and not seen:
        return "this machine has no NVIDIA GPU", ""
    return reason, _REMEDIES.get(code or 0, _INSTALL_DRIVER)


def _or_none(nvml: Any, ask: Any) -> int | None:
    try:
        return int(ask())
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
