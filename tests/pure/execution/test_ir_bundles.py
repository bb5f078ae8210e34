"""What a runner says that it compiled, kept as a bundle: nothing of it is trusted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, cast

import pytest

from harness.errors import ExecutionError
from harness.execution import ir_bundles
from harness.execution.bundles import is_whole, validate
from harness.execution.ir_bundles import commit_ir, ir_folder

KEY = "ab" + "0" * 62


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with a file, and one in a folder below."""
    folder = tmp_path / "work" / "ir"
    (folder / "inductor" / "xy").mkdir(parents=True)
    (folder / "graph.txt").write_text("graph")
    (folder / "inductor" / "xy" / "kernel.cpp").write_text("int x;")
    return folder


def refused(store: Path) -> str:
    """Why the bundle that is kept holds no file."""
    kept = ir_folder(store, KEY)
    assert sorted(validate(kept, deep=True)["files"]) == ["ir.json"]
    document = json.loads((kept / "ir.json").read_text())
    assert document["files"] == []
    said: str = document["refused"]
    return said


def test_flat_and_nested_files_are_kept(tmp_path: Path, made: Path) -> None:
    files = ["graph.txt", "inductor/xy/kernel.cpp"]
    kept = commit_ir(tmp_path / "store", KEY, made, files)
    assert kept == tmp_path / "store" / "ir" / "ab" / KEY == ir_folder(tmp_path / "store", KEY)
    assert sorted(validate(kept, deep=True)["files"]) == [
        "graph.txt",
        "inductor/xy/kernel.cpp",
        "ir.json",
    ]
    assert (kept / "inductor" / "xy" / "kernel.cpp").read_text() == "int x;"


def test_only_what_is_named_is_kept(tmp_path: Path, made: Path) -> None:
    kept = commit_ir(tmp_path / "store", KEY, made, ["graph.txt", "graph.txt"])
    assert sorted(validate(kept)["files"]) == ["graph.txt", "ir.json"]


def test_that_a_backend_shows_nothing_is_kept_too(tmp_path: Path, made: Path) -> None:
    kept = commit_ir(tmp_path / "store", KEY, made, [])
    assert is_whole(kept, deep=True)
    assert json.loads((kept / "ir.json").read_text()) == {
        "schema_version": 1,
        "key": KEY,
        "files": [],
    }


def test_a_whole_bundle_stays_and_a_damaged_one_is_made_again(tmp_path: Path, made: Path) -> None:
    store = tmp_path / "store"
    kept = commit_ir(store, KEY, made, ["graph.txt"])
    (made / "graph.txt").write_text("other")
    commit_ir(store, KEY, made, ["graph.txt"])
    assert (kept / "graph.txt").read_text() == "graph"
    (kept / "graph.txt").write_text("hacked")
    commit_ir(store, KEY, made, ["graph.txt"])
    assert (kept / "graph.txt").read_text() == "other"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "/etc/passwd",
        "../secret.txt",
        "inductor/../graph.txt",
        "./graph.txt",
        "inductor//xy",
        "graph.txt\n",
        "a\\b",
        "manifest.json",
        "inductor/manifest.json",
        "ir.json/x",
        "x" * 256,
        "/".join("x" * 17),
        "/".join(["x" * 200] * 6),
        "\ud800",
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, made: Path, name: str) -> None:
    (made.parent / "secret.txt").write_text("secret")
    with pytest.raises(ExecutionError, match="is not usable") as error:
        commit_ir(tmp_path / "store", KEY, made, ["graph.txt", name])
    assert error.value.kind == "invalid-output"
    assert "is not usable" in refused(tmp_path / "store")


@pytest.mark.parametrize("files", [["a", "a/b"], ["a/b", "a"], ["a", "c", "a/b/c"]])
def test_a_name_that_is_anothers_folder_is_refused(
    tmp_path: Path, made: Path, files: list[str]
) -> None:
    with pytest.raises(ExecutionError, match="a of what was compiled is named as a file and as a"):
        commit_ir(tmp_path / "store", KEY, made, files)
    assert "as a folder" in refused(tmp_path / "store")


def test_names_that_are_no_text_are_refused(tmp_path: Path, made: Path) -> None:
    for files in ([1], None, [["graph.txt"]]):
        with pytest.raises(ExecutionError, match="something else"):
            commit_ir(tmp_path / "store", KEY, made, cast("list[str]", files))


def test_links_and_what_is_no_file_are_refused(tmp_path: Path, made: Path) -> None:
    (made.parent / "secret.txt").write_text("secret")
    (made / "link.txt").symlink_to(made.parent / "secret.txt")
    (made / "folder").symlink_to(made.parent)
    os.mkfifo(made / "pipe")
    for name, words in (
        ("link.txt", "cannot be read"),
        ("folder/secret.txt", "not below a plain folder"),
        ("pipe", "no regular file"),
        ("inductor", "no regular file"),
        ("absent.txt", "cannot be read: No such file"),
    ):
        with pytest.raises(ExecutionError, match=words):
            commit_ir(tmp_path / "store", KEY, made, [name])
    assert "link.txt" in refused(tmp_path / "store")


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, made: Path) -> None:
    (tmp_path / "other").symlink_to(made)
    with pytest.raises(ExecutionError, match="not below a plain folder"):
        commit_ir(tmp_path / "store", KEY, tmp_path / "other", ["graph.txt"])


def test_the_files_together_are_bounded(tmp_path: Path, made: Path) -> None:
    files = ["graph.txt", "inductor/xy/kernel.cpp"]
    with pytest.raises(ExecutionError, match="larger than 10 bytes") as error:
        commit_ir(tmp_path / "store", KEY, made, files, max_bytes=10)
    assert "--keep-ir" in error.value.remedy
    assert refused(tmp_path / "store") == "What was compiled is larger than 10 bytes."
    kept = commit_ir(tmp_path / "other", KEY, made, files, max_bytes=11)
    assert sorted(validate(kept)["files"]) == ["graph.txt", "inductor/xy/kernel.cpp", "ir.json"]


def test_what_is_kept_outlasts_a_refusal(tmp_path: Path, made: Path) -> None:
    kept = commit_ir(tmp_path / "store", KEY, made, ["graph.txt"])
    with pytest.raises(ExecutionError):
        commit_ir(tmp_path / "store", KEY, made, ["../graph.txt"])
    assert (kept / "graph.txt").read_text() == "graph"


def test_of_a_file_that_grows_no_more_is_taken_than_may_be_kept(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    take = ir_bundles._take

    def growing(source: IO[bytes], to: IO[bytes], most: int) -> int:
        with (made / "graph.txt").open("ab") as more:
            more.write(b"x" * 1000)
        taken.append(take(source, to, most))
        return taken[-1]

    monkeypatch.setattr(ir_bundles, "_take", growing)
    with pytest.raises(ExecutionError, match="larger than 10 bytes"):
        commit_ir(tmp_path / "store", KEY, made, ["graph.txt"], max_bytes=10)
    assert taken == [11]
