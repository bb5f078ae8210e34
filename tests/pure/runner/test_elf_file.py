"""Sections and undefined symbols of an ELF file, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.small_elf import elf

from runner.support import elf_file


@pytest.fixture
def path(tmp_path: Path) -> str:
    made = tmp_path / "made.o"
    made.write_bytes(
        elf(
            {b".text": b"code", b".text.more": b"and more", b".rodata": b"\0text\0", b".bss": b""},
            undefined=(b"expf", b"malloc"),
            defined=(b"main",),
        )
    )
    return str(made)


def test_sections_are_found_by_the_beginning_of_their_names_in_order(path: str) -> None:
    assert elf_file.sections(path, (b".text",)) == [
        (b".text", b"code"),
        (b".text.more", b"and more"),
    ]
    assert elf_file.sections(path, (b".rodata",)) == [(b".rodata", b"\0text\0")]


def test_only_symbols_that_others_define_are_undefined(path: str) -> None:
    assert elf_file.undefined_symbols(path) == {b"expf", b"malloc"}


@pytest.mark.parametrize("content", [b"", b"MZ" + b"\0" * 80, b"\x7fELF\x01\x01" + b"\0" * 80])
def test_what_is_no_elf_of_64_bits_has_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    assert elf_file.sections(str(path), (b".text",)) == []
    assert elf_file.undefined_symbols(str(path)) == set()
