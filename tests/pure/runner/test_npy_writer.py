"""Rows of unknown number become a file that NumPy reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runner.errors import RunnerError
from runner.support.npy_writer import NpyWriter


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("count", [1, 9, 10, 123])
def test_what_is_added_is_what_is_read(tmp_path: Path, dtype: str, count: int) -> None:
    rows = np.arange(count * 4 * 5 * 3).reshape(count, 4, 5, 3).astype(dtype)
    with NpyWriter(str(tmp_path / "new" / "x.npy"), (4, 5, 3)) as writer:
        for row in rows:
            writer.add(row[::-1][::-1])
        writer.finish()
    mapped = np.load(tmp_path / "new" / "x.npy", mmap_mode="r")
    assert mapped.dtype == rows.dtype
    assert np.array_equal(mapped, rows)
    assert (writer.count, writer.dtype) == (count, dtype)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.npy"]


def test_no_rows_are_an_empty_array(tmp_path: Path) -> None:
    with NpyWriter(str(tmp_path / "x.npy"), (4, 5, 3)) as writer:
        writer.finish()
    assert np.load(tmp_path / "x.npy").shape == (0, 4, 5, 3)


def test_what_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with NpyWriter(str(tmp_path / "x.npy"), (4, 5, 3)) as writer:
        writer.add(np.zeros((4, 5, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "row", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.float32)], ids=["shape", "dtype"]
)
def test_a_row_unlike_the_others_is_refused(tmp_path: Path, row: np.ndarray) -> None:
    with NpyWriter(str(tmp_path / "x.npy"), (4, 5, 3)) as writer:
        writer.add(np.zeros((4, 5, 3), np.uint8))
        with pytest.raises(RunnerError, match=r"was to be uint8 \[4, 5, 3\]") as caught:
            writer.add(row)
    assert caught.value.kind == "invalid-output"


def test_a_target_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunnerError, match="pixels can't be written to") as caught,
        NpyWriter(str(tmp_path / "file" / "x.npy"), (4, 5, 3)),
    ):
        pass
    assert caught.value.kind == "job"


def test_a_full_disk_is_its_own_kind() -> None:
    writer = NpyWriter("/nowhere/x.npy", (4, 5, 3))
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer._file = full
        with pytest.raises(RunnerError) as caught:
            writer.add(np.zeros((4, 5, 3), np.uint8))
    assert caught.value.kind == "disk-full"
