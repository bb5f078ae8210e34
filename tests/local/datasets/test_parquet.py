"""Parquet data sets as Hugging Face writes them: splits, labels, extraction into the cache."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from PIL import Image

from harness.datasets import extraction
from harness.datasets.classes import imagenet, load_synsets
from harness.datasets.layouts import Dataset, discover
from harness.datasets.pixels import prepare
from harness.datasets.recipes import PRESETS
from harness.errors import DatasetError, StoreError
from harness.progress import SilentProgress

STRUCT = 'STRUCT("bytes" BLOB, "path" VARCHAR)'


def _png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


def _write(
    path: Path,
    rows: list[tuple[Any, ...]],
    columns: str = f"image {STRUCT}, label BIGINT",
    features: dict[str, Any] | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = "FORMAT PARQUET"
    if features is not None:
        text = json.dumps({"info": {"features": features}}).replace("'", "''")
        options += f", KV_METADATA {{huggingface: '{text}'}}"
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"CREATE TABLE t ({columns})")
        for row in rows:
            connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", list(row))  # noqa: S608
        target = str(path).replace("'", "''")
        connection.execute(f"COPY t TO '{target}' ({options})")
    return path


def _copy(path: Path, text: str, rows: int, option: str) -> None:
    """Many rows, made by DuckDB; groups of 2048."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            f"COPY (SELECT {{'bytes': ({text})::BLOB, 'path': NULL::VARCHAR}} AS image, "  # noqa: S608
            f"1 AS label FROM range({rows}) r(i)) TO '{path}' "
            f"(FORMAT PARQUET, {option}, ROW_GROUP_SIZE 2048)"
        )


def _image(value: int, path: str | None = None) -> dict[str, Any]:
    return {"bytes": _png(value), "path": path}


def _named(*names: str) -> dict[str, Any]:
    return {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}


def _labels(dataset: Dataset) -> dict[str, int | None]:
    return {item.path: item.label for item in dataset.items}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_the_validation_split_of_a_hugging_face_folder_becomes_a_dataset(
    tmp_path: Path, cache: Path
) -> None:
    data = tmp_path / "set"
    names = ["n01443537", "n15075141"]
    for place, value in enumerate((10, 20)):
        _write(
            data / "data" / f"validation-0000{place}-of-00002.parquet",
            [(_image(value + i, f"val_{value + i}.PNG"), i) for i in range(2)],
            features=_named(*names),
        )
    _write(data / "data" / "train-00000-of-00001.parquet", [(_image(99, "t.png"), 0)])
    dataset = discover(data, cache=cache)
    assert dataset.layout == "parquet"
    assert _labels(dataset) == {
        "val_10.PNG": 1,
        "val_11.PNG": 999,
        "val_20.PNG": 1,
        "val_21.PNG": 999,
    }
    assert dataset.classes == imagenet().classes
    assert any("validation is taken" in note for note in dataset.notes)
    inputs = prepare(dataset, PRESETS["raw"], 24, 24, cache, SilentProgress(), 1)
    assert np.load(inputs.path)[:, 3, 3, 0].tolist() == [10, 11, 20, 21]
    assert inputs.layout == "parquet"
    assert _labels(discover(data, split="train", cache=cache)) == {"t.png": 0}
    with pytest.raises(DatasetError, match="no split 'test'"):
        discover(data, split="test", cache=cache)


def test_rows_without_names_are_numbered_and_bytes_alone_will_do(
    tmp_path: Path, cache: Path
) -> None:
    file = _write(
        tmp_path / "x.parquet",
        [(_png(i), i) for i in (7, 8)],
        columns="picture BLOB, label INTEGER",
    )
    dataset = discover(file, cache=cache)
    assert _labels(dataset) == {"row-0000000.png": 7, "row-0000001.png": 8}
    assert dataset.classes is None
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, "JPEG")
    _write(
        file, [({"bytes": stream.getvalue(), "path": None}, 1), ({"bytes": b"?", "path": ""}, 2)]
    )
    assert _labels(discover(file, cache=cache)) == {"row-0000000.jpg": 1, "row-0000001.bin": 2}


@pytest.mark.parametrize(
    "paths",
    [
        ("../../evil.png", "../evil.png"),
        ("a.png", "A.png"),
        (".hidden.png", "b.png"),
        ("a.png", "b.exe"),
        ("a\n.png", "b.png"),
        ("x" * 300 + ".png", "b.png"),
        ("a.png", None),
    ],
)
def test_names_that_are_not_plain_and_different_are_not_used(
    tmp_path: Path, cache: Path, paths: tuple[str | None, str | None]
) -> None:
    file = _write(tmp_path / "x.parquet", [(_image(i, p), i) for i, p in enumerate(paths)])
    dataset = discover(file, cache=cache)
    assert _labels(dataset) == {"row-0000000.png": 0, "row-0000001.png": 1}
    assert not list(tmp_path.rglob("*evil*"))


def test_names_lose_their_folders(tmp_path: Path, cache: Path) -> None:
    rows = [(_image(0, "../../up/a.png"), 4), (_image(1, "C:\\other\\b.png"), 5)]
    dataset = discover(_write(tmp_path / "x.parquet", rows), cache=cache)
    assert _labels(dataset) == {"a.png": 4, "b.png": 5}
    assert dataset.root.is_relative_to(cache.resolve())


@pytest.mark.parametrize("kind", ["BIGINT", "VARCHAR"])
def test_minus_one_and_null_are_no_label(tmp_path: Path, cache: Path, kind: str) -> None:
    rows = [(_image(i, f"{i}.png"), label) for i, label in enumerate((-1, None, 3))]
    columns = f"image {STRUCT}, label {kind}"
    features = _named("a", "b", "c", "d") if kind == "BIGINT" else None
    dataset = discover(_write(tmp_path / "x.parquet", rows, columns, features), cache=cache)
    assert _labels(dataset) == {"0.png": None, "1.png": None, "2.png": 3}
    assert any("2 of 3 images have no label" in note for note in dataset.notes)


def test_labels_of_text_are_wordnet_ids_names_or_indexes(tmp_path: Path, cache: Path) -> None:
    columns = f"image {STRUCT}, wnid VARCHAR"
    rows = [(_image(0, "a.png"), "n15075141"), (_image(1, "b.png"), "n01440764")]
    file = _write(tmp_path / "x.parquet", rows, columns)
    assert _labels(discover(file, cache=cache)) == {"a.png": 999, "b.png": 0}
    _write(file, [(_image(0, "a.png"), "dog"), (_image(1, "b.png"), "cat")], columns)
    (tmp_path / "animals.tsv").write_text("0\tcat\tcat\n1\tdog\tdog\n")
    listed = load_synsets(tmp_path / "animals.tsv")
    assert _labels(discover(file, listed, cache=cache)) == {"a.png": 1, "b.png": 0}
    with pytest.raises(DatasetError, match="line 1: label 'dog' is neither"):
        discover(file, cache=cache)


def test_the_data_sets_own_names_are_its_class_list_and_a_given_list_maps_them(
    tmp_path: Path, cache: Path
) -> None:
    rows = [(_image(i, f"{i}.png"), i) for i in range(2)]
    file = _write(tmp_path / "x.parquet", rows, features=_named("zebu", "aardwolf"))
    dataset = discover(file, cache=cache)
    assert _labels(dataset) == {"0.png": 0, "1.png": 1}
    assert [c.name for c in dataset.classes or ()] == ["zebu", "aardwolf"]
    (tmp_path / "own.tsv").write_text("0\ta\taardwolf\n1\tb\tbee\n2\tz\tzebu\n")
    mapped = discover(file, load_synsets(tmp_path / "own.tsv"), cache=cache)
    assert _labels(mapped) == {"0.png": 2, "1.png": 0}


def test_names_come_from_the_card_where_the_file_has_none(tmp_path: Path, cache: Path) -> None:
    data = tmp_path / "set"
    _write(data / "data" / "test-00000-of-00001.parquet", [(_image(0, "a.png"), 1)])
    (data / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n"
        "        names:\n          '0': goldfish\n          '1': tench\n---\n"
    )
    dataset = discover(data, cache=cache)
    assert _labels(dataset) == {"a.png": 0}
    assert any("ImageNet's" in note for note in dataset.notes)


def test_a_list_of_labels_given_beside_the_table_wins(tmp_path: Path, cache: Path) -> None:
    file = _write(tmp_path / "x.parquet", [(_image(0, "a.png"), 1)])
    (tmp_path / "mine.txt").write_text("a.png 42\n")
    dataset = discover(file, labels=tmp_path / "mine.txt", cache=cache)
    assert (_labels(dataset), dataset.layout) == ({"a.png": 42}, "parquet")


def test_a_label_outside_the_names_and_one_outside_the_list_are_refused(
    tmp_path: Path, cache: Path
) -> None:
    file = _write(tmp_path / "x.parquet", [(_image(0), 2)], features=_named("a", "b"))
    with pytest.raises(DatasetError, match="label 2 is outside its 2 class names"):
        discover(file, cache=cache)
    _write(file, [(_image(0), 1000)])
    with pytest.raises(DatasetError, match="outside the list of 1000"):
        discover(file, imagenet(), cache=cache)
    _write(file, [(_image(0), -7)])
    with pytest.raises(DatasetError, match="label '-7'"):
        discover(file, cache=cache)


def test_a_table_without_labels_is_unlabelled_and_one_without_images_is_refused(
    tmp_path: Path, cache: Path
) -> None:
    file = _write(
        tmp_path / "x.parquet", [(_image(0), "a cat")], f"image {STRUCT}, caption VARCHAR"
    )
    dataset = discover(file, cache=cache)
    assert [item.label for item in dataset.items] == [None]
    assert "its other columns: caption" in dataset.notes[0]
    _write(file, [("a.png", 1)], "image VARCHAR, label BIGINT")
    with pytest.raises(DatasetError, match=r"no column of images: .* image VARCHAR, label BIGINT"):
        discover(file, cache=cache)
    _write(file, [])
    with pytest.raises(DatasetError, match="no image in"):
        discover(file, cache=cache)


def test_rows_without_bytes_are_left_out_and_named(tmp_path: Path, cache: Path) -> None:
    rows = [(_image(0, "a.png"), 1), ({"bytes": None, "path": "b.png"}, 2), (None, 3)]
    dataset = discover(_write(tmp_path / "x.parquet", rows), cache=cache)
    assert len(dataset.items) == 1
    assert [e.name for e in dataset.excluded] == ["row 1 (x.parquet)", "row 2 (x.parquet)"]
    assert "without its bytes" in dataset.excluded[0].reason


@pytest.mark.parametrize("folder", ["plain", "it's [a] folder*?", "ünïcode ☃"])
def test_files_are_read_from_folders_of_any_name(tmp_path: Path, cache: Path, folder: str) -> None:
    _write(tmp_path / folder / "x.parquet", [(_image(0, "a.png"), 1)])
    _write(tmp_path / "it's a folder" / "x.parquet", [(_image(0, "other.png"), 9)])
    assert _labels(discover(tmp_path / folder, cache=cache)) == {"a.png": 1}


def test_links_of_a_download_cache_are_followed_by_their_own_names(
    tmp_path: Path, cache: Path
) -> None:
    blob = _write(tmp_path / "blobs" / "0123", [(_image(0, "a.png"), 1)])
    link = tmp_path / "snapshot" / "data" / "validation-00000-of-00001.parquet"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    assert _labels(discover(tmp_path / "snapshot", split="validation", cache=cache)) == {"a.png": 1}


def test_what_is_no_parquet_file_is_refused(tmp_path: Path, cache: Path) -> None:
    whole = _write(tmp_path / "w.parquet", [(_image(0), 1)]).read_bytes()
    (tmp_path / "w.parquet").unlink()
    for data in (b"", b"text", b"version https://git-lfs.github.com/spec/v1", whole[:-60]):
        (tmp_path / "x.parquet").write_bytes(data)
        with pytest.raises(DatasetError, match="cannot be read as Parquet"):
            discover(tmp_path / "x.parquet", cache=cache)
    assert not list(cache.rglob("rows.json"))


def test_files_of_a_split_with_other_columns_are_refused(tmp_path: Path, cache: Path) -> None:
    _write(tmp_path / "val-00000-of-00002.parquet", [(_image(0), 1)])
    _write(tmp_path / "val-00001-of-00002.parquet", [(_png(0),)], "image BLOB")
    with pytest.raises(DatasetError, match="has other columns than"):
        discover(tmp_path, cache=cache)


def test_images_are_extracted_once_and_again_where_the_cache_is_damaged(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _write(tmp_path / "x.parquet", [(_image(i, f"{i}.png"), i) for i in range(3)])
    first = discover(file, cache=cache)
    (first.root / "1.png").write_bytes(b"cut")
    assert discover(file, cache=cache) == first
    assert (first.root / "1.png").read_bytes() == _png(1)
    staged = first.root.parent.with_name(f".{first.root.parent.name}.0123abcd.staged")
    staged.mkdir()
    (first.root.parent / "rows.json").unlink()
    assert discover(file, cache=cache) == first
    assert not staged.exists()
    monkeypatch.setattr(extraction, "_write", lambda *_: pytest.fail("extracted again"))
    assert discover(file, cache=cache) == first
    moved = tmp_path / "elsewhere" / "val.parquet"
    moved.parent.mkdir()
    moved.write_bytes(file.read_bytes())
    assert discover(moved, cache=cache).root == first.root


def test_what_unfolds_without_end_is_stopped_and_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bomb.parquet"
    _copy(file, "repeat('a', 1000000)", 40, "COMPRESSION ZSTD")
    assert file.stat().st_size < 1_500_000
    real = extraction._Writer
    monkeypatch.setattr(extraction, "_Writer", lambda *a: real(*a[:3], 20_000_000))
    with pytest.raises(DatasetError, match="unfold to more than 64 times"):
        discover(file, cache=cache)
    assert [p.suffix for p in (cache / "images").iterdir()] == [".lock"]


def test_a_full_disk_is_a_clear_error(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _write(tmp_path / "x.parquet", [(_image(0), 1)])
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda _: type("U", (), {"free": 1 << 20}))
    with pytest.raises(StoreError, match="has 1 MiB free") as caught:
        discover(file, cache=cache)
    assert "HARNESS_CACHE" in caught.value.remedy


_MEASURED = """
import resource, sys
from pathlib import Path
from harness.datasets.layouts import discover
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = discover(Path(sys.argv[1]), cache=Path(sys.argv[2]))
print(len(found.items), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_follows_a_group_of_rows_not_the_file(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "big.parquet"
    _copy(file, "repeat(md5(i::VARCHAR), 750)", 16384, "COMPRESSION UNCOMPRESSED")
    assert file.stat().st_size > 370 << 20
    command = [sys.executable, "-c", _MEASURED, str(file), str(cache)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    count, grown_mib = map(int, printed.stdout.split())
    assert count == 16384
    assert grown_mib < 360


def test_real_images_give_the_pixels_of_the_files_they_came_from(
    real_data: Path, tmp_path: Path, cache: Path
) -> None:
    folder = discover(real_data / "data" / "imagenet-sample" / "val")
    few = type(folder)(folder.root, folder.items[:30], folder.classes, folder.layout)
    wnids = [c.wnid for c in folder.classes or ()]
    names = sorted({str(wnids[item.label or 0]) for item in few.items}, reverse=True)
    rows = [
        (
            {"bytes": (few.root / item.path).read_bytes(), "path": Path(item.path).name},
            names.index(str(wnids[item.label or 0])),
        )
        for item in few.items
    ]
    file = _write(tmp_path / "val.parquet", rows, features=_named(*names))
    dataset = discover(file, cache=cache)
    expected = {Path(item.path).name: item.label for item in few.items}
    assert _labels(dataset) == expected
    by_name = type(folder)(
        folder.root,
        tuple(sorted(few.items, key=lambda item: Path(item.path).name)),
        folder.classes,
        folder.layout,
    )
    from_files = prepare(by_name, PRESETS["tf"], 96, 96, cache, SilentProgress(), 1)
    from_table = prepare(dataset, PRESETS["tf"], 96, 96, cache, SilentProgress(), 1)
    assert from_table.key == from_files.key
    assert from_table.labels == from_files.labels
