"""What the readers of weights files share: bounds, two failures, and bytes to arrays."""

from __future__ import annotations

from typing import IO, Optional

import numpy as np

MAX_BYTES = 16 * 1024**3
"""Of all arrays of one file together."""

_ALWAYS_FINE_BYTES = 1024**3
_MAX_RATIO = 200


class RefusedError(Exception):
    """The file is whole and not what is wanted; the message says what it is and what to do."""


class DamagedError(Exception):
    """The file contradicts itself or ends too early; the message says where."""


def check_total(unpacked_bytes: int, file_bytes: int) -> None:
    """Refuse what would grow out of all proportion when unpacked.

    Args:
        unpacked_bytes: of all arrays together, as the file declares them.
        file_bytes: the size of the file.

    Raises:
        RefusedError: above `MAX_BYTES`, or above 1 GiB and 200 times the size of the file.
    """
    too_dense = unpacked_bytes > max(_ALWAYS_FINE_BYTES, _MAX_RATIO * file_bytes)
    if unpacked_bytes > MAX_BYTES or too_dense:
        raise RefusedError(
            f"it would unpack {file_bytes} bytes to {unpacked_bytes}, which no weights do: "
            "it was not loaded; check where the file comes from"
        )


def read_exactly(file: IO[bytes], count: int, what: str) -> bytes:
    """The next `count` bytes.

    Raises:
        DamagedError: if there are fewer.
    """
    if count < 0:
        raise DamagedError(f"{what!r} says that it has {count} bytes")
    data = file.read(count)
    if len(data) != count:
        raise DamagedError(f"{what!r} ends after {len(data)} of {count} bytes")
    return data


def array_from(data: bytes, dtype: Optional[str], order: str = "<") -> np.ndarray:
    """A flat array of a file's bytes, in the machine's byte order.

    Args:
        data: a whole number of items.
        dtype: NumPy's name of it; None is bfloat16, which becomes float32.
        order: `<` little-endian or `>` big-endian.
    """
    if dtype is None:
        halves = np.frombuffer(data, dtype=order + "u2").astype(np.uint32)
        return (halves << np.uint32(16)).view(np.float32)
    stored = np.dtype(dtype).newbyteorder(order)
    return np.frombuffer(data, dtype=stored).astype(np.dtype(dtype), copy=False)
