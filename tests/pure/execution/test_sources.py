"""What may be mounted: no link that code in a container may have left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.containers.rules import Mount
from harness.errors import ExecutionError
from harness.execution.sources import real_source, real_sources


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Where containers have written."""
    folder = tmp_path / "results"
    (folder / "artifacts" / "k").mkdir(parents=True)
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("of this machine")
    return path


def test_plain_files_and_folders_are_taken_where_they_lie(made: Path, secret: Path) -> None:
    artifact = made / "artifacts" / "k" / "model.onnx"
    artifact.touch()
    for path in (artifact, artifact.parent, secret):
        assert real_source(path, made) == path


def test_a_link_that_a_person_named_is_followed(made: Path, secret: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").symlink_to(secret)
    mounts = (
        Mount(str(tmp_path / "mine.onnx"), "/inputs/model/mine.onnx"),
        Mount("images", "/inputs/data", volume=True),
    )
    assert real_sources(mounts, made) == (
        Mount(str(secret), "/inputs/model/mine.onnx"),
        Mount("images", "/inputs/data", volume=True),
    )


@pytest.mark.parametrize("how", ["file", "folder", "dangling", "loop", "around"])
def test_a_link_that_a_container_left_is_refused(
    how: str, made: Path, secret: Path, tmp_path: Path
) -> None:
    artifact = made / "artifacts" / "k" / "model.onnx"
    leads = {"file": secret, "folder": Path("/"), "dangling": Path("/nowhere"), "loop": artifact}
    if how == "around":
        artifact.parent.rmdir()
        artifact.parent.symlink_to(tmp_path)
        artifact = artifact.parent / "secret"
    else:
        artifact.symlink_to(leads[how])
    (tmp_path / "alias").symlink_to(made)
    for path in (
        artifact,
        tmp_path / "alias" / artifact.relative_to(made),
        made / ".." / artifact.relative_to(tmp_path),
    ):
        with pytest.raises(ExecutionError, match="is a symbolic link") as caught:
            real_sources((Mount(str(path), "/inputs/model/m"),), made)
        assert caught.value.kind == "invalid-output"


def test_what_is_no_file_and_no_folder_is_refused(made: Path) -> None:
    os.mkfifo(made / "pipe")
    with pytest.raises(ExecutionError, match="neither a file nor a folder"):
        real_source(made / "pipe", made)


def test_what_is_not_there_is_left_to_whoever_starts_the_container(made: Path) -> None:
    assert real_source(made / "absent", made) == made / "absent"
