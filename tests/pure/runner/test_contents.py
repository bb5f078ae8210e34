"""The hash of a distribution's files follows what is really in them, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from runner import contents
from runner.contents import content_hash, is_framework
from runner.errors import RunnerError

FILES = {
    "onnxruntime/__init__.py": b"answer = 42\n",
    "onnxruntime/capi/core.so": b"machine code",
    "onnxruntime/data.bin": b"numbers",
}
Site = Callable[..., Path]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Makes a folder of packages in which one distribution is installed."""

    def make(folder: str = "site", noise: str = "", *, name: str = "onnxruntime") -> Path:
        place = tmp_path / folder
        rows = []
        for path, data in FILES.items():
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            text = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={text},{len(data)}\n")
        about = place / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "RECORD").write_text(noise + "".join(rows))
        return place

    return make


def found(place: Path, name: str = "onnxruntime") -> str | None:
    (distribution,) = metadata.distributions(path=[str(place)])
    return content_hash(distribution, name)


def patch(file: Path, data: bytes) -> None:
    """Write other content and keep the date, as a copied file does."""
    before = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_neither_place_nor_dates_nor_the_installer_count(site: Site) -> None:
    plain = found(site())
    assert len(plain or "") == 64
    noise = (
        "../../../bin/tool,sha256=CCC,30\nonnxruntime/__pycache__/a.cpython-311.pyc,,\n"
        "onnxruntime-1.0.dist-info/INSTALLER,sha256=DDD,4\nonnxruntime-1.0.dist-info/RECORD,,\n"
    )
    other = site("elsewhere", noise)
    assert found(other) == plain
    for number, path in enumerate(FILES):
        os.utime(other / path, (2_000_000_000 + number,) * 2)
    assert found(other) == plain


@pytest.mark.parametrize("path", FILES)
def test_a_file_of_another_size_is_seen(site: Site, path: str) -> None:
    place = site()
    plain = found(place)
    patch(place / path, FILES[path] + b"!")
    assert found(place) != plain
    patch(place / path, FILES[path])
    assert found(place) == plain


@pytest.mark.parametrize("path", ["onnxruntime/__init__.py", "onnxruntime/capi/core.so"])
def test_a_frameworks_code_of_the_same_size_and_date_is_seen(site: Site, path: str) -> None:
    place = site()
    plain = found(place)
    patch(place / path, bytes(reversed(FILES[path])))
    assert found(place) != plain


def test_of_other_packages_a_file_of_the_same_size_is_seen_by_its_date(site: Site) -> None:
    place = site(name="helper")
    plain = found(place, "helper")
    file = place / "onnxruntime/data.bin"
    patch(file, b"NUMBERS")
    assert found(place, "helper") == plain
    os.utime(file, (4_000_000_000,) * 2)
    assert found(place, "helper") != plain


def test_a_file_that_is_gone_is_seen(site: Site) -> None:
    place = site()
    plain = found(place)
    (place / "onnxruntime/data.bin").unlink()
    assert found(place) != plain


def test_a_file_without_a_hash_in_the_record_is_read(site: Site) -> None:
    place = site(noise="onnxruntime/version.txt,,\n")
    (place / "onnxruntime/version.txt").write_text("one")
    first = found(place)
    patch(place / "onnxruntime/version.txt", b"two")
    assert found(place) != first


def make_editable(place: Path, source: Path) -> None:
    """Turn a distribution into what an editable install leaves: files elsewhere."""
    shutil.move(place / "onnxruntime", source / "onnxruntime")
    about = place / "onnxruntime-1.0.dist-info"
    (about / "RECORD").write_text("__editable__.x.pth,sha256=AAA,3\n__editable___x.py,sha256=B,3\n")
    (about / "direct_url.json").write_text(
        json.dumps({"url": source.as_uri(), "dir_info": {"editable": True}})
    )


@pytest.fixture
def editable(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Path, Path]]:
    def make(folder: str) -> tuple[Path, Path]:
        place, source = site(f"{folder}-site"), tmp_path / folder
        source.mkdir()
        make_editable(place, source)
        monkeypatch.setattr(sys, "path", [str(source)])
        monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
        importlib.invalidate_caches()
        return place, source

    return make


def test_of_an_editable_install_the_source_is_read_wherever_it_lies(
    editable: Callable[[str], tuple[Path, Path]],
) -> None:
    first = found(editable("checkout")[0])
    place, source = editable("another-checkout")
    assert first is not None
    assert found(place) == first
    (source / "onnxruntime" / "__pycache__").mkdir()
    (source / "onnxruntime" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert found(place) == first
    patch(source / "onnxruntime/__init__.py", b"answer = 43\n")
    assert found(place) != first


def test_an_editable_framework_that_is_too_large_is_refused(
    editable: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = editable("checkout")
    monkeypatch.setattr(contents, "MOST_FILES", 2)
    with pytest.raises(RunnerError, match="onnxruntime is installed without a record") as caught:
        found(place)
    assert caught.value.kind == "unsupported"
    assert "install it as a wheel" in caught.value.message


def test_what_has_no_files_has_no_hash(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    place = site(name="nothing-here")
    (place / "nothing-here-1.0.dist-info" / "RECORD").unlink()
    monkeypatch.setattr(sys, "path", [])
    assert found(place, "nothing-here") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("onnxruntime-gpu", True), ("torch", True), ("torchvision", False), ("onnxmltools", False)],
)
def test_frameworks_are_known_by_name_and_by_what_follows_a_dash(name: str, expected: bool) -> None:
    assert is_framework(name) is expected
