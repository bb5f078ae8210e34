"""Which libraries of a folder a process has loaded."""

from __future__ import annotations

from pathlib import Path

from support.small_elf import elf

from runner.support import elf_code


def test_libraries_are_found_below_the_folder_alone_each_once(tmp_path: Path) -> None:
    within, beside = tmp_path / "work", tmp_path / "work2"
    maps = tmp_path / "maps"
    maps.write_text(
        f"7f00-7f01 r-xp 00000000 08:01 7 {within}/b.so\n"
        f"7f01-7f02 r--p 00001000 08:01 7 {within}/b.so\n"
        f"7f02-7f03 r-xp 00000000 08:01 8 {within}/a.so\n"
        f"7f03-7f04 r-xp 00000000 08:01 9 {beside}/c.so\n"
        "7f04-7f05 rw-p 00000000 00:00 0 [heap]\n"
        "7f05-7f06 rw-p 00000000 00:00 0\n"
    )
    assert elf_code.mapped(str(within), str(maps)) == [f"{within}/a.so", f"{within}/b.so"]


def test_a_process_that_loaded_nothing_of_a_folder_runs_no_code_of_it(tmp_path: Path) -> None:
    (tmp_path / "never.so").write_bytes(b"\x7fELF")
    assert elf_code.executed(str(tmp_path)) == []


def test_what_was_built_is_read_wherever_it_is_loaded_from(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.so").write_bytes(elf({b".text": b"two"}))
    (tmp_path / "a.so").write_bytes(elf({b".text": b"one"}))
    (tmp_path / "a.o").write_bytes(elf({b".text": b"an object"}))
    assert elf_code.built(str(tmp_path)) == [b"one", b"two"]
    assert elf_code.executed(str(tmp_path)) == []
