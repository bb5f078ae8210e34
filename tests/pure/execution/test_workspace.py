"""Workspaces: what killed sweeps left is removed, what living ones stage is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from support.deep import nest

from harness.canonical import atomic_folder
from harness.execution.workspace import workspace


def _owner(store: Path, owner: dict[str, float], workers: list[dict[str, float]]) -> Path:
    folder = store / ".work" / "left"
    folder.mkdir(parents=True)
    (folder / "owner.json").write_text(json.dumps({"owner": owner, "workers": workers}))
    return folder


def test_workers_and_folders_of_a_killed_sweep_are_removed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    ) as stray:
        worker = {"pid": stray.pid, "started": psutil.Process(stray.pid).create_time()}
        left = _owner(tmp_path, {"pid": 2**22, "started": 1.0}, [worker])
        staged = tmp_path / "answers" / "ab" / ".abcd.1234.staged"
        staged.mkdir(parents=True)
        with workspace(tmp_path) as (space, ended):
            assert ended == [stray.pid]
            assert space.path.is_dir()
            assert not left.exists()
            assert not staged.exists()
        assert stray.wait(10) != 0
    assert not (tmp_path / ".work").exists()


def test_folders_nested_beyond_reach_do_not_make_a_store_unusable(tmp_path: Path) -> None:
    left = _owner(tmp_path, {"pid": 2**22, "started": 1.0}, [])
    staged = tmp_path / "artifacts" / "ab" / ".abcd.1234.staged"
    staged.mkdir(parents=True)
    nest(left)
    nest(staged)
    with workspace(tmp_path) as (space, _):
        assert not left.exists()
        assert not staged.exists()
        nest(space.path)
    assert not (tmp_path / ".work").exists()


def test_what_a_living_sweep_stages_is_left_alone(tmp_path: Path) -> None:
    """Both sweeps are this process here."""
    with workspace(tmp_path), atomic_folder(tmp_path / "answers" / "ab" / "abcd") as staged:
        (staged / "half").touch()
        with workspace(tmp_path) as (_, ended):
            assert ended == []
        assert (staged / "half").exists()


def test_a_process_that_only_got_the_number_of_a_dead_one_is_not_touched(tmp_path: Path) -> None:
    started = psutil.Process().create_time()
    reused = {"pid": os.getpid(), "started": started - 1000}
    _owner(tmp_path, {"pid": 2**22, "started": time.time()}, [reused])
    with workspace(tmp_path) as (_, ended):
        assert ended == []
