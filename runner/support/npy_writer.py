"""Writes a `.npy` file row by row, when the number of rows is known only in the end."""

from __future__ import annotations

import errno
import os
from typing import IO, Any, Optional, Tuple

import numpy as np

from runner.errors import RunnerError

_HEADER_BYTES = 128


class NpyWriter:
    """Collects rows of one shape and dtype; a context manager.

    The file gets its name in `finish`: what has the name is whole.

    Args:
        target: the file to make; its folder is made too.
        item_shape: of a row, where none comes.
    """

    def __init__(self, target: str, item_shape: Tuple[int, ...]) -> None:
        self._target = target
        self._part = target + ".part"
        self._item = item_shape
        self._file: Optional[IO[bytes]] = None
        self.dtype = "uint8"
        """NumPy's name of the rows' dtype; uint8 until a row says another."""
        self.count = 0

    def __enter__(self) -> NpyWriter:  # noqa: PYI034 (Self is not in the standard library of 3.8)
        try:
            os.makedirs(os.path.dirname(os.path.abspath(self._target)), exist_ok=True)
            self._file = open(self._part, "wb")  # noqa: SIM115 (closed by __exit__)
            self._file.write(b"\0" * _HEADER_BYTES)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if os.path.exists(self._part):
            os.unlink(self._part)

    def add(self, row: np.ndarray) -> None:
        """Append a row.

        Raises:
            RunnerError: kind `invalid-output`, for a row unlike those before it; `disk-full`, or
                `job` where the file can't be written.
        """
        if self.count == 0:
            self.dtype = row.dtype.name
        if row.shape != self._item or row.dtype.name != self.dtype:
            raise RunnerError(
                "invalid-output",
                f"an image became {row.dtype.name} {list(row.shape)}, and was to be {self.dtype} "
                f"{list(self._item)}",
            )
        self._write(np.ascontiguousarray(row).data)
        self.count += 1

    def finish(self) -> None:
        """Write the header and give the file its name.

        Raises:
            RunnerError: as `add`.
        """
        document = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(self.dtype)),
            "fortran_order": False,
            "shape": (self.count, *self._item),
        }
        text = repr(document).encode("latin-1")
        # As NumPy's format says: magic, version 1.0, the length of what follows, spaces, newline.
        start = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
        header = start + text.ljust(_HEADER_BYTES - len(start) - 1) + b"\n"
        assert self._file is not None  # noqa: S101 - within the context
        try:
            self._file.seek(0)
            self._file.write(header)
            self._file.close()
            os.replace(self._part, self._target)
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, data: Any) -> None:
        assert self._file is not None  # noqa: S101 - within the context
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RunnerError:
        kind = "disk-full" if error.errno == errno.ENOSPC else "job"
        return RunnerError(kind, f"the pixels can't be written to {self._target}: {error}")
