"""What compiling costs beside time, as the kernel and the cell's cache tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runner.compile_costs import Cache, Peak


def _process(folder: Path, status: str) -> str:
    (folder / "status").write_text(status)
    (folder / "clear_refs").touch()
    return str(folder)


def test_the_mark_is_set_back_and_read_in_mebibytes(tmp_path: Path) -> None:
    process = _process(tmp_path, "Name:\tpython\nVmHWM:\t  204800 kB\nVmRSS:\t 10 kB\n")
    assert Peak(process).mib() == 200.0
    assert (tmp_path / "clear_refs").read_text() == "5"


def test_where_the_mark_cannot_be_set_back_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("VmHWM:\t 204800 kB\n")
    (tmp_path / "clear_refs").mkdir()
    assert Peak(str(tmp_path)).mib() is None


def test_a_kernel_without_the_line_tells_nothing(tmp_path: Path) -> None:
    assert Peak(_process(tmp_path, "VmRSS:\t 10 kB\n")).mib() is None
    assert Peak(_process(tmp_path, "VmHWM:\n")).mib() is None


def test_memory_that_was_given_back_is_in_the_peak_of_this_process() -> None:
    peak = Peak()
    before = peak.mib()
    if before is None:
        pytest.skip("this kernel lets no process set its mark back")
    taken = np.ones(96 << 20, np.uint8)
    del taken
    after = peak.mib()
    assert after is not None
    assert after - before > 60


def test_a_cache_is_cold_once_something_is_kept_and_warm_when_opened_again(tmp_path: Path) -> None:
    given = str(tmp_path / "cell")
    first = Cache(given, str(tmp_path))
    assert first.folder == given
    assert first.state == "none"
    Path(given, "batch", "x").mkdir(parents=True)
    assert first.state == "none"
    Path(given, "batch", "x", "kernel.so").write_bytes(b"1")
    assert first.state == "cold"
    assert Cache(given, str(tmp_path)).state == "warm"


def test_without_a_folder_of_the_cell_it_lies_in_the_workers_own(tmp_path: Path) -> None:
    cache = Cache(None, str(tmp_path))
    assert cache.folder == str(tmp_path / "cache")
    assert Path(cache.folder).is_dir()
