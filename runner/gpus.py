"""The GPUs that this process can use, by the driver's own libraries: nothing else is imported."""

from __future__ import annotations

import ctypes
import uuid
from dataclasses import dataclass
from typing import Any, Callable, Dict, Tuple

from runner.errors import RunnerError

_CUDA = "libcuda.so.1"
_NVML = "libnvidia-ml.so.1"
_TEXT_BYTES = 256
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
# What libcuda answers most often where it can't be used; other numbers are shown as they are.
_REFUSALS = {
    3: "the driver is shutting down",
    100: "no GPU is visible to this process",
    101: "the GPU that is named does not exist",
    802: "the GPU is not ready",
    803: "the driver is older than its library",
    804: "the driver's library does not fit the driver (compatibility package)",
    999: "the driver can't be used (a device file is missing?)",
}

Load = Callable[[str], Any]


@dataclass(frozen=True)
class Gpu:
    """One GPU that CUDA shows to this process; `index` counts the visible ones."""

    index: int
    uuid: str
    name: str
    memory_mib: int
    capability: str

    def as_document(self) -> Dict[str, Any]:
        """The object in `gpus` of the event `probe`."""
        return {
            "index": self.index,
            "uuid": self.uuid,
            "name": self.name,
            "memory_mib": self.memory_mib,
            "capability": self.capability,
        }


@dataclass(frozen=True)
class Seen:
    """The visible GPUs and the driver; `detail` says why there is none."""

    gpus: Tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""
    detail: str = ""

    def the_one(self, backend: str) -> Gpu:
        """The one GPU that this process may use.

        Raises:
            RunnerError: kind `wrong-device`, where there is none, or more than one.
        """
        if not self.gpus:
            raise RunnerError(
                "wrong-device",
                f"{backend} is asked to run on a GPU and none is here: {self.detail}; run "
                "`harness doctor` to see what is missing",
            )
        if len(self.gpus) > 1:
            names = ", ".join(f"{gpu.index}: {gpu.name} {gpu.uuid}" for gpu in self.gpus)
            raise RunnerError(
                "wrong-device",
                f"{backend} is asked to run on the GPU and {len(self.gpus)} are visible ({names}); "
                "make one visible (CUDA_VISIBLE_DEVICES, or one device for the container)",
            )
        return self.gpus[0]

    def proof(self, backend: str) -> Dict[str, Any]:
        """What `device_proof` says of the GPU that a model runs on."""
        gpu = self.the_one(backend)
        return {
            "name": gpu.name,
            "uuid": gpu.uuid,
            "memory_mib": gpu.memory_mib,
            "capability": gpu.capability,
            "driver": self.driver,
            "cuda": self.cuda,
        }


def seen(load: Load = ctypes.CDLL) -> Seen:
    """Ask the driver; never raises. `load` opens a shared library by its name."""
    try:
        cuda = load(_CUDA)
    except OSError as error:
        return Seen(detail=f"the NVIDIA driver's library {_CUDA} can't be loaded ({error})")
    driver = _driver_version(load)
    status = int(cuda.cuInit(0))
    if status:
        reason = _REFUSALS.get(status, f"CUDA error {status}")
        return Seen(driver=driver, detail=f"the NVIDIA driver refuses: {reason}")
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    spoken = f"{version.value // 1000}.{version.value % 1000 // 10}"
    if count.value == 0:
        return Seen(driver=driver, cuda=spoken, detail=_REFUSALS[100])
    gpus = tuple(_gpu(cuda, index) for index in range(count.value))
    return Seen(gpus, driver, spoken)


def _gpu(cuda: Any, index: int) -> Gpu:
    device, memory = ctypes.c_int(0), ctypes.c_size_t(0)
    name, raw = ctypes.create_string_buffer(_TEXT_BYTES), ctypes.create_string_buffer(16)
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, _TEXT_BYTES, device)
    # The second form tells the parts of a divided GPU from each other; older drivers lack it.
    ask = getattr(cuda, "cuDeviceGetUuid_v2", None) or cuda.cuDeviceGetUuid
    ask(raw, device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    return Gpu(
        index=index,
        uuid=f"GPU-{uuid.UUID(bytes=raw.raw)}",
        name=name.value.decode("utf-8", "replace"),
        memory_mib=memory.value // 1024**2,
        capability=f"{major.value}.{minor.value}",
    )


def _driver_version(load: Load) -> str:
    """The driver's version, such as 570.133.20; an empty string where nobody says."""
    try:
        nvml = load(_NVML)
    except OSError:
        return ""
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    if nvml.nvmlInit_v2() != 0:
        return ""
    nvml.nvmlSystemGetDriverVersion(text, _TEXT_BYTES)
    nvml.nvmlShutdown()
    return text.value.decode("ascii", "replace")
