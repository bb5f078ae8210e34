"""Inputs that a container's user may read, without touching what is the person's."""

from __future__ import annotations

import os
from pathlib import Path

from harness.containers.engine import EngineInfo
from harness.containers.rules import Mount
from harness.execution.readable import let_read

INFO = EngineInfo(kind="docker", version="1", api_version="1", address="")
SOMEBODY = "65532:65532"


def private(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_whoever_runs_as_the_caller_needs_nothing(tmp_path: Path) -> None:
    mounts = (Mount(str(private(tmp_path / "m")), "/inputs/m"),)
    user = f"{os.getuid()}:{os.getgid()}"
    assert let_read(mounts, INFO, user, (), tmp_path / "copies") == mounts
    assert mode(tmp_path / "m") == 0o600


def test_ours_is_opened_where_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "runner"
    private(folder / "runner" / "x.py")
    folder.chmod(0o700)
    mounts = (Mount(str(folder), "/opt/harness"),)
    found = let_read(mounts, INFO, SOMEBODY, (tmp_path / "cache",), tmp_path / "copies")
    assert found == mounts
    assert mode(folder) & 0o005 == 0o005
    assert mode(folder / "runner" / "x.py") & 0o004
    assert not (tmp_path / "copies").exists()


def test_a_persons_own_is_copied_and_left_as_it_is(tmp_path: Path) -> None:
    model = private(tmp_path / "mine" / "m.onnx", "weights")
    folder = tmp_path / "mine" / "saved"
    private(folder / "deep" / "v", "variables")
    copies = tmp_path / "copies"
    found = let_read(
        (Mount(str(model), "/inputs/model/m.onnx"), Mount(str(folder), "/inputs/model/saved")),
        INFO,
        SOMEBODY,
        (tmp_path / "cache",),
        copies,
    )
    assert [mount.target for mount in found] == ["/inputs/model/m.onnx", "/inputs/model/saved"]
    first, second = (Path(mount.source) for mount in found)
    assert first.is_relative_to(copies)
    assert first.read_text() == "weights"
    assert (second / "deep" / "v").read_text() == "variables"
    assert mode(first) & 0o004
    assert mode(second / "deep" / "v") & 0o004
    assert (mode(model), mode(folder / "deep" / "v")) == (0o600, 0o600)


def test_what_others_may_read_anyway_is_mounted_as_it_is(tmp_path: Path) -> None:
    model = private(tmp_path / "m")
    model.chmod(0o644)
    mounts = (
        Mount(str(model), "/inputs/m"),
        Mount(str(tmp_path), "/run/harness", read_only=False),
        Mount("name", "/inputs/data", volume=True),
    )
    assert let_read(mounts, INFO, SOMEBODY, (), tmp_path / "copies") == mounts
