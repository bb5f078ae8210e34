"""Inputs that a container's user may read, without touching what is the person's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.deep import nest

from harness.containers.engine import EngineInfo
from harness.containers.rules import Mount
from harness.execution.readable import let_read
from harness.trees import remove_tree

INFO = EngineInfo(kind="docker", version="1", api_version="1", address="")
SOMEBODY = "65532:65532"


def private(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[int, int]]]:
    """Who is given what, by its last name; only root could really give it."""
    given: dict[str, tuple[int, int]] = {}

    def note(path: str | Path, uid: int, gid: int, **_: object) -> None:
        given[Path(path).name] = (uid, gid)

    monkeypatch.setattr("harness.execution.readable.os.chown", note)
    return given


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


def test_a_persons_own_is_copied_for_the_containers_user_alone(
    tmp_path: Path, owners: dict[str, tuple[int, int]]
) -> None:
    model = private(tmp_path / "mine" / "m.onnx", "weights")
    folder = tmp_path / "mine" / "saved"
    private(folder / "deep" / "v", "variables")
    (folder / "link").symlink_to(private(tmp_path / "secret", "not an input"))
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
    assert (second / "link").is_symlink(), "what a link leads to is no input"
    assert [mode(path) for path in (copies, first.parent, second.parent)] == [0o700] * 3
    assert [mode(path) for path in (first, second / "deep" / "v")] == [0o400] * 2
    assert [mode(path) for path in (second, second / "deep")] == [0o500] * 2
    assert (mode(model), mode(folder / "deep" / "v")) == (0o600, 0o600)
    given = {"copies", first.parent.name, "m.onnx", second.parent.name, "saved", "deep", "v"}
    assert owners == dict.fromkeys(given | {"link"}, (65532, 65532))


@pytest.mark.parametrize("how", ["rootless", "user_namespaces"])
def test_where_users_are_mapped_all_may_read_a_copy_whose_name_they_cannot_list(
    how: str, tmp_path: Path, owners: dict[str, tuple[int, int]]
) -> None:
    model = private(tmp_path / "m.onnx")
    mounts = (Mount(str(model), "/inputs/model/m.onnx"),)
    info = replace(INFO, **{how: True})
    (mount,) = let_read(mounts, info, SOMEBODY, (), tmp_path / "copies")
    copy = Path(mount.source)
    assert [mode(path) for path in (copy, copy.parent, tmp_path / "copies")] == [
        0o444,
        0o711,
        0o711,
    ]
    assert len(copy.parent.name) == 32
    assert owners == {}


def test_an_input_nested_too_deep_is_no_input(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    nest(folder)
    try:
        with pytest.raises(OSError, match="nested too deep"):
            let_read((Mount(str(folder), "/inputs/m"),), INFO, SOMEBODY, (), tmp_path / "copies")
    finally:
        assert remove_tree(folder) == ""


def test_what_others_may_read_anyway_is_mounted_as_it_is(tmp_path: Path) -> None:
    model = private(tmp_path / "m")
    model.chmod(0o644)
    mounts = (
        Mount(str(model), "/inputs/m"),
        Mount(str(tmp_path), "/run/harness", read_only=False),
        Mount("name", "/inputs/data", volume=True),
    )
    assert let_read(mounts, INFO, SOMEBODY, (), tmp_path / "copies") == mounts
