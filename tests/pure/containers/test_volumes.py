"""Naming a volume's folder, and unpacking its content without leaving it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from harness.containers.volumes import readable_folder, split_name, unpack
from harness.errors import DatasetError


@pytest.mark.parametrize(
    ("named", "expected"),
    [("imagenet", ("imagenet", ".")), ("imagenet/val/n01", ("imagenet", "val/n01"))],
)
def test_a_volume_and_a_folder_in_it(named: str, expected: tuple[str, str]) -> None:
    name, folder = split_name(named)
    assert (name, str(folder)) == expected


@pytest.mark.parametrize("named", ["", "/etc", "v//etc", "v/../x", "v/a/../../x"])
def test_what_leads_out_of_a_volume_is_refused(named: str) -> None:
    with pytest.raises(DatasetError):
        split_name(named)


def test_a_folder_of_a_readable_volume_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    assert readable_folder(str(tmp_path), PurePosixPath("val")) == (tmp_path / "val").resolve()
    assert readable_folder(str(tmp_path / "absent"), PurePosixPath()) is None
    assert readable_folder("", PurePosixPath()) is None
    for folder in ("train", "out"):
        with pytest.raises(DatasetError, match=f"no folder '{folder}'"):
            readable_folder(str(tmp_path), PurePosixPath(folder))


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for info, content in members:
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    data = buffer.getvalue()
    return iter([data[at : at + 700] for at in range(0, len(data), 700)])


def test_a_tar_stream_in_odd_pieces_is_unpacked(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20
    unpack(archive((tarfile.TarInfo("./a/b.jpg"), content)), tmp_path)
    assert (tmp_path / "a" / "b.jpg").read_bytes() == content


def test_nothing_is_unpacked_outside_of_the_folder(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    for bad in (tarfile.TarInfo("../escaped"), link):
        with pytest.raises(DatasetError, match="cannot be unpacked"):
            unpack(archive((bad, b"")), tmp_path / "in")
    assert not (tmp_path / "escaped").exists()


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        unpack(iter([b"not a tar file at all" * 100]), tmp_path)
