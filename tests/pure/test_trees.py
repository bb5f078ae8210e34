"""Folders that code in a container filled: walked and removed whatever is in them."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deep import nest

from harness.trees import MOST_DEPTH, remove_tree, temporary_folder, walk


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is removed also where a test fails: pytest itself could not."""
    made = tmp_path / "made"
    made.mkdir()
    yield made
    assert remove_tree(made) == ""


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_folders_nested_beyond_the_length_of_a_path_are_removed(folder: Path) -> None:
    nest(folder)
    (folder / "beside").write_text("x")
    assert remove_tree(folder) == ""
    assert not folder.exists()


def test_several_deep_folders_beside_each_other_are_removed(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        nest(folder / name, 300, b"x")
    assert remove_tree(folder) == ""
    assert not folder.exists()


def test_what_links_lead_to_stays(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("mine")
    (folder / "sub").mkdir()
    for link in (folder / "link", folder / "sub" / "link"):
        link.symlink_to(kept)
    assert remove_tree(folder) == ""
    assert not folder.exists()
    outer = tmp_path / "outer"
    outer.symlink_to(kept)
    assert remove_tree(outer) == ""
    assert not outer.is_symlink()
    assert (kept / "file").read_text() == "mine"


def test_everything_else_that_can_lie_in_a_folder_goes(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    Path(os.fsdecode(bytes(folder) + b"/not-\xff-text")).touch()
    here = Path.cwd()
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s")
    os.chdir(here)
    closed = folder / "a" / "closed"
    (closed / "in").mkdir(parents=True)
    (closed / "in" / "file").touch()
    for path in (closed / "in", closed):
        path.chmod(0)
    assert remove_tree(folder) == ""
    assert not folder.exists()


def test_a_file_and_nothing_at_all_are_fine(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert remove_tree(tmp_path / "file") == ""
    assert not (tmp_path / "file").exists()
    assert remove_tree(tmp_path / "file") == ""


def test_what_cannot_be_removed_is_told_and_the_rest_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    for path in (folder / "held", folder / "sub" / "other"):
        path.touch()
    unlink = os.unlink

    def refuse(name: str, *, dir_fd: int | None = None) -> None:
        if name == "held":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(name, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr("harness.trees.os.unlink", refuse)
        assert remove_tree(folder) == "held could not be removed: Operation not permitted"
    assert [path.name for path in folder.iterdir()] == ["held"]


def test_a_temporary_folder_is_gone_whatever_was_left_in_it() -> None:
    with temporary_folder("harness-test-") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        nest(folder)
    assert not folder.exists()


def test_a_walk_sees_every_entry_once_and_follows_no_link(folder: Path) -> None:
    nest(folder, 3, b"12345")
    (folder / "top").touch()
    found = sorted((name, about.st_size) for _, name, about in walk(folder) if name != "nested-a")
    assert found == [("file", 5)] * 3 + [("link", 1)] * 3 + [("top", 0)]
    assert sum(name == "nested-a" for _, name, _ in walk(folder)) == 3


def test_a_walk_that_goes_too_deep_ends_with_an_error_and_leaves_nothing_open(
    folder: Path,
) -> None:
    nest(folder)
    before = open_files()
    with pytest.raises(OSError, match="nested too deep") as caught:
        list(walk(folder))
    assert caught.value.errno == errno.ENAMETOOLONG
    assert open_files() == before
    next(walk(folder))
    assert open_files() == before


def test_a_walk_reaches_as_deep_as_it_may(folder: Path) -> None:
    nest(folder, MOST_DEPTH - 1, b"x")
    assert sum(name == "file" for _, name, _ in walk(folder)) == MOST_DEPTH - 1
