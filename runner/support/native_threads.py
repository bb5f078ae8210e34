"""The threads of this process as the kernel counts them: what a library's own pool really holds."""

from __future__ import annotations

import os
from typing import Optional

_TASKS = "/proc/self/task"


def count() -> Optional[int]:
    """All threads of this process, Python's and native ones; None where the system does not say."""
    try:
        return len(os.listdir(_TASKS))
    except OSError:
        return None


def started_since(before: Optional[int]) -> Optional[int]:
    """How many more there are than `before`; None where one of the two is not known."""
    now = count()
    return None if before is None or now is None else now - before
