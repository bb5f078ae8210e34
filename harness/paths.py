"""Where things are: what ships with the package, the user's caches, the runner's snapshot."""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import cache
from pathlib import Path

import platformdirs

from harness.canonical import atomic_folder

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """The folder `images`, `runner` or `sweeps`: of the installed package, else of the checkout."""
    inside = _PACKAGE / "_shipped" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def cache_dir() -> Path:
    """Caches that can be made again: pixels, virtual environments, the runner's snapshots."""
    named = os.environ.get("HARNESS_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("harness")


def data_dir() -> Path:
    """What the user made and wants kept: environments locked by `--env name==version`."""
    named = os.environ.get("HARNESS_HOME")
    return Path(named).expanduser() if named else platformdirs.user_data_path("harness")


@cache
def runner_tree() -> tuple[Path, str]:
    """A snapshot of the runner: (folder that holds `runner/`, SHA-256 of its sources).

    Workers run the snapshot, so editing the checkout in the middle of a sweep changes nothing
    that the recorded hash does not say.
    """
    source = shipped("runner")
    files = sorted(p for p in source.rglob("*") if p.suffix in {".py", ".json"} and p.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(source).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    tree_hash = digest.hexdigest()
    parent = cache_dir() / "runner" / tree_hash[:16]
    if not parent.is_dir():
        with atomic_folder(parent) as staged:
            for path in files:
                copy = staged / "runner" / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
    return parent, tree_hash
