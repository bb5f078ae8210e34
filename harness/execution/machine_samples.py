"""The machine while cells are timed on it: samples at a steady pace, one JSON line each."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from harness.errors import ExecutionError
from harness.execution.machine_sources import CoreTimes, Source, snapshot, sources_of

__all__ = ["CoreTimes", "Sampler", "snapshot"]

_STOP_SECONDS = 10.0


class Sampler:
    """Appends a sample to a file every `interval_s`, and one at the start and at the end.

    A context manager, around the rounds of a session:

        with Sampler(folder / "samples.jsonl", cores, gpu) as sampler:
            start_ns = time.monotonic_ns() - sampler.started_ns

    Fields of a sample, each only where the machine shows it:

    - `t_ns`: monotonic, from the session's start;
    - `busy_ns`, `steal_ns`, `sibling_busy_ns`: since the last sample, by core (`BusySource`);
    - `mhz`: by core; `load`: the load average of a minute; `temperature_c`: the processor's
      hottest sensor; `throttle_count`: since the machine started, over the leased cores;
    - `gpu`: `sm_mhz`, `memory_mhz`, `power_w`, `temperature_c`, `throttle_reasons` (a bit mask),
      `utilisation` (percent), `memory_mib` (`GpuReading`);
    - `absent`, in the first sample: why a field is in none.

    A sample costs a fraction of a millisecond, with a GPU a few, on the cores of whoever made the
    Sampler: it must stay off those that are timed.

    Attributes:
        started_ns: `time.monotonic_ns()` at the session's start, from which all times count.
        absent: why a field is in no sample, by field.
    """

    def __init__(
        self,
        path: Path,
        cores: Sequence[int],
        gpu: str | None = None,
        *,
        interval_s: float = 0.5,
        started_ns: int | None = None,
        sources: Sequence[Source] | None = None,
    ) -> None:
        """Prepare; nothing is read before `with`.

        Args:
            path: the file to write.
            cores: the leased logical cores.
            gpu: the leased GPU's UUID, if one is.
            interval_s: from one sample to the next.
            started_ns: the session's start on `time.monotonic_ns()`; None for now.
            sources: what to read; None for everything that this machine shows.
        """
        self._path = path
        self._sources = (
            list(sources) if sources is not None else list(sources_of(sorted(cores), gpu))
        )
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._file: IO[str] | None = None
        self._failure: OSError | None = None
        self.started_ns = time.monotonic_ns() if started_ns is None else started_ns
        self.absent: dict[str, str] = {}
        for source in self._sources:
            self.absent.update(source.absent())

    def __enter__(self) -> Self:
        self._file = self._path.open("w", encoding="utf-8")
        self._sample({"absent": self.absent})
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread and take the last sample.

        Raises:
            ExecutionError: samples could not be written, and nothing worse happened.
        """
        self._stop.set()
        self._thread.join(_STOP_SECONDS)
        # One that hangs in the driver still holds its sources; it ends with the process.
        if not self._thread.is_alive():
            self._sample({})
            for source in self._sources:
                source.close()
            if self._file is not None:
                self._close(self._file)
        if self._failure is not None and error is None:
            full = self._failure.errno == errno.ENOSPC
            raise ExecutionError(
                "disk-full" if full else "environment",
                f"The machine's samples cannot be written to {self._path}: {self._failure}.",
                "Make room, then start the same command again.",
            ) from self._failure

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s) and self._failure is None:
            self._sample({})

    def _sample(self, extra: dict[str, Any]) -> None:
        sample: dict[str, Any] = {"t_ns": time.monotonic_ns() - self.started_ns}
        for source in self._sources:
            sample.update(source.read())
        sample.update(extra)
        if self._file is None or self._failure is not None:
            return
        try:
            self._file.write(json.dumps(sample) + "\n")
            self._file.flush()
        except OSError as error:
            self._failure = error

    def _close(self, file: IO[str]) -> None:
        try:
            file.close()
        except OSError as error:
            self._failure = self._failure or error
