"""Arrays as inputs: what is taken, what is refused, and what the key depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets.arrays import from_array
from harness.errors import DatasetError
from harness.progress import SilentProgress

SILENT = SilentProgress()


def _save(folder: Path, array: np.ndarray, name: str = "x.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


def test_the_rows_of_an_array_are_inputs_and_the_file_is_used_where_it_lies(tmp_path: Path) -> None:
    path = _save(tmp_path, np.arange(24, dtype=np.float32).reshape(4, 3, 2))
    inputs = from_array(path, None, tmp_path / "cache", SILENT)
    assert (inputs.kind, inputs.count, inputs.layout) == ("array", 4, "array")
    assert inputs.names == ("row-00000", "row-00001", "row-00002", "row-00003")
    assert inputs.labels == (None,) * 4
    assert inputs.path == path.resolve()
    assert len(set(inputs.sha256)) == 4
    assert not (tmp_path / "cache").exists()


def test_the_key_follows_the_bytes_and_the_rows_not_the_name(tmp_path: Path) -> None:
    array = np.arange(20, dtype=np.float32).reshape(10, 2)
    key = from_array(_save(tmp_path, array), None, tmp_path, SILENT).key
    assert from_array(_save(tmp_path, array, "y.npy"), None, tmp_path, SILENT).key == key
    assert from_array(_save(tmp_path, array + 1), None, tmp_path, SILENT).key != key
    limited = from_array(_save(tmp_path, array), None, tmp_path, SILENT, limit=5)
    assert limited.key != key


def test_a_sample_of_rows_is_copied_with_its_labels_and_names(tmp_path: Path) -> None:
    path = _save(tmp_path, np.arange(20, dtype=np.float32).reshape(10, 2))
    labels = _save(tmp_path, np.repeat(np.arange(5), 2), "labels.npy")
    inputs = from_array(path, labels, tmp_path / "cache", SILENT, limit=5)
    rows = [int(name.removeprefix("row-")) for name in inputs.names]
    assert sorted(inputs.labels, key=str) == [0, 1, 2, 3, 4], "spread over the classes"
    assert np.load(inputs.path).tolist() == [[2 * row, 2 * row + 1] for row in rows]
    assert from_array(path, labels, tmp_path / "cache", SILENT, limit=99).count == 10


@pytest.mark.parametrize("order", ["fortran", "big-endian"])
def test_an_array_in_another_order_is_rewritten_with_equal_values(
    tmp_path: Path, order: str
) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    other = np.asfortranarray(array) if order == "fortran" else array.astype(">f4")
    inputs = from_array(_save(tmp_path, other), None, tmp_path / "cache", SILENT)
    again = np.load(inputs.path, mmap_mode="r")
    assert again.flags.c_contiguous
    assert again.dtype == np.dtype("=f4")
    assert np.array_equal(again, array)


def test_labels_may_be_words_of_a_list_or_numbers_a_line(tmp_path: Path) -> None:
    path = _save(tmp_path, np.zeros((2, 3), np.float32))
    (tmp_path / "l.txt").write_text("n01440764\r\nn15075141\r\n")
    assert from_array(path, tmp_path / "l.txt", tmp_path, SILENT).labels == (0, 999)
    (tmp_path / "l.txt").write_text("36\n3\n")
    assert from_array(path, tmp_path / "l.txt", tmp_path, SILENT).labels == (36, 3)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.float32(3), "shape"),
        (np.zeros((0, 3), np.float32), "shape"),
        (np.zeros(3, np.float32), "shape"),
        (np.zeros((2, 0), np.float32), "shape"),
        (np.array([["a"]]), "values of type <U1"),
        (np.zeros((2, 2), np.complex64), "complex64"),
        (np.zeros((2, 2), [("a", "f4")]), "values of type"),
    ],
)
def test_an_array_without_inputs_is_refused(tmp_path: Path, array: np.ndarray, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        from_array(_save(tmp_path, array), None, tmp_path, SILENT)


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path, np.zeros((8, 8), np.float32))
    whole = path.read_bytes()
    for cut in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(DatasetError, match="not a whole"):
            from_array(path, None, tmp_path, SILENT)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match="not a whole"):
        from_array(path, None, tmp_path, SILENT)
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(DatasetError, match="archive"):
        from_array(tmp_path / "x.npz", None, tmp_path, SILENT)
    with pytest.raises(DatasetError, match="no file"):
        from_array(tmp_path / "absent.npy", None, tmp_path, SILENT)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(3, np.int64), "3 labels for 2 inputs"),
        (np.zeros(2, np.float32), "integers"),
        (np.array([0, -1]), "'-1'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: np.ndarray, said: str) -> None:
    path = _save(tmp_path, np.zeros((2, 3), np.float32))
    with pytest.raises(DatasetError, match=said):
        from_array(path, _save(tmp_path, labels, "l.npy"), tmp_path, SILENT)


def test_an_empty_sample_of_rows_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path, np.zeros((2, 3), np.float32))
    with pytest.raises(DatasetError, match="sample of 0"):
        from_array(path, None, tmp_path, SILENT, limit=0)
