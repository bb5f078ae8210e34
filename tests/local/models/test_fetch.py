"""Fetching: caches first, every file held against its hashes, nothing wrong is used."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import replace

import pytest
from support.file_server import serving

from harness.errors import ModelError, StoreError
from harness.models.caches import own_place
from harness.models.download import Rules
from harness.models.fetch import fetch
from harness.models.hashes import record_path
from harness.models.registry import find_checkpoint
from harness.models.verifying import verify
from harness.progress import SilentProgress

BODY = b"weights " * 10_000
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()  # noqa: S324 - Keras states MD5


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


@pytest.fixture
def server():
    with serving(BODY) as state:
        yield state


RULES = Rules(schemes=("http",), pause=lambda _: None)


def entry_at(server, name, **changes):
    entry = find_checkpoint(name)
    return replace(entry, url=f"{server.address}/{entry.filename}", **changes)


def test_a_download_is_held_against_the_prefix_of_its_name(server, folders):
    entry = entry_at(server, "resnet50@torchvision", sha256_prefix=SHA256[:8])
    progress = SilentProgress()
    path = fetch(entry, progress, rules=RULES)
    assert path == folders / "cache/pretrained/hub/checkpoints/resnet50-11ad3fa6.pth"
    assert path.read_bytes() == BODY
    assert "held against the SHA-256 in its name" in progress.notes[0]
    record = json.loads(record_path(entry).read_text())
    assert record["sha256"] == SHA256
    assert record["size_bytes"] == len(BODY)
    assert record["held_against"] == ["the SHA-256 in its name"]
    assert fetch(entry, SilentProgress(), rules=RULES) == path
    assert len(server.requests) == 1


def test_places_follow_the_libraries(server, folders):
    keras = fetch(entry_at(server, "densenet121@keras", md5=MD5), SilentProgress(), rules=RULES)
    timm = fetch(entry_at(server, "resnet50@timm"), SilentProgress(), rules=RULES)
    root = folders / "cache/pretrained"
    assert keras == root / "models/densenet121_weights_tf_dim_ordering_tf_kernels.h5"
    assert timm == root / "hub/timm/resnet50.a1_in1k/model.safetensors"


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("resnet50@torchvision", {}, "the SHA-256 in its name is 11ad3fa6"),
        ("densenet121@keras", {}, "the MD5 that its library states is 9d60b809"),
        ("convnext_tiny@keras", {}, "the SHA-256 that its library states is 8ae6e78c"),
    ],
)
def test_a_file_with_another_hash_is_kept_aside_and_refused(server, name, changes, said):
    entry = entry_at(server, name, **changes)
    with pytest.raises(ModelError, match=said) as caught:
        fetch(entry, SilentProgress(), rules=RULES)
    own = own_place(entry)
    assert not own.exists()
    aside = list(own.parent.glob(f"{own.name}.wrong-*"))
    assert [path.read_bytes() for path in aside] == [BODY]
    assert str(aside[0]) in caught.value.remedy
    assert not record_path(entry).exists()


def test_what_the_hub_states_of_a_file_counts(server):
    entry = entry_at(server, "resnet50@timm")
    moved = replace(entry, url=f"{server.address}/moved")
    server.headers = {"X-Linked-ETag": "ab" * 32}
    with pytest.raises(ModelError, match="the SHA-256 that the hub states is abab"):
        fetch(moved, SilentProgress(), rules=RULES)
    server.headers = {"X-Linked-ETag": SHA256}
    assert fetch(moved, SilentProgress(), rules=RULES).read_bytes() == BODY


def test_without_a_hash_the_first_file_is_believed_and_the_next_held_against_it(server):
    entry = entry_at(server, "mobilenet_v2@keras")
    assert (entry.sha256, entry.sha256_prefix, entry.md5) == (None, None, None)
    progress = SilentProgress()
    path = fetch(entry, progress, rules=RULES)
    assert "no hash is published" in progress.notes[0]
    path.unlink()
    server.body = BODY[::-1]
    with pytest.raises(ModelError, match=f"first seen here was {SHA256}") as caught:
        fetch(entry, SilentProgress(), rules=RULES)
    assert str(record_path(entry)) in caught.value.remedy


def test_a_damaged_file_of_the_cache_is_fetched_again(server):
    entry = entry_at(server, "resnet50@torchvision", sha256_prefix=SHA256[:8])
    path = fetch(entry, SilentProgress(), rules=RULES)
    path.write_bytes(BODY[:-1])
    progress = SilentProgress()
    assert fetch(entry, progress, rules=RULES).read_bytes() == BODY
    assert "is not whole or was changed" in progress.notes[0]
    assert len(list(path.parent.glob("*.wrong-*"))) == 1


@pytest.mark.parametrize(
    ("name", "place", "hash_of"),
    [
        ("resnet50@torchvision", "torch/hub/checkpoints/{file}", "sha256_prefix"),
        ("densenet121@keras", "keras/models/{file}", "md5"),
        ("resnet50@timm", "hf/hub/models--timm--resnet50.a1_in1k/snapshots/abc/{file}", None),
    ],
)
def test_a_file_in_the_libraries_own_cache_is_used_where_it_is(folders, name, place, hash_of):
    entry = find_checkpoint(name)
    changes = {"sha256_prefix": {"sha256_prefix": SHA256[:8]}, "md5": {"md5": MD5}}
    entry = replace(entry, **changes.get(hash_of, {}))
    path = folders / place.format(file=entry.filename)
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    assert fetch(entry, SilentProgress(), offline=True) == path
    assert find_checkpoint(name).path == path
    assert not own_place(entry).exists()


def test_the_revision_that_main_names_is_taken(folders):
    hub = folders / "hf/hub/models--timm--resnet50.a1_in1k"
    for revision, body in (("aaa", b"old"), ("bbb", BODY)):
        (hub / "snapshots" / revision).mkdir(parents=True)
        (hub / "snapshots" / revision / "model.safetensors").write_bytes(body)
    (hub / "refs").mkdir()
    (hub / "refs/main").write_text("bbb")
    assert find_checkpoint("resnet50@timm").path == hub / "snapshots/bbb/model.safetensors"


def test_the_hub_names_a_blob_by_its_hash(folders):
    hub = folders / "hf/hub/models--timm--resnet50.a1_in1k"
    (hub / "blobs").mkdir(parents=True)
    (hub / "snapshots/aaa").mkdir(parents=True)
    link = hub / "snapshots/aaa/model.safetensors"
    (hub / "blobs" / SHA256).write_bytes(BODY)
    link.symlink_to(hub / "blobs" / SHA256)
    entry = find_checkpoint("resnet50@timm")
    assert fetch(entry, SilentProgress(), offline=True) == link
    (hub / "blobs" / SHA256).write_bytes(b"damaged")
    progress = SilentProgress()
    with pytest.raises(ModelError, match="not on this machine"):
        fetch(entry, progress, offline=True)
    assert "the SHA-256 that the hub states" in progress.notes[0]


def test_a_wrong_file_in_a_librarys_cache_is_left_and_not_used(server, folders):
    entry = entry_at(server, "resnet50@torchvision", sha256_prefix=SHA256[:8])
    theirs = folders / "torch/hub/checkpoints/resnet50-11ad3fa6.pth"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"half")
    progress = SilentProgress()
    assert fetch(entry, progress, rules=RULES) == own_place(entry)
    assert theirs.read_bytes() == b"half"
    assert "Not used" in progress.notes[0]


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_it_says_which_file_belongs_where(folders, offline, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    entry = replace(find_checkpoint("resnet50@torchvision"), url="http://127.0.0.1:9/resnet50.pth")
    with pytest.raises(ModelError, match="resnet50@torchvision is not on this machine") as caught:
        fetch(entry, SilentProgress(), offline=offline, rules=RULES)
    remedy = caught.value.remedy
    for part in (
        "resnet50-11ad3fa6.pth",
        "about 102.5 MB",
        "SHA-256 begins 11ad3fa6",
        "http://127.0.0.1:9/resnet50.pth",
        str(folders / "cache/pretrained/hub/checkpoints"),
    ):
        assert part in remedy


def test_seeded_weights_have_no_file_to_fetch():
    with pytest.raises(ModelError, match="resnet50@seeded has no file to fetch"):
        fetch(find_checkpoint("resnet50@seeded"), SilentProgress())


def test_verify_tells_good_changed_and_missing_files(server):
    entry = entry_at(server, "resnet50@torchvision", sha256_prefix=SHA256[:8])
    path = fetch(entry, SilentProgress(), rules=RULES)
    known = replace(entry, path=path)
    believed = entry_at(server, "mobilenet_v2@keras")
    second = fetch(believed, SilentProgress(), rules=RULES)
    believed = replace(believed, path=second)
    absent = find_checkpoint("densenet121@keras")

    def states(*entries, asked=True):
        return [one.state for one in verify(entries, SilentProgress(), asked=asked)]

    assert states(known, believed, absent) == ["ok", "ok", "missing"]
    assert states(known, absent, asked=False) == ["ok"]
    path.write_bytes(b"other")
    second.write_bytes(b"other")
    assert states(known, believed) == ["corrupted", "changed"]


def refuse(*_, **__):
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_file_in_a_cache_that_is_only_read_is_used(server, monkeypatch):
    entry = entry_at(server, "resnet50@torchvision", sha256_prefix=SHA256[:8])
    own = own_place(entry)
    own.parent.mkdir(parents=True)
    own.write_bytes(BODY)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    progress = SilentProgress()
    assert fetch(entry, progress, rules=RULES) == own
    assert "is not remembered" in progress.notes[0]
    assert "Read-only file system" in progress.notes[0]
    assert not server.requests
    own.unlink()
    with pytest.raises(StoreError, match="Read-only file system") as caught:
        fetch(entry, SilentProgress(), rules=RULES)
    assert "HARNESS_CACHE" in caught.value.remedy
    with pytest.raises(ModelError, match="not on this machine"):
        fetch(entry, SilentProgress(), offline=True)


def test_a_lock_that_cannot_be_made_is_told(server, monkeypatch):
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(StoreError, match="Read-only file system"):
        fetch(entry_at(server, "resnet50@torchvision"), SilentProgress(), rules=RULES)


def test_a_web_page_is_never_believed_where_no_hash_is_published(server, folders):
    entry = entry_at(server, "mobilenet_v2@keras")
    own = own_place(entry)
    own.parent.mkdir(parents=True)
    own.write_bytes(b"<html>404</html>")
    progress = SilentProgress()
    with pytest.raises(ModelError):
        fetch(entry, progress, offline=True)
    assert "it is a web page" in " ".join(progress.notes)
    assert not record_path(entry).exists()
