"""Reading the small text files people hand in: any line ending, with or without a BOM."""

from __future__ import annotations

from pathlib import Path

from harness.errors import DatasetError

_MAX_BYTES = 1 << 28


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a UTF-8 (or UTF-16 with a BOM) text file with their numbers, from 1.

    Raises:
        DatasetError: no such file, unreadable, larger than 256 MiB, or not text.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DatasetError(f"{path} is larger than 256 MiB: it is hardly a list of labels.")
        raw = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"Cannot read {path}: {error.strerror or error}.", "Check the path of the list."
        ) from error
    encoding = "utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is not a text file in UTF-8 (byte {error.start}).",
            "Save the list as UTF-8 text; label arrays have the suffix .npy.",
        ) from error
    if "\0" in text:
        raise DatasetError(f"{path} is not a text file.", "Save the list as UTF-8 text.")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return list(enumerate(lines, start=1))
