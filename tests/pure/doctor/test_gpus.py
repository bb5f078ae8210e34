"""GPUs through the driver's seam: no machine here needs to have one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.doctor.gpus import Gpu, GpuSurvey, GpuUse, find_gpu, survey, uses
from harness.errors import NothingRanError, SpecError


class NVMLError(Exception):
    """As pynvml's: a number with words."""

    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


@dataclass
class FakeNvml:
    """A driver that offers the GPUs it is given; a number in place of one is its error."""

    devices: list[dict[str, Any] | int] = field(default_factory=list)
    starts: int = 0
    """NVML's code on starting; 0: it starts."""
    open: int = 0
    NVMLError = NVMLError

    def nvmlInit(self) -> None:  # noqa: N802
        if self.starts:
            raise NVMLError(self.starts)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        return b"580.82.07"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return 13010

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        device = self.devices[index]
        if isinstance(device, int):
            raise NVMLError(device)
        return device

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> str:  # noqa: N802
        return str(handle["uuid"])

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> str:  # noqa: N802
        return str(handle["name"])

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> SimpleNamespace:  # noqa: N802
        if "mib" not in handle:
            raise NVMLError(3)
        return SimpleNamespace(total=handle["mib"] << 20, used=handle.get("used", 0) << 20)

    def nvmlDeviceGetUtilizationRates(self, handle: dict[str, Any]) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=handle.get("busy", 0))

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> tuple[int, int]:  # noqa: N802
        if "mig" not in handle:
            raise NVMLError(3)
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:  # noqa: N802
        return len(handle["mig"]) + 1

    def nvmlDeviceGetMigDeviceHandleByIndex(  # noqa: N802
        self, handle: dict[str, Any], index: int
    ) -> dict[str, Any]:
        if index >= len(handle["mig"]):
            raise NVMLError(6)
        instance: dict[str, Any] = handle["mig"][index]
        return instance


L4 = {"uuid": "GPU-11112222-aaaa", "name": "NVIDIA L4", "mib": 23034}
H200 = {"uuid": "GPU-33334444-bbbb", "name": "NVIDIA H200", "mib": 143771, "used": 9000, "busy": 80}


def look(nvml: FakeNvml, root: Path, **environ: str) -> GpuSurvey:
    return survey(nvml, root=root, environ=environ)


def bus(root: Path, vendor: str = "0x10de", kind: str = "0x030200") -> None:
    device = root / "sys/bus/pci/devices/0000:00:1e.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")


def test_what_the_driver_says_of_each_gpu(tmp_path: Path) -> None:
    nvml = FakeNvml([L4, H200])
    found = look(nvml, tmp_path)
    assert found.gpus == (
        Gpu(0, "GPU-11112222-aaaa", "NVIDIA L4", 23034, "580.82.07", "13.1"),
        Gpu(1, "GPU-33334444-bbbb", "NVIDIA H200", 143771, "580.82.07", "13.1"),
    )
    assert found.reason == ""
    assert nvml.open == 0


def test_memory_that_is_shared_with_the_machine_is_not_said(tmp_path: Path) -> None:
    found = look(FakeNvml([{"uuid": "GPU-5", "name": "NVIDIA GB10"}]), tmp_path)
    assert found.gpus[0].memory_mib == 0


def test_no_driver_and_no_gpu_needs_no_remedy(tmp_path: Path) -> None:
    found = look(FakeNvml(starts=12), tmp_path)
    assert found == GpuSurvey(reason="this machine has no NVIDIA GPU")


def test_a_gpu_on_the_bus_without_a_driver_is_seen(tmp_path: Path) -> None:
    bus(tmp_path)
    found = look(FakeNvml(starts=12), tmp_path)
    assert (found.gpus, found.hardware) == ((), ("PCI 0000:00:1e.0",))
    assert "libnvidia-ml.so.1" in found.reason
    assert "nvidia-driver" in found.remedy


@pytest.mark.parametrize(("vendor", "kind"), [("0x1002", "0x030000"), ("0x10de", "0x040300")])
def test_other_makers_and_sound_devices_are_no_nvidia_gpu(
    tmp_path: Path, vendor: str, kind: str
) -> None:
    bus(tmp_path, vendor, kind)
    assert look(FakeNvml(starts=12), tmp_path).hardware == ()


def test_device_files_tell_of_a_gpu_where_the_bus_is_not_to_be_seen(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidiactl"):
        (tmp_path / "dev" / name).touch()
    assert look(FakeNvml(starts=12), tmp_path).hardware == ("/dev/nvidia0",)


@pytest.mark.parametrize(
    ("code", "reason", "remedy"),
    [
        (9, "kernel module", "nvidia-driver"),
        (4, "may not speak", "/dev/nvidia"),
        (18, "upgraded", "Restart"),
        (999, "error 999", "nvidia-smi"),
    ],
)
def test_each_way_a_driver_fails_has_its_remedy(
    tmp_path: Path, code: int, reason: str, remedy: str
) -> None:
    bus(tmp_path)
    found = look(FakeNvml(starts=code), tmp_path)
    assert reason in found.reason
    assert remedy in found.remedy


def test_a_gpu_that_is_lost_is_named_and_the_others_stay(tmp_path: Path) -> None:
    found = look(FakeNvml([15, H200]), tmp_path)
    assert [gpu.index for gpu in found.gpus] == [1]
    assert "GPU 0 (error 15)" in found.reason


def test_a_gpu_that_is_split_counts_as_its_instances(tmp_path: Path) -> None:
    split = {**H200, "mig": [{"uuid": "MIG-a", "name": "NVIDIA H200 MIG 1g.18gb", "mib": 16000}]}
    found = look(FakeNvml([L4, split]), tmp_path)
    assert [(gpu.index, gpu.uuid) for gpu in found.gpus] == [(0, L4["uuid"]), (1, "MIG-a")]


@pytest.mark.parametrize(
    ("value", "indices", "hidden"),
    [("1", [1], [0]), ("1,0", [1, 0], []), ("GPU-3333", [1], [0]), ("0,9,1", [0], [1])],
)
def test_only_what_cuda_would_see_is_offered(
    tmp_path: Path, value: str, indices: list[int], hidden: list[int]
) -> None:
    found = look(FakeNvml([L4, H200]), tmp_path, CUDA_VISIBLE_DEVICES=value)
    assert [gpu.index for gpu in found.gpus] == indices
    assert [gpu.index for gpu in found.hidden] == hidden


@pytest.mark.parametrize("value", ["", "-1", "7"])
def test_a_variable_that_hides_every_gpu_is_the_reason(tmp_path: Path, value: str) -> None:
    found = look(FakeNvml([L4]), tmp_path, CUDA_VISIBLE_DEVICES=value)
    assert found.gpus == ()
    assert f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU" in found.reason


@pytest.mark.parametrize(
    ("asked", "index"),
    [("cuda", 0), ("cuda:1", 1), ("cuda:GPU-33334444-bbbb", 1), ("cuda:gpu-1111", 0)],
)
def test_a_gpu_is_found_by_number_or_uuid(tmp_path: Path, asked: str, index: int) -> None:
    assert find_gpu(asked, look(FakeNvml([L4, H200]), tmp_path)).index == index


def test_a_gpu_that_is_not_here_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(NothingRanError, match="cuda:2 is not here") as refused:
        find_gpu("cuda:2", look(FakeNvml([L4]), tmp_path))
    assert refused.value.remedy == "Here are: cuda:0 NVIDIA L4 (GPU-11112222-aaaa)."
    assert refused.value.exit_code == 4


def test_a_gpu_on_a_machine_without_one_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(NothingRanError, match="this machine has no NVIDIA GPU"):
        find_gpu("cuda", look(FakeNvml(starts=12), tmp_path))


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "rocm:0"])
def test_a_name_that_is_none_is_bad_input(asked: str) -> None:
    with pytest.raises(SpecError, match="no GPU's name"):
        find_gpu(asked, GpuSurvey())


def test_a_name_that_fits_several_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="fits several"):
        find_gpu("cuda:GPU-", look(FakeNvml([L4, H200]), tmp_path))


def test_how_busy_each_gpu_is() -> None:
    assert uses(FakeNvml([L4, H200])) == (
        GpuUse("GPU-11112222-aaaa", 0, 0),
        GpuUse("GPU-33334444-bbbb", 9000, 80),
    )
    assert uses(FakeNvml(starts=12)) == ()
