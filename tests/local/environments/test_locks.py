"""Every lock that ships can be installed: its packages are to be had, for its Python, by its hashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environments.folders import EnvironmentFolder, read_folder
from harness.environments.locking import LINUX, run_with_upstream
from harness.paths import shipped

FOLDERS = [read_folder(path.parent) for path in sorted(shipped("images").glob("*/env.toml"))]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_nothing_of_a_lock_is_missing_from_the_index(
    folder: EnvironmentFolder, tmp_path: Path
) -> None:
    for python in folder.file.python:
        run_with_upstream(
            [
                "pip", "install", "--dry-run", "--no-deps", "--require-hashes",
                "--only-binary", ":all:", "--target", str(tmp_path / python),
                "--python-version", python, "--python-platform", LINUX,
                "--requirement", str(folder.lock_path(python)),
            ],
            folder.file.extra_index,
            folder.file.find_links,
        )  # fmt: skip
