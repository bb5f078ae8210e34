"""Folders that somebody else may have filled: walked and removed whatever is in them.

Code in a container can nest folders deeper than a path may be long and than Python can recurse,
and can leave links to anywhere. So nothing here recurses, builds a path or follows a link: every
folder is opened from the one that holds it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MOST_DEPTH = 50
"""How deep `walk` goes; no framework nests its files a tenth as deep."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMED = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = frozenset({errno.ENOTEMPTY, errno.EEXIST})


@dataclass
class _Level:
    """An open folder, and the names of folders in it that wait; None: not looked at yet."""

    descriptor: int
    waiting: list[str] | None = field(default=None)


def walk(folder: Path, most_depth: int = MOST_DEPTH) -> Iterator[tuple[int, str, os.stat_result]]:
    """Everything below a folder: the descriptor of what holds it, its name, and what it is.

    A descriptor is open only until the next step. What vanishes meanwhile is left out.

    Raises:
        OSError: a folder cannot be read, or lies deeper than `most_depth` (ENAMETOOLONG).
    """
    levels = [_Level(os.open(folder, _FOLDER))]
    try:
        while levels:
            level = levels[-1]
            if level.waiting is None:
                level.waiting = []
                with os.scandir(level.descriptor) as entries:
                    for entry in entries:
                        try:
                            about = entry.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            continue
                        yield level.descriptor, entry.name, about
                        if stat.S_ISDIR(about.st_mode):
                            level.waiting.append(entry.name)
            elif level.waiting:
                if len(levels) >= most_depth:
                    raise OSError(errno.ENAMETOOLONG, "Folders are nested too deep", str(folder))
                # It may have been removed meanwhile, or be something else by now.
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    name = level.waiting.pop()
                    levels.append(_Level(os.open(name, _FOLDER, dir_fd=level.descriptor)))
            else:
                os.close(levels.pop().descriptor)
    finally:
        for level in levels:
            os.close(level.descriptor)


def remove_tree(path: Path) -> str:
    """Remove a file, a link (never what it leads to), or a folder with all that is in it.

    A folder inside a folder is moved to the top before it is emptied, so that depth costs
    nothing: two folders are open at a time.

    Returns:
        Why something is left; empty if nothing is. No error is raised.
    """
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            left = _remove_content(path)
            if not left:
                path.rmdir()
            return left
        path.unlink()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path} could not be removed: {error.strerror}"
    return ""


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A fresh folder, removed at the end whatever a container has left in it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        remove_tree(folder)


def _remove_content(path: Path) -> str:
    """Empty a folder; why something is left in it."""
    _open_to_us(path)
    top = os.open(path, _FOLDER)
    try:
        waiting, left = _strip(top, top)
        while waiting:
            name = waiting.pop()
            try:
                _open_to_us(name, top)
                inner = os.open(name, _FOLDER, dir_fd=top)
                try:
                    found, why = _strip(inner, top)
                finally:
                    os.close(inner)
                waiting += found
                left = left or why
                os.rmdir(name, dir_fd=top)
            except FileNotFoundError:
                continue
            except OSError as error:
                left = left or f"{path} could not be emptied: {error.strerror}"
    finally:
        os.close(top)
    return left


def _strip(folder: int, top: int) -> tuple[list[str], str]:
    """Remove what a folder holds, except folders that are not empty: these are moved to the top.

    Returns:
        Their names in the top folder, and why something else is left.
    """
    waiting = []
    left = ""
    for name in os.listdir(folder):
        try:
            try:
                os.unlink(name, dir_fd=folder)
            except IsADirectoryError:
                if not _remove_empty(name, folder):
                    waiting.append(_move_up(name, folder, top))
        except FileNotFoundError:
            continue
        except OSError as error:
            left = left or f"{name} could not be removed: {error.strerror}"
    return waiting, left


def _remove_empty(name: str, folder: int) -> bool:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        return False
    return True


def _move_up(name: str, folder: int, top: int) -> str:
    """Move a folder to the top one, under a name that nobody has taken."""
    if folder == top:
        return name
    _open_to_us(name, folder)
    moved = secrets.token_hex(16)
    os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
    return moved


def _open_to_us(name: str | Path, folder: int | None = None) -> None:
    """Let the owner of a folder into it, whatever its mode."""
    descriptor = os.open(name, _NAMED, dir_fd=folder)
    try:
        about = os.fstat(descriptor)
        if about.st_uid == os.getuid() and about.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IRWXU)
    finally:
        os.close(descriptor)
