"""Logs and folders that do not grow beyond what they may."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from pathlib import Path

import pytest
from support.deep import nest

from harness.containers import guard as guard_module
from harness.containers.guard import Guard, deleted_bytes, size_bytes
from harness.containers.streams import BoundedLog
from harness.trees import remove_tree


def test_a_short_log_is_kept_whole(tmp_path: Path) -> None:
    with BoundedLog(tmp_path / "log", 1000) as log:
        log.write(b"one\n")
        log.write(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_a_long_log_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    with BoundedLog(tmp_path / "log", 4000) as log:
        for number in range(5000):
            log.write(f"{number:05d}\n".encode())
            assert (tmp_path / "log").stat().st_size <= 4000
    text = (tmp_path / "log").read_text()
    assert text.startswith("00000\n00001\n")
    assert text.endswith("04998\n04999\n")
    assert "bytes of this log were left out" in text


def test_one_huge_write_stays_within_bounds(tmp_path: Path) -> None:
    with BoundedLog(tmp_path / "log", 4000) as log:
        log.write(b"first\n")
        log.write(bytes(10_000) + b"last")
    data = (tmp_path / "log").read_bytes()
    assert len(data) <= 4000
    assert data.endswith(b"last")


def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        BoundedLog(tmp_path / "log", 4000)
    assert not (tmp_path / "elsewhere").exists()


def test_the_size_of_folders_counts_what_is_on_the_disk_and_every_entry(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "file").write_bytes(bytes(100_000))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "link").symlink_to("/usr")
    with (tmp_path / "b" / "hole").open("wb") as hole:
        hole.truncate(1 << 40)
    found = size_bytes([tmp_path / "a", tmp_path / "b", tmp_path / "absent"], 1 << 50)
    assert 100_000 + 4 * 4096 <= found < 400_000


def test_counting_stops_where_it_is_too_much(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).touch()
    assert size_bytes([tmp_path], 10 * 4096) == 11 * 4096


def test_folders_nested_too_deep_count_as_too_much(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    nest(folder)
    try:
        assert size_bytes([folder], 1 << 50) == (1 << 50) + 1
    finally:
        assert remove_tree(folder) == ""


@pytest.mark.parametrize("looks_at", ["size_bytes", "deleted_bytes"])
def test_an_error_while_watching_is_too_much_and_never_the_end_of_watching(
    looks_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(36, "File name too long")

    monkeypatch.setattr(guard_module, "INTERVAL_S", 0.01)
    monkeypatch.setattr(guard_module, looks_at, fail)
    said = threading.Event()
    found: list[int] = []
    guard = Guard([tmp_path], 50_000, lambda size: (found.append(size), said.set()), os.getpid())
    assert said.wait(60)
    guard.close()
    assert found == [50_001]


def test_a_guard_says_once_that_it_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.containers.guard.INTERVAL_S", 0.01)
    said = threading.Event()
    found: list[int] = []
    guard = Guard([tmp_path], 50_000, lambda size: (found.append(size), said.set()))
    (tmp_path / "x").write_bytes(os.urandom(100_000))
    assert said.wait(60)
    guard.close()
    assert len(found) == 1
    assert found[0] > 50_000


def test_a_deleted_file_counts_while_somebody_holds_it(tmp_path: Path) -> None:
    before = deleted_bytes(os.getpid(), [tmp_path])
    with (tmp_path / "x").open("wb", buffering=0) as held:
        held.write(bytes(100_000))
        assert deleted_bytes(os.getpid(), [tmp_path]) == before
        (tmp_path / "x").unlink()
        assert deleted_bytes(os.getpid(), [tmp_path]) - before >= 100_000
    assert deleted_bytes(os.getpid(), [tmp_path]) == before


@pytest.mark.parametrize("privileged", [True, False])
def test_a_deleted_file_counts_while_it_is_mapped_and_no_longer_open(
    privileged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not privileged:
        stat = Path.stat

        def refuse(path: Path, **how: bool) -> os.stat_result:
            if path.parent.name == "map_files":
                raise PermissionError
            return stat(path, **how)

        monkeypatch.setattr(Path, "stat", refuse)
    # Python's own `mmap` keeps the file open.
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 5]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    before = deleted_bytes(os.getpid(), [tmp_path])
    with (tmp_path / "x").open("w+b", buffering=0) as file:
        file.write(bytes(1 << 20))
        # Its second half alone still holds all of it.
        at = libc.mmap(None, 1 << 19, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 1 << 19)
    (tmp_path / "x").unlink()
    try:
        assert deleted_bytes(os.getpid(), [tmp_path]) - before >= 1 << 20
        assert deleted_bytes(os.getpid(), [Path("/proc")]) == 0
    finally:
        libc.munmap(at, 1 << 19)
    assert deleted_bytes(os.getpid(), [tmp_path]) == before


def test_what_a_process_holds_that_is_gone_is_nothing(tmp_path: Path) -> None:
    assert deleted_bytes(2**22 + 1, [tmp_path]) == 0
