"""Inputs that a container's user may read, whatever the umask of the person who made them."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.canonical import storage_errors
from harness.containers.engine import EngineInfo
from harness.containers.rules import Mount
from harness.trees import walk

_FILE = stat.S_IROTH
_FOLDER = stat.S_IROTH | stat.S_IXOTH


def let_read(
    mounts: Sequence[Mount], info: EngineInfo, user: str, ours: Sequence[Path], copies: Path
) -> tuple[Mount, ...]:
    """The mounts, with every input readable for a container's user.

    A container that runs as the caller reads what the caller can. Else what others may not read
    is opened to them where it is the harness's own (a cache, whose own folder still keeps others
    out), and copied where it is the person's, whose modes are not ours to change. A copy is the
    container's user's alone; only where the engine maps users, and nobody here knows whose
    number that will be, may all read it, in a folder whose name they cannot find out.

    Args:
        mounts: what the container is to see, none of them by a link; those that it may write to
            are left alone.
        info: the engine.
        user: `uid:gid` of the container.
        ours: folders whose content is the harness's own.
        copies: where copies go; made if any is needed, and removed by the caller.

    Raises:
        StoreError: no space for a copy.
        OSError: an input cannot be read, or its folders are nested too deep (ENAMETOOLONG).
    """
    mapped = info.rootless or info.user_namespaces
    uid, gid = (int(number) for number in user.split(":"))
    if uid == os.getuid() and not mapped:
        return tuple(mounts)
    owner = None if mapped else (uid, gid)
    found = []
    for mount in mounts:
        source = Path(mount.source)
        if mount.volume or not mount.read_only or not _hidden(source):
            found.append(mount)
        elif any(source.resolve().is_relative_to(folder.resolve()) for folder in ours):
            _open_up(source)
            found.append(mount)
        else:
            found.append(replace(mount, source=str(_copy(source, copies, owner))))
    return tuple(found)


def _copy(source: Path, copies: Path, owner: tuple[int, int] | None) -> Path:
    """A copy for one user, or, where that is not known, for whoever is told its name."""
    with storage_errors(copies):
        if not copies.exists():
            copies.mkdir(parents=True, mode=0o700)
        folder = copies / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        copy = folder / source.name
        if source.is_dir():
            # Links stay links, as they would be in a mount.
            shutil.copytree(source, copy, symlinks=True)
        else:
            shutil.copyfile(source, copy, follow_symlinks=False)
        _settle(copy, owner)
        for holder in (folder, copies):
            if owner is None:
                holder.chmod(0o711)
            else:
                os.chown(holder, *owner)
    return copy


def _settle(copy: Path, owner: tuple[int, int] | None) -> None:
    """Make a copy read only, for its owner or for all."""
    file, folder = (0o444, 0o555) if owner is None else (0o400, 0o500)
    if copy.is_dir():
        for holder, name, about in walk(copy):
            if owner is not None:
                os.chown(name, *owner, dir_fd=holder, follow_symlinks=False)
            if not stat.S_ISLNK(about.st_mode):
                os.chmod(name, folder if stat.S_ISDIR(about.st_mode) else file, dir_fd=holder)
    copy.chmod(folder if copy.is_dir() else file)
    if owner is not None:
        os.chown(copy, *owner)


def _hidden(source: Path) -> bool:
    """Whether others may not read all of a file or folder; all of it is looked at."""
    found = [_closed(source.lstat().st_mode)]
    if source.is_dir():
        found += [_closed(about.st_mode) for _, _, about in walk(source)]
    return any(found)


def _closed(mode: int) -> bool:
    """Whether others may not read what has this mode; a link has none of its own."""
    wanted = _FOLDER if stat.S_ISDIR(mode) else _FILE
    return not stat.S_ISLNK(mode) and mode & wanted != wanted


def _open_up(source: Path) -> None:
    if source.is_dir():
        for holder, name, about in walk(source):
            if _closed(about.st_mode):
                os.chmod(name, _opened(about.st_mode), dir_fd=holder)
    source.chmod(_opened(source.stat().st_mode))


def _opened(mode: int) -> int:
    return stat.S_IMODE(mode) | (_FOLDER if stat.S_ISDIR(mode) else _FILE)
