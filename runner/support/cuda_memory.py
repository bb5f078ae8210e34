"""Memory, a stream and events on the one GPU, by the driver's own library: no package is needed."""

from __future__ import annotations

import ctypes
from typing import Any, Callable, List

import numpy as np

from runner.errors import RunnerError

Load = Callable[[str], Any]

_DRIVER = "libcuda.so.1"
_OUT_OF_MEMORY = 2
_DEVICE_ORDINAL = 9
"""CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL."""


class CudaMemory:
    """Buffers and a stream in the primary context of GPU 0, which CUDA's libraries share.

    Addresses are plain integers. Copies are queued in the stream; `synchronize` waits for them.
    """

    def __init__(self, load: Load = ctypes.CDLL) -> None:
        try:
            self._driver = load(_DRIVER)
        except OSError as error:
            raise RunnerError(
                "wrong-device", f"the NVIDIA driver's library {_DRIVER} can't be loaded: {error}"
            ) from error
        self._device, context = ctypes.c_int(0), ctypes.c_void_p()
        self._stream = ctypes.c_void_p()
        self._buffers: List[int] = []
        self._events: List[Any] = []
        self._ask("cuInit", 0)
        self._ask("cuDeviceGet", ctypes.byref(self._device), 0)
        self._ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._retained = True
        self._ask("cuCtxSetCurrent", context)
        self._ask("cuStreamCreate", ctypes.byref(self._stream), 0)

    @property
    def stream(self) -> int:
        """The stream's handle."""
        return int(self._stream.value or 0)

    def allocate(self, size_bytes: int) -> int:
        """A buffer's address; freed by `close`."""
        address = ctypes.c_uint64(0)
        # CUDA refuses a buffer of nothing, which an empty tensor is.
        self._ask("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(1, size_bytes)))
        self._buffers.append(address.value)
        return address.value

    def copy_in(self, address: int, array: np.ndarray) -> None:
        """Queue a copy of a contiguous array to a buffer."""
        self._ask(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(address),
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_size_t(array.nbytes),
            self._stream,
        )

    def copy_out(self, array: np.ndarray, address: int) -> None:
        """Queue a copy of a buffer to a contiguous array."""
        self._ask(
            "cuMemcpyDtoHAsync_v2",
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_uint64(address),
            ctypes.c_size_t(array.nbytes),
            self._stream,
        )

    def synchronize(self) -> None:
        """Wait for all that was queued; an error of the GPU shows here."""
        self._ask("cuStreamSynchronize", self._stream)

    def event(self) -> Any:
        """An event that keeps the time at which the stream passes it; freed by `close`."""
        event = ctypes.c_void_p()
        self._ask("cuEventCreate", ctypes.byref(event), 0)
        self._events.append(event)
        return event

    def record(self, event: Any) -> None:
        """Queue an event in the stream."""
        self._ask("cuEventRecord", event, self._stream)

    def between_ns(self, begin: Any, end: Any) -> int:
        """Nanoseconds between two events that were passed, by the GPU's own clock (steps of 0.5 µs)."""
        elapsed_ms = ctypes.c_float(0)
        self._ask("cuEventElapsedTime", ctypes.byref(elapsed_ms), begin, end)
        return round(elapsed_ms.value * 1_000_000)

    def place(self, address: int) -> int:
        """The number of the GPU that a buffer lies on."""
        ordinal = ctypes.c_int(-1)
        self._ask(
            "cuPointerGetAttribute",
            ctypes.byref(ordinal),
            ctypes.c_int(_DEVICE_ORDINAL),
            ctypes.c_uint64(address),
        )
        return ordinal.value

    def close(self) -> None:
        """Free buffers, events and stream, and let go of the context. Twice does nothing more."""
        for address in self._buffers:
            self._driver.cuMemFree_v2(ctypes.c_uint64(address))
        self._buffers.clear()
        for event in self._events:
            self._driver.cuEventDestroy_v2(event)
        self._events.clear()
        if self._stream.value:
            self._driver.cuStreamDestroy_v2(self._stream)
            self._stream = ctypes.c_void_p()
        if self._retained:
            self._driver.cuDevicePrimaryCtxRelease_v2(self._device)
            self._retained = False

    def _ask(self, name: str, *arguments: Any) -> None:
        status = int(getattr(self._driver, name)(*arguments))
        if status == 0:
            return
        text = ctypes.c_char_p()
        self._driver.cuGetErrorString(status, ctypes.byref(text))
        said = (text.value or b"").decode("utf-8", "replace") or f"CUDA error {status}"
        if status == _OUT_OF_MEMORY:
            raise RunnerError(
                "out-of-memory",
                f"the GPU's memory ran out ({name}: {said}); use a smaller batch or another GPU",
            )
        raise RunnerError("backend", f"the NVIDIA driver failed in {name}: {said} ({status})")
