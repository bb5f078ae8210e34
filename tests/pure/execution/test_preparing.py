"""Pixels made in an environment: their keys, and which files a container is shown."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets.inputs import Excluded, PreparedInputs
from harness.datasets.recipes import Geometry
from harness.environments.environment import Environment, Executor
from harness.errors import DatasetError
from harness.execution import preparing
from harness.execution.preparing import Made, prepare_in
from harness.execution.side_jobs import Bench
from harness.progress import SilentProgress
from harness.spec.feeding import parse_preprocessing

GEOMETRY = Geometry(4, 4, 5, 5, "bilinear")


def bench(executor: Executor = "venv") -> Bench:
    env = Environment(
        "imaging", "imaging", "1", "cpu", (), (), {}, "3.11", "identity", executor=executor
    )
    return Bench(env, None)


def images(root: Path, *names: str) -> PreparedInputs:
    return PreparedInputs(
        key="reference",
        path=root / "pixels.npy",
        kind="pixels",
        count=len(names),
        names=names,
        labels=tuple(range(len(names))),
        sha256=tuple(hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names),
        classes=None,
        excluded=(),
        layout="folders",
    )


class Library:
    """Stands in for the side job: a preprocessor with one setting, `exif`, true by default."""

    def __init__(self) -> None:
        self.seen: list[list[Path]] = []
        self.bytes: list[list[bytes]] = []
        self.failed: list[dict[str, Any]] = []
        self.settings: Any = None

    @contextlib.contextmanager
    def job(
        self, _bench: Bench, job: Mapping[str, Any], _awaited: str, folder: Path, *_: Any, **_2: Any
    ) -> Iterator[dict[str, Any]]:
        self.seen.append([Path(path) for path in job["images"]])
        self.bytes.append([path.read_bytes() for path in self.seen[-1]])
        folder.mkdir()
        count = len(job["images"]) - len(self.failed)
        np.save(folder / "pixels.npy", np.zeros((count, 4, 4, 3), np.uint8))
        effective = {"exif": True, **job["settings"]} if self.settings is None else self.settings
        yield {"failed": self.failed, "settings": effective, "versions": {"library": "1"}}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(preparing, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(preparing, "runner_tree", lambda: (tmp_path, "runner"))
    monkeypatch.setattr(preparing, "side_job", made.job)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(name.encode())
    return folder


def made(root: Path, text: str = "opencv", executor: Executor = "venv") -> Made:
    found = images(root, "a.jpg", "b.jpg")
    how = parse_preprocessing(text)
    return prepare_in(bench(executor), how, found, root, GEOMETRY, SilentProgress())


def test_pixels_are_made_once(library: Library, root: Path) -> None:
    library.failed = [{"place": 0, "reason": "it is CMYK"}]
    first, again = made(root), made(root)
    assert len(library.seen) == 1
    assert first == again
    assert first.failed == (Excluded("a.jpg", "opencv: it is CMYK"),)
    assert first.inputs.names == ("b.jpg",)
    assert np.load(first.inputs.path).shape == (1, 4, 4, 3)


def test_a_default_that_is_spelled_out_gives_the_same_key(library: Library, root: Path) -> None:
    plain, spelled, other = (made(root, t) for t in ("opencv", "opencv,exif=true", "opencv,exif=1"))
    assert plain.inputs.key == spelled.inputs.key
    assert other.inputs.key != plain.inputs.key
    assert len(library.seen) == 3


@pytest.mark.parametrize("said", [["exif"], {"exif": float("nan")}])
def test_settings_that_cannot_be_part_of_a_key_are_refused(
    library: Library, root: Path, said: object
) -> None:
    library.settings = said
    with pytest.raises(DatasetError, match="says no settings"):
        made(root)


@pytest.fixture
def linked(root: Path, tmp_path: Path) -> Path:
    """A folder whose images are links that lead out of it."""
    folder = tmp_path / "linked"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).symlink_to(root / name)
    return folder


def test_a_container_is_shown_copies_of_linked_images_while_it_runs(
    library: Library, linked: Path, tmp_path: Path
) -> None:
    assert made(linked, executor="docker").inputs.count == 2
    [seen] = library.seen
    assert all(path.is_relative_to(tmp_path / "cache") for path in seen)
    assert library.bytes == [[b"a.jpg", b"b.jpg"]]
    assert not any(path.exists() or path.parent.exists() for path in seen)


def test_copies_are_removed_where_the_job_fails(library: Library, linked: Path) -> None:
    library.settings = "none"
    with pytest.raises(DatasetError):
        made(linked, executor="docker")
    assert not library.seen[0][0].parent.exists()


def test_what_a_killed_run_left_of_a_copy_is_never_shown(
    library: Library, linked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run leaves its copies, cut short; the second starts again."""
    library.settings = "none"
    with monkeypatch.context() as killed:
        killed.setattr(preparing, "remove_tree", lambda _path: "")
        with pytest.raises(DatasetError):
            made(linked, executor="docker")
    library.seen[0][0].write_bytes(b"a")
    library.settings = None
    made(linked, executor="docker")
    assert library.bytes[1] == [b"a.jpg", b"b.jpg"]


def test_an_image_that_changes_before_it_is_copied_is_told(
    library: Library, linked: Path, root: Path
) -> None:
    found = images(linked, "a.jpg", "b.jpg")
    (root / "b.jpg").write_bytes(b"other")
    with pytest.raises(DatasetError, match=r"b\.jpg changed while it was read"):
        prepare_in(
            bench("docker"), parse_preprocessing("opencv"), found, linked, GEOMETRY,
            SilentProgress(),
        )  # fmt: skip
    assert library.seen == []


def test_images_in_one_folder_are_shown_where_they_lie(library: Library, root: Path) -> None:
    made(root, executor="docker")
    assert library.seen == [[(root / name).resolve() for name in ("a.jpg", "b.jpg")]]


def test_a_record_of_another_form_is_made_anew(library: Library, root: Path) -> None:
    found = made(root).inputs
    record = found.path.parent / "inputs.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "settings": None}))
    assert made(root).inputs.key == found.key
    assert len(library.seen) == 2
