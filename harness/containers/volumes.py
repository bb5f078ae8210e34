"""A named volume's content as a local folder: `--data volume:NAME`."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import docker.errors

from harness.canonical import storage_errors
from harness.containers.container import remove_container
from harness.containers.engine import Engine, engine_errors
from harness.containers.rules import ContainerSpec, Mount, create_arguments, user_for
from harness.containers.strays import owner_labels
from harness.errors import DatasetError
from harness.progress import Progress
from harness.trees import temporary_folder

_MOUNTED = "/volume"
_CHUNK_BYTES = 2 << 20


@contextlib.contextmanager
def open_volume(
    engine: Engine, named: str, image: Callable[[], str], progress: Progress
) -> Iterator[Path]:
    """The content of a volume, or of a folder in it, as a folder that this process can read.

    Where the volume lies on this machine and may be read, that is the folder itself. Else the
    content is copied out, and the copy is removed at the end.

    Args:
        engine: the engine that has the volume.
        named: `NAME` or `NAME/sub/folder`.
        image: gives any image that is there; a container of it is created, and never started.
            Called only for a copy, since getting an image may take minutes.
        progress: told of a copy.

    Raises:
        DatasetError: there is no such volume, or no such folder in it.
        EngineError: the engine went away or refused.
    """
    name, folder = split_name(named)
    with engine_errors(f"Looking for the volume {name}"):
        try:
            found = engine.client.api.inspect_volume(name)
        except docker.errors.NotFound as error:
            raise DatasetError(
                f"There is no volume {name!r} at this container engine.",
                "`docker volume ls` names those that are there.",
            ) from error
    local = readable_folder(str(found.get("Mountpoint") or ""), folder)
    if local is not None:
        yield local
        return
    tag = image()
    with temporary_folder("harness-volume-") as copy:
        with progress.task(f"Copying the volume {named} out of the container engine"):
            _copy_out(engine, name, folder, tag, copy)
        yield copy


def split_name(named: str) -> tuple[str, PurePosixPath]:
    """The volume and the folder in it.

    Raises:
        DatasetError: no name, or a folder that leads out of the volume.
    """
    name, _, folder = named.partition("/")
    path = PurePosixPath(folder)
    if not name or path.is_absolute() or ".." in path.parts:
        raise DatasetError(
            f"volume:{named} names no volume, or a folder outside of it.",
            "Write volume:NAME or volume:NAME/sub/folder.",
        )
    return name, path


def readable_folder(mountpoint: str, folder: PurePosixPath) -> Path | None:
    """Where the engine keeps a volume, if this process can read it there.

    Raises:
        DatasetError: the volume can be read, and has no such folder.
    """
    root = Path(mountpoint)
    if not mountpoint or not os.access(root, os.R_OK | os.X_OK):
        return None
    # A link in a volume may point anywhere, and what it points to is no part of the volume.
    local = (root / folder).resolve()
    if not local.is_dir() or not local.is_relative_to(root.resolve()):
        raise _no_folder(folder)
    return local


def unpack(stream: Iterator[bytes], target: Path) -> None:
    """Unpack a tar stream into a folder: nothing outside of it, and no links out of it.

    Raises:
        DatasetError: an entry that would leave the folder, or a broken archive.
    """
    if not hasattr(tarfile, "data_filter"):
        raise DatasetError(
            "This Python cannot unpack an archive safely.", "Use Python 3.11.4 or later."
        )
    try:
        chunks = io.BufferedReader(_Chunks(stream))
        with tarfile.open(fileobj=chunks, mode="r|") as archive:
            archive.extractall(target, filter="data")
    except tarfile.TarError as error:
        raise DatasetError(f"The volume's content cannot be unpacked: {error}.") from error


def _copy_out(engine: Engine, name: str, folder: PurePosixPath, image: str, target: Path) -> None:
    spec = ContainerSpec(
        image=image,
        command=("true",),
        name=f"volume {name}",
        mounts=(Mount(name, _MOUNTED, volume=True),),
        labels=owner_labels(),
    )
    with engine_errors(f"Copying the volume {name} out"):
        arguments = create_arguments(spec, engine.info, user_for(engine.info))
        container = str(engine.client.containers.create(**arguments).id)
        try:
            place = f"{_MOUNTED}/{folder}/." if folder.parts else f"{_MOUNTED}/."
            try:
                stream, _ = engine.client.api.get_archive(container, place, _CHUNK_BYTES)
            except docker.errors.NotFound as error:
                raise _no_folder(folder) from error
            with storage_errors(target):
                unpack(stream, target)
        finally:
            remove_container(engine, container)


def _no_folder(folder: PurePosixPath) -> DatasetError:
    return DatasetError(
        f"The volume has no folder {str(folder)!r}.",
        "Look into it: `docker run --rm -v NAME:/v IMAGE ls /v`.",
    )


class _Chunks(io.RawIOBase):
    """A stream of chunks as a file object for `tarfile`."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._held = b""

    def readable(self) -> bool:
        """It is only read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what is there of a chunk; 0 at the end."""
        self._held = self._held or next((chunk for chunk in self._chunks if chunk), b"")
        taken = self._held[: len(buffer)]
        self._held = self._held[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)
