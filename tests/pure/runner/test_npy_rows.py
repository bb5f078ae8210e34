"""Rows of `.npy` files, good and bad, and batches that weigh alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runner.errors import RunnerError
from runner.support import npy_rows


def test_rows_are_mapped_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(12, dtype=np.uint8).reshape(4, 3))
    rows = npy_rows.load_rows(str(path))
    assert isinstance(rows, np.memmap)
    assert rows.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


def write_bad(folder: Path) -> None:
    """One file for each way to be wrong."""
    np.savez(folder / "archive.npz", rows=np.zeros((2, 3)))
    np.save(folder / "number.npy", np.float32(3))
    np.save(folder / "words.npy", np.array(["a", "b"]))
    np.save(folder / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.save(folder / "whole.npy", np.zeros((4, 5)))
    whole = (folder / "whole.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[:-9])
    (folder / "header.npy").write_bytes(whole.replace(b"{", b"(", 1))
    (folder / "zip.npy").write_bytes(b"PK\x03\x04 and no more")
    (folder / "empty.npy").write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent.npy", "can't be read"),
        ("archive.npz", "are an archive (.npz): give one array, as .npy"),
        ("number.npy", "hold no array of rows"),
        ("words.npy", "hold <U1, not numbers"),
        ("objects.npy", "can't be read"),
        ("cut.npy", "can't be read (truncated"),
        ("header.npy", "can't be read (truncated"),
        ("zip.npy", "are an archive"),
        ("empty.npy", "can't be read (truncated"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused(tmp_path: Path, name: str, said: str) -> None:
    write_bad(tmp_path)
    with pytest.raises(RunnerError) as caught:
        npy_rows.load_rows(str(tmp_path / name), "pictures")
    assert caught.value.kind == "job"
    assert caught.value.message.startswith(f"pictures {tmp_path / name} ")
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((3, 3, 4, 4), np.uint8), "holds uint8 [3, 3, 4, 4]"),
        (np.zeros((3, 4, 4, 3), np.float64), "holds float64 [3, 4, 4, 3]"),
        (np.zeros((4, 3), np.uint8), "holds uint8 [4, 3]"),
        (np.zeros((1, 4, 4, 3), np.uint8), "hold 1 rows, and at least 2 are needed"),
    ],
)
def test_pixels_of_another_shape_or_too_few_are_refused(
    tmp_path: Path, rows: np.ndarray, said: str
) -> None:
    np.save(tmp_path / "p.npy", rows)
    with pytest.raises(RunnerError) as caught:
        npy_rows.load_pixels(str(tmp_path / "p.npy"), fewest=2)
    assert (caught.value.kind, said in caught.value.message) == ("job", True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pixels_come_as_they_are(tmp_path: Path, dtype: type) -> None:
    rows = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3).astype(dtype)
    np.save(tmp_path / "p.npy", rows)
    assert np.array_equal(npy_rows.load_pixels(str(tmp_path / "p.npy"), fewest=2), rows)


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [
        (17, 16, [9, 8]),
        (33, 16, [11, 11, 11]),
        (64, 16, [16, 16, 16, 16]),
        (16, 16, [16]),
        (3, 2, [3]),
        (5, 2, [3, 2]),
        (4, 1, [2, 2]),
        (2, 1, [2]),
    ],
)
def test_batches_are_even_and_none_is_a_single_row(count: int, most: int, sizes: list[int]) -> None:
    rows = np.arange(count)
    batches = npy_rows.evenly(rows, most, 2)
    assert [len(batch) for batch in batches] == sizes
    assert np.concatenate(batches).tolist() == rows.tolist()
