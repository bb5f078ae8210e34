"""A converted model is put where it is wanted, whole or not at all, and nothing is lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import StoreError, UsageError
from harness.execution.convert_output import check_free, default_name, output_path, put


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def savedmodel(path: Path, content: bytes = b"graph") -> Path:
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(content)
    (path / "variables/variables.index").write_bytes(b"index")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_name_is_the_models_with_the_formats_suffix(here: Path) -> None:
    assert default_name("mobilenet_v2@seeded", "pt2") == "mobilenet_v2-seeded.pt2"
    assert default_name("m", "graphdef") == "m.pb"
    assert output_path(None, "m", "savedmodel", None) == here / "m.savedmodel"
    assert output_path(Path("other.x"), "m", "onnx", None) == here / "other.x"


def test_a_file_goes_into_a_folder_that_is_there(here: Path) -> None:
    (here / "out").mkdir()
    assert output_path(Path("out"), "m", "onnx", None) == here / "out/m.onnx"
    assert output_path(Path("out"), "m", "savedmodel", None) == here / "out"
    with pytest.raises(UsageError, match=r"There is no folder .*nowhere"):
        output_path(Path("nowhere/m.onnx"), "m", "onnx", None)


def test_the_model_itself_is_never_the_place(here: Path, tmp_path: Path) -> None:
    source = here / "m.onnx"
    source.write_bytes(b"source")
    folder = savedmodel(tmp_path / "sm")
    for asked, own in ((None, source), (folder / "m.onnx", folder), (here, here / "m.onnx")):
        with pytest.raises(UsageError, match="where the model itself lies"):
            output_path(asked, "m", "onnx", own)
    with pytest.raises(UsageError, match="where the model itself lies"):
        output_path(tmp_path, "m", "savedmodel", folder)


def test_what_is_there_is_left_unless_forced(here: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.write_bytes(b"new")
    target = here / "m.onnx"
    put(made, target, force=False)
    assert target.read_bytes() == b"new"
    target.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already, and is left as it is"):
        put(made, target, force=False)
    assert target.read_bytes() == b"mine"
    put(made, target, force=True)
    assert target.read_bytes() == b"new"
    assert names(here) == ["m.onnx"]


def test_a_folder_takes_the_place_of_a_model_only(here: Path, tmp_path: Path) -> None:
    made, target = savedmodel(tmp_path / "made", b"new"), here / "m"
    put(made, target, force=False)
    (target / "fingerprint.pb").write_text("left of before")
    put(made, target, force=True)
    assert names(target) == ["saved_model.pb", "variables"]
    (here / "photos").mkdir()
    (here / "photos/1.jpg").write_bytes(b"jpg")
    with pytest.raises(UsageError, match="is a folder that holds no model"):
        check_free(here / "photos", force=True)
    with pytest.raises(UsageError, match="is a folder that holds no model"):
        put(made, here / "photos", force=True)
    assert names(here) == ["m", "photos"]
    assert names(here / "photos") == ["1.jpg"]


def test_a_model_among_other_things_is_left_as_it_is(here: Path, tmp_path: Path) -> None:
    made, target = savedmodel(tmp_path / "made", b"new"), savedmodel(here / "m", b"old")
    (target / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds more than a model, .*: notes\.txt\.") as error:
        check_free(target, force=True)
    assert "-o" in error.value.remedy
    for name in ("model.xml", "a", "b", "c"):
        (target / name).write_text("mine")
    with pytest.raises(UsageError, match=r": a, b, c and 2 more\."):
        put(made, target, force=True)
    assert (target / "saved_model.pb").read_bytes() == b"old"
    assert (target / "notes.txt").read_text() == "mine"
    assert names(here) == ["m"]


def test_an_openvino_folder_is_replaced_if_it_is_nothing_else(here: Path, tmp_path: Path) -> None:
    made, target = tmp_path / "made", here / "m"
    for folder, content in ((made, "new"), (target, "old")):
        folder.mkdir()
        (folder / "model.xml").write_text(content)
        (folder / "model.bin").write_text(content)
    put(made, target, force=True)
    assert (target / "model.xml").read_text() == "new"
    (target / "variables").mkdir()
    with pytest.raises(UsageError, match=r"holds more than a model, .*: variables\."):
        check_free(target, force=True)


def test_what_was_there_comes_back_where_the_new_one_cannot_be_put(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, target = savedmodel(tmp_path / "made", b"new"), savedmodel(here / "m", b"old")
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self.name.endswith(".staged"):
            raise OSError(5, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StoreError, match=r"Cannot write .*Input/output error"):
        put(made, target, force=True)
    assert (target / "saved_model.pb").read_bytes() == b"old"
    assert names(here) == ["m"]
