"""What a container is shown of this machine: files and folders, and no link that it made itself."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.containers.rules import Mount
from harness.errors import ExecutionError


def real_sources(mounts: Sequence[Mount], made: Path) -> tuple[Mount, ...]:
    """The mounts with sources that are no links.

    A person may name a model by a link, which is followed here. Code in a container may leave a
    link as well, and the engine would follow it as root, to anything on this machine: below the
    folder that containers write to, none is followed.

    Args:
        mounts: what a container is to see.
        made: the folder below which containers have written.

    Raises:
        ExecutionError: kind `invalid-output`: a source is neither a file nor a folder, or is
            reached by a link that a container may have made.
    """
    return tuple(
        mount if mount.volume else replace(mount, source=str(real_source(Path(mount.source), made)))
        for mount in mounts
    )


def real_source(path: Path, made: Path) -> Path:
    """Where a source really lies; see `real_sources`.

    Raises:
        ExecutionError: it cannot be shown to a container.
    """
    # Names only, since following them is what must not happen yet.
    path = Path(os.path.abspath(path))  # noqa: PTH100
    steps = _below(path, made)
    if not steps:
        path = Path(os.path.realpath(path))
        steps = [path]
    for step in steps:
        try:
            mode = step.lstat().st_mode
        except FileNotFoundError:
            # Whoever starts the container says so.
            break
        if stat.S_ISLNK(mode):
            raise _refused(step, "is a symbolic link, which may lead anywhere on this machine")
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise _refused(step, "is neither a file nor a folder")
    return path


def _below(path: Path, made: Path) -> list[Path]:
    """The path and the folders that hold it, as far as they are below `made`."""
    about = made.stat()
    steps: list[Path] = []
    passed = [path]
    for parent in path.parents:
        with contextlib.suppress(OSError):
            if os.path.samestat(parent.stat(), about):
                steps = list(passed)
        passed.append(parent)
    return steps


def _refused(path: Path, why: str) -> ExecutionError:
    return ExecutionError(
        "invalid-output",
        f"{path} is not shown to a container: it {why}.",
        "If a converter left it, leave that converter out or convert the model yourself.",
    )
