"""Names of files that can be written down: into TOML, JSON and results."""

from __future__ import annotations

import os

from harness.errors import UsageError


def check_text(path: str) -> str:
    """The same path, where it is text.

    Raises:
        UsageError: bytes in it that are no UTF-8, which the operating system allows in names.
    """
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise UsageError(
            f"The name {shown} is not valid UTF-8, so it cannot be written down.",
            "Rename it: letters and digits are safe.",
        ) from error
    return path
