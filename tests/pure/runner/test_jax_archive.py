"""The artifact `jax`: functions and weights in one file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from runner.errors import RunnerError
from runner.support import jax_archive

FUNCTIONS = {"default": b"d", "high": b"h", "highest": b"hh"}
WEIGHTS = (np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], np.int64))


def test_what_was_written_is_read_in_order_and_the_same_model_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    first, second = str(tmp_path / "a.jax"), str(tmp_path / "b.jax")
    for path in (first, second):
        jax_archive.write(path, FUNCTIONS, WEIGHTS, {"outputs": ["y"]})
    assert Path(first).read_bytes() == Path(second).read_bytes()
    archive = jax_archive.read(first)
    assert archive.functions == FUNCTIONS
    assert archive.about == {"outputs": ["y"], "version": 2, "weights": 2}
    for got, wanted in zip(archive.weights, WEIGHTS, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_a_file_that_is_none_or_cut_short_says_so(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jax", tmp_path / "cut.jax"
    jax_archive.write(str(whole), FUNCTIONS, WEIGHTS, {})
    cut.write_bytes(whole.read_bytes()[:200])
    for path in (cut, tmp_path / "absent.jax"):
        with pytest.raises(RunnerError, match="is not a function exported by onnx>jax") as caught:
            jax_archive.read(str(path))
        assert caught.value.kind == "model"


def test_a_pickle_in_place_of_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.jax"
    jax_archive.write(str(path), FUNCTIONS, (), {})
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.json", '{"version": 2, "weights": 1}')
        for precision, function in FUNCTIONS.items():
            archive.writestr(f"function-{precision}", function)
        archive.writestr("weights/00000.npy", (tmp_path / "object.npy").read_bytes())
    with pytest.raises(RunnerError, match="allow_pickle"):
        jax_archive.read(str(path))


def test_an_artifact_of_another_version_asks_for_a_conversion(tmp_path: Path) -> None:
    path = tmp_path / "new.jax"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.json", '{"version": 3}')
    with pytest.raises(RunnerError, match="version 3 and this runner reads version 2"):
        jax_archive.read(str(path))
