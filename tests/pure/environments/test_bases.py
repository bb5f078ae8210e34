"""Bases are recorded, recognised by their content, and packed so that equal ones are equal bytes."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_images import FakeImages

from harness.environments import base, base_made
from harness.environments.base_made import EPOCH, make_base, write_tar
from harness.environments.base_records import (
    LABEL,
    BaseRecord,
    content_digest,
    present,
    record,
    recorded,
)
from harness.environments.environment import Base
from harness.errors import EnvironmentSpecError, ProvisionError, StoreError
from harness.paths import data_dir
from harness.progress import SilentProgress

DIGEST = f"sha256:{'1' * 64}"
BASE = Base("python:3.11-slim-bookworm", DIGEST, "3.11", "registry", "2.36")


def record_of(base_: Base, engine: FakeImages, image: str) -> BaseRecord:
    return BaseRecord(base_, content_digest(engine.held[image]))


def test_a_recorded_base_is_taken_while_its_image_has_the_recorded_content():
    engine = FakeImages()
    image = engine.add(BASE.tag)
    record(record_of(BASE, engine, image))
    assert present(engine, ("3.12", "3.11")) == BASE
    assert present(engine, ("3.12",)) is None
    engine.add(BASE.tag, layers=("something else",))
    assert present(engine, ("3.11",)) is None


def test_the_base_recorded_last_is_the_one_to_use():
    engine = FakeImages()
    other = replace(BASE, digest=f"sha256:{'2' * 64}", reference="mine:1")
    for one in (BASE, other):
        record(record_of(one, engine, engine.add(one.tag)))
    assert [entry.base for entry in recorded()] == [other, BASE]
    assert present(engine, ("3.11",)) == other
    record(recorded()[1])
    assert present(engine, ("3.11",)) == BASE


def test_a_bases_variables_are_part_of_its_content_but_for_those_that_are_set_anew():
    engine = FakeImages()

    def digest(*variables: str, on_build: tuple[str, ...] = ()) -> str:
        image = engine.held[engine.add(layers=("one", "two"))]
        image["Config"] |= {"Env": list(variables), "OnBuild": list(on_build) or None}
        return content_digest(image)

    plain = digest("PATH=/bin", "LANG=C.UTF-8")
    assert digest("PATH=/opt/bin:/bin") == plain
    slow = digest("PATH=/bin", "ONEDNN_MAX_CPU_ISA=SSE41", "OMP_NUM_THREADS=7")
    assert slow != plain
    assert digest("OMP_NUM_THREADS=7", "ONEDNN_MAX_CPU_ISA=SSE41") == slow
    assert digest("OMP_NUM_THREADS=8", "ONEDNN_MAX_CPU_ISA=SSE41") not in {slow, plain}
    assert digest("LANG=C.UTF-8", on_build=("RUN true",)) != plain


def test_a_base_for_another_machine_is_not_taken():
    engine = FakeImages()
    arm = replace(BASE, machine="aarch64")
    record(record_of(arm, engine, engine.add(arm.tag)))
    assert present(engine, ("3.11",)) is None


def test_a_base_that_somebody_else_made_in_the_engine_is_found_by_its_label():
    engine = FakeImages()
    known = {"reference": "local:bookworm", "python": "3.11", "source": "local", "glibc": "2.36"}
    image = engine.add(labels={LABEL: json.dumps(known)})
    digest = content_digest(engine.held[image])
    assert present(engine, ("3.11",)) is None
    engine.tag(image, "harness/base", digest.removeprefix("sha256:")[:12])
    found = present(engine, ("3.11",))
    assert found == Base("local:bookworm", digest, "3.11", "local", "2.36")
    engine.add("harness/base:000000000000", labels={LABEL: "not JSON"})
    assert present(engine, ("3.11",)) == found


def test_a_base_of_somebody_elses_stays_the_same_once_it_was_used():
    engine = FakeImages()
    known = {"reference": "local:bookworm", "python": "3.11", "source": "local", "glibc": "2.36"}

    def made() -> None:
        image = engine.add(labels={LABEL: json.dumps(known)})
        digest = content_digest(engine.held[image])
        engine.tag(image, "harness/base", digest.removeprefix("sha256:")[:12])

    made()
    used = base.ensure_base(engine, ("3.11",), SilentProgress())
    made()
    assert present(engine, ("3.11",)) == used
    assert base.ensure_base(engine, ("3.11",), SilentProgress()) == used


def test_a_damaged_record_is_named():
    path = data_dir() / "bases.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"bases": [{"base": {}}]}', encoding="utf-8")
    with pytest.raises(StoreError, match=r"bases\.json, the record of base images, is damaged"):
        recorded()


def test_where_no_base_can_be_had_all_that_was_tried_is_said(monkeypatch):
    def refuse(engine, reference, task, remedy):
        raise ProvisionError(f"{reference} cannot be pulled: no such host.")

    monkeypatch.setattr(base, "pull", refuse)
    monkeypatch.setattr(base, "why_not", lambda: "that needs root")
    with pytest.raises(ProvisionError) as error:
        base.ensure_base(FakeImages(), ("3.11", "3.12"), SilentProgress(), name="a-1.0")
    assert "No base image with Python 3.11 or 3.12 can be had for a-1.0" in error.value.message
    assert "python:3.12-slim-bookworm cannot be pulled: no such host" in error.value.message
    assert "none can be made here: that needs root" in error.value.message
    assert "harness env base --use IMAGE" in error.value.remedy
    with pytest.raises(ProvisionError, match=r"none with Python 3\.12 can be made here"):
        base.ensure_base(FakeImages(), ("3.12",), SilentProgress())


def test_a_recorded_public_base_that_is_gone_is_pulled_by_its_digest(monkeypatch):
    engine = FakeImages()
    record(BaseRecord(BASE, "sha256:layers"))
    asked: list[str] = []

    def refuse(engine, reference, task, remedy):
        asked.append(reference)
        raise ProvisionError("no such host.")

    monkeypatch.setattr(base, "pull", refuse)
    monkeypatch.setattr(base, "why_not", lambda: "that needs root")
    with pytest.raises(ProvisionError):
        base.ensure_base(engine, ("3.11",), SilentProgress())
    assert asked == [f"python@{DIGEST}", "python:3.11-slim-bookworm"]


def test_a_mirror_with_a_password_and_an_unknown_release_are_refused():
    with pytest.raises(EnvironmentSpecError, match="would stay in the image") as error:
        make_base(FakeImages(), SilentProgress(), mirror="https://me:secret@mirror/debian")
    assert "secret" not in str(error.value)
    with pytest.raises(EnvironmentSpecError, match="bookworm, trixie"):
        make_base(FakeImages(), SilentProgress(), suite="sid")


def test_without_a_tool_a_base_cannot_be_made_and_that_is_said(monkeypatch):
    monkeypatch.setattr(base_made, "_tool", lambda: None)
    with pytest.raises(ProvisionError, match="neither mmdebstrap nor debootstrap") as error:
        make_base(FakeImages(), SilentProgress())
    assert "--executor venv" in error.value.remedy


def test_equal_trees_made_at_different_times_are_packed_to_equal_bytes(tmp_path: Path):
    archives = []
    for number, made in enumerate((2_000_000_000, 2_000_500_000)):
        tree = tmp_path / f"tree{number}"
        for name in ("usr/bin", "usr/share/doc/x", "var/log", "dev"):
            (tree / name).mkdir(parents=True)
        (tree / "usr/bin/tool").write_text("tool", encoding="utf-8")
        (tree / "usr/bin/link").symlink_to("tool")
        (tree / "etc").mkdir()
        (tree / "etc/made").write_text("made here", encoding="utf-8")
        (tree / "usr/share/doc/x/readme").write_text("left out", encoding="utf-8")
        (tree / "var/log/install").write_text(f"at {made}", encoding="utf-8")
        (tree / "etc/hostname").write_text(f"host{number}", encoding="utf-8")
        for path in tree.rglob("*"):
            os.utime(path, (made, made), follow_symlinks=False)
        os.utime(tree / "usr/bin/tool", (EPOCH - 5, EPOCH - 5))
        archive = tmp_path / f"{number}.tar"
        write_tar(tree, archive, started=made)
        archives.append(archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        entries = {entry.name: entry for entry in tar}
    assert sorted(entries) == [
        "dev", "etc", "etc/made", "usr", "usr/bin", "usr/bin/link", "usr/bin/tool", "usr/share",
        "usr/share/doc", "var", "var/log",
    ]  # fmt: skip
    assert entries["usr/bin/tool"].mtime == EPOCH - 5
    assert entries["etc/made"].mtime == EPOCH
