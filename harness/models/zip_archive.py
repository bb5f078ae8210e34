"""Zip archives that somebody else may have made: members are looked at before they are unfolded."""

from __future__ import annotations

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.models.model_file import not_whole

MOST_UNFOLDED_RATIO = 200
"""How much larger than the file its content may be; arrays with many zeros shrink tenfold."""
_FREE_BYTES = 64 * 1024**2
_MOST_MEMBERS = 100_000
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """An open zip archive whose members' names, places and sizes were checked.

    Attributes:
        path: of the archive.
        kind: what it should be, for messages: `a Keras`.
        zip: the archive itself.
        members: by name, without folders.
    """

    path: Path
    kind: str
    zip: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    def read(self, name: str, most_bytes: int) -> bytes:
        """A member's bytes.

        Raises:
            ModelError: larger than `most_bytes`, cut or garbled.
        """
        member = self.members[name]
        if member.file_size > most_bytes:
            reason = f"its part {name} would unfold to {member.file_size} bytes"
            raise not_whole(self.path, self.kind, reason)
        with self._damage(name), self.zip.open(member) as stream:
            return stream.read(most_bytes)

    def begin(self, name: str, size_bytes: int) -> bytes:
        """The first bytes of a member, unchecked by its checksum.

        Raises:
            ModelError: cut or garbled.
        """
        with self._damage(name), self.zip.open(self.members[name]) as stream:
            return stream.read(size_bytes)

    def check_content(self) -> None:
        """Read every member against its checksum.

        Raises:
            ModelError: one does not fit it.
        """
        for name, member in self.members.items():
            with self._damage(name), self.zip.open(member) as stream:
                while stream.read(_CHUNK_BYTES):
                    pass

    @contextlib.contextmanager
    def _damage(self, name: str) -> Iterator[None]:
        try:
            yield
        # zipfile trusts the directory: a garbled one fails in one of these ways.
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
            struct.error,
        ) as error:
            reason = f"its part {name} is cut or garbled"
            raise not_whole(self.path, self.kind, reason) from error


@contextlib.contextmanager
def open_archive(path: Path, kind: str) -> Iterator[Archive]:
    """A zip archive, its directory checked; nothing of it is unfolded.

    Raises:
        ModelError: no whole archive, names that leave it or occur twice, members outside the
            file, or content out of all proportion to the file.
    """
    with contextlib.ExitStack() as held:
        try:
            opened = held.enter_context(zipfile.ZipFile(path))
            members = opened.infolist()
        except zipfile.BadZipFile as error:
            reason = "it is a zip archive without its end, so the file was cut"
            raise not_whole(path, kind, reason) from error
        except (ValueError, struct.error, NotImplementedError) as error:
            reason = "it is a zip archive whose list of parts is garbled"
            raise not_whole(path, kind, reason) from error
        _check_directory(path, kind, members)
        by_name = {
            member.filename: member for member in members if not member.filename.endswith("/")
        }
        yield Archive(path, kind, opened, by_name)


def _check_directory(path: Path, kind: str, members: list[zipfile.ZipInfo]) -> None:
    size_bytes = path.stat().st_size
    if len(members) > _MOST_MEMBERS:
        raise not_whole(path, kind, f"it has {len(members)} parts")
    names: set[str] = set()
    with path.open("rb") as stream:
        for member in members:
            name = member.filename
            if name in names:
                raise not_whole(path, kind, f"it has two parts called {name!r}")
            names.add(name)
            if (
                not name
                or name.startswith("/")
                or "\\" in name
                or ".." in PurePosixPath(name).parts
            ):
                raise not_whole(path, kind, f"its part {name!r} would lie outside of it")
            if member.flag_bits & 1:
                raise not_whole(path, kind, f"its part {name!r} is encrypted")
            if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise not_whole(path, kind, f"its part {name!r} is compressed in an unusual way")
            if _end_of(stream.seek(member.header_offset), stream.read(30), member) > size_bytes:
                raise not_whole(path, kind, f"its part {name!r} ends outside the file")
    unfolded = sum(member.file_size for member in members)
    if unfolded > max(_FREE_BYTES, MOST_UNFOLDED_RATIO * size_bytes):
        reason = f"its {size_bytes} bytes would unfold to {unfolded}"
        raise not_whole(path, kind, reason, "Save it again, uncompressed.")


def _end_of(offset: int, header: bytes, member: zipfile.ZipInfo) -> int:
    """Where a member's bytes end in the file; past all files where its own header is missing."""
    if len(header) < _LOCAL_HEADER.size:
        return 1 << 62
    magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    if magic != b"PK\x03\x04":
        return 1 << 62
    stored = member.compress_type == zipfile.ZIP_STORED
    held = max(member.compress_size, member.file_size) if stored else member.compress_size
    return offset + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes) + held
