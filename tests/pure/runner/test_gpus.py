"""What the driver says, through a driver that is made up."""

from __future__ import annotations

import ctypes
import uuid
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.gpus import Seen, seen

UUIDS = [uuid.UUID(int=1), uuid.UUID(int=2)]


class FakeCuda:
    """`libcuda.so.1` with so many GPUs, or one that refuses to begin."""

    def __init__(self, count: int = 1, status: int = 0) -> None:
        self.count, self.status = count, status

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self.status

    def cuDriverGetVersion(self, out: Any) -> int:  # noqa: N802
        out._obj.value = 12080
        return 0

    def cuDeviceGetCount(self, out: Any) -> int:  # noqa: N802
        out._obj.value = self.count
        return 0

    def cuDeviceGet(self, out: Any, index: int) -> int:  # noqa: N802
        out._obj.value = index
        return 0

    def cuDeviceGetName(self, text: Any, _size: int, device: ctypes.c_int) -> int:  # noqa: N802
        text.value = f"NVIDIA Test {device.value}".encode()
        return 0

    def cuDeviceGetUuid(self, raw: Any, device: ctypes.c_int) -> int:  # noqa: N802
        raw.raw = UUIDS[device.value].bytes
        return 0

    def cuDeviceTotalMem_v2(self, out: Any, _device: ctypes.c_int) -> int:  # noqa: N802
        out._obj.value = 24 * 1024**3
        return 0

    def cuDeviceGetAttribute(self, out: Any, what: int, _device: ctypes.c_int) -> int:  # noqa: N802
        out._obj.value = {75: 8, 76: 9}[what]
        return 0


class FakeNvml:
    """`libnvidia-ml.so.1`."""

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, _size: int) -> int:  # noqa: N802
        text.value = b"570.133.20"
        return 0

    def nvmlShutdown(self) -> int:  # noqa: N802
        return 0


def driver(cuda: FakeCuda | None, nvml: FakeNvml | None = None) -> Seen:
    def load(name: str) -> Any:
        library = cuda if name == "libcuda.so.1" else nvml
        if library is None:
            raise OSError(f"{name}: cannot open shared object file")
        return library

    return seen(load)


def test_a_gpu_is_described_as_the_driver_does() -> None:
    found = driver(FakeCuda(), FakeNvml())
    assert (found.driver, found.cuda, found.detail) == ("570.133.20", "12.8", "")
    assert found.gpus[0].as_document() == {
        "index": 0,
        "uuid": "GPU-00000000-0000-0000-0000-000000000001",
        "name": "NVIDIA Test 0",
        "memory_mib": 24576,
        "capability": "8.9",
    }
    assert found.proof("onnxruntime") == {
        "name": "NVIDIA Test 0",
        "uuid": "GPU-00000000-0000-0000-0000-000000000001",
        "memory_mib": 24576,
        "capability": "8.9",
        "driver": "570.133.20",
        "cuda": "12.8",
    }


@pytest.mark.parametrize(
    ("cuda", "words"),
    [
        (None, "libcuda.so.1 can't be loaded"),
        (FakeCuda(status=100), "no GPU is visible to this process"),
        (FakeCuda(status=803), "the driver is older than its library"),
        (FakeCuda(status=12345), "CUDA error 12345"),
        (FakeCuda(count=0), "no GPU is visible to this process"),
    ],
)
def test_where_there_is_none_a_request_is_refused_with_the_reason(
    cuda: FakeCuda | None, words: str
) -> None:
    found = driver(cuda)
    assert found.gpus == ()
    with pytest.raises(RunnerError, match=words) as caught:
        found.the_one("torch.eager")
    assert caught.value.kind == "wrong-device"
    assert "torch.eager" in caught.value.message


def test_two_visible_gpus_are_one_too_many_and_both_are_named() -> None:
    with pytest.raises(RunnerError, match=r"0: NVIDIA Test 0 .* 1: NVIDIA Test 1") as caught:
        driver(FakeCuda(count=2), FakeNvml()).the_one("onnxruntime")
    assert caught.value.kind == "wrong-device"
    assert "CUDA_VISIBLE_DEVICES" in caught.value.message


def test_without_a_driver_asking_raises_nothing() -> None:
    """On this machine, whatever it has."""
    assert isinstance(seen().detail, str)
