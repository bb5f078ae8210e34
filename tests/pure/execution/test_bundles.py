"""Bundles are whole or absent; arrays of a runner are trusted in nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.canonical import atomic_folder, write_json
from harness.errors import ExecutionError, StoreError
from harness.execution.bundles import is_whole, read_array, seal, validate


def make(folder: Path) -> Path:
    with atomic_folder(folder) as staged:
        np.save(staged / "logits.npy", np.ones((2, 3), np.float32))
        (staged / "log.txt").write_text("fine")
        seal(staged)
    return folder


def test_a_sealed_folder_validates(tmp_path: Path) -> None:
    manifest = validate(make(tmp_path / "b"), deep=True)
    assert set(manifest["files"]) == {"logits.npy", "log.txt"}


def test_missing_cut_changed_and_linked_files_are_found(tmp_path: Path) -> None:
    folder = make(tmp_path / "b")
    (folder / "log.txt").write_text("fun!")
    assert is_whole(folder)
    assert not is_whole(folder, deep=True)
    (folder / "log.txt").write_text("longer than it was")
    assert not is_whole(folder)
    (folder / "log.txt").unlink()
    with pytest.raises(StoreError, match=r"log\.txt is missing"):
        validate(folder)
    (folder / "log.txt").symlink_to("logits.npy")
    assert not is_whole(folder)
    (folder / "manifest.json").write_text("{")
    assert not is_whole(folder)


@pytest.mark.parametrize("manifest", ["{}", '{"files": []}', '{"files": {}}', "[]", '{"files": 1}'])
def test_a_manifest_that_names_nothing_makes_no_bundle(tmp_path: Path, manifest: str) -> None:
    folder = make(tmp_path / "b")
    (folder / "manifest.json").write_text(manifest)
    assert not is_whole(folder)


def test_an_interrupted_bundle_leaves_nothing(tmp_path: Path) -> None:
    def cut_short() -> None:
        with atomic_folder(tmp_path / "b") as staged:
            (staged / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        cut_short()
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_or_occupied_place_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="--store DIR"):
        write_json(tmp_path / "file" / "a.json", {})


def test_arrays_that_are_links_pickles_or_too_large_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(4))
    assert read_array(tmp_path / "a.npy", max_bytes=1000).sum() == 4
    with pytest.raises(ExecutionError, match="larger than"):
        read_array(tmp_path / "a.npy", max_bytes=100)
    (tmp_path / "link.npy").symlink_to(tmp_path / "a.npy")
    with pytest.raises(ExecutionError, match="not a regular file"):
        read_array(tmp_path / "link.npy", max_bytes=1000)
    (tmp_path / "empty.npy").touch()
    with pytest.raises(ExecutionError, match="cannot be read"):
        read_array(tmp_path / "empty.npy", max_bytes=1000)
    np.savez(tmp_path / "zip.npy", a=np.ones(2))
    (tmp_path / "zip.npy.npz").rename(tmp_path / "zip.npy")
    with pytest.raises(ExecutionError, match="no plain array"):
        read_array(tmp_path / "zip.npy", max_bytes=10_000)
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ExecutionError, match="cannot be read"):
        read_array(tmp_path / "o.npy", max_bytes=10_000)
