"""Inputs that a container's user may read, whatever the umask of the person who made them."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.canonical import storage_errors
from harness.containers.engine import EngineInfo
from harness.containers.rules import Mount

_FILE = stat.S_IROTH
_FOLDER = stat.S_IROTH | stat.S_IXOTH


def let_read(
    mounts: Sequence[Mount], info: EngineInfo, user: str, ours: Sequence[Path], copies: Path
) -> tuple[Mount, ...]:
    """The mounts, with every input readable for a container's user.

    A container that runs as the caller reads what the caller can. Else what others may not read
    is opened to them where it is the harness's own (a cache, whose own folder still keeps others
    out), and copied where it is the person's, whose modes are not ours to change.

    Args:
        mounts: what the container is to see; those that it may write to are left alone.
        info: the engine.
        user: `uid:gid` of the container.
        ours: folders whose content is the harness's own.
        copies: where copies go; made if any is needed, and removed by the caller.
    """
    same = user.split(":", maxsplit=1)[0] == str(os.getuid())
    if same and not (info.rootless or info.user_namespaces):
        return tuple(mounts)
    found = []
    for number, mount in enumerate(mounts):
        source = Path(mount.source)
        if mount.volume or not mount.read_only or not any(_unreadable(source)):
            found.append(mount)
        elif any(source.resolve().is_relative_to(folder.resolve()) for folder in ours):
            _open_up(source)
            found.append(mount)
        else:
            copy = copies / str(number) / source.name
            with storage_errors(copies):
                copy.parent.mkdir(parents=True)
                if source.is_dir():
                    shutil.copytree(source, copy)
                else:
                    shutil.copyfile(source, copy)
                _open_up(copy)
            found.append(replace(mount, source=str(copy)))
    return tuple(found)


def _unreadable(source: Path) -> Iterator[Path]:
    """What others may not read of a file or folder."""
    for path in (source, *(source.rglob("*") if source.is_dir() else ())):
        if not path.is_symlink():
            wanted = _FOLDER if path.is_dir() else _FILE
            if path.stat().st_mode & wanted != wanted:
                yield path


def _open_up(source: Path) -> None:
    for path in list(_unreadable(source)):
        path.chmod(stat.S_IMODE(path.stat().st_mode) | (_FOLDER if path.is_dir() else _FILE))
