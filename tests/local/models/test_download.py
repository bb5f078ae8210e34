"""Downloads from a real server: resumed, retried, bounded, and only from where they may come."""

from __future__ import annotations

import contextlib

import pytest
from support.file_server import serving

from harness.errors import ModelError
from harness.models.download import Rules, UnreachableError, download
from harness.progress import SilentProgress

BODY = bytes(range(256)) * 4000


@pytest.fixture
def server(monkeypatch):
    # A proxy of this machine's own must not be asked for 127.0.0.1.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(BODY) as state:
        yield state


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def rules(pauses):
    return Rules(schemes=("http",), pause=pauses.append)


class Counting(SilentProgress):
    """Adds up what tasks were told."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def task(self, description, total=None):
        del description, total
        outer = self

        class Task:
            def advance(self, n=1):
                outer.bytes += n

            def describe(self, text):
                outer.notes.append(text)

        return contextlib.nullcontext(Task())


def test_a_file_comes_whole_and_its_bytes_are_counted(server, rules, tmp_path):
    progress = Counting()
    came = download(f"{server.address}/file", tmp_path / "a" / "w.pth", progress, rules)
    assert (tmp_path / "a" / "w.pth").read_bytes() == BODY
    assert came.size_bytes == len(BODY) == progress.bytes
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["w.pth"]


def test_a_broken_connection_goes_on_where_it_stopped(server, rules, pauses, tmp_path):
    server.cut_after = [400_000, 300_000]
    progress = Counting()
    download(f"{server.address}/file", tmp_path / "w.pth", progress, rules)
    assert (tmp_path / "w.pth").read_bytes() == BODY
    asked = [headers.get("Range") for _, headers in server.requests]
    assert asked == [None, "bytes=400000-", "bytes=700000-"]
    assert progress.bytes == len(BODY)
    assert [1 <= pauses[0] <= 1.25, 2 <= pauses[1] <= 2.5] == [True, True]


def test_a_later_command_goes_on_too(server, rules, tmp_path):
    server.cut_after = [500_000] + [0] * 3
    with pytest.raises(ModelError, match="in 4 tries") as caught:
        download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    assert "goes on" in caught.value.remedy
    assert not (tmp_path / "w.pth").exists()
    server.requests.clear()
    download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert server.requests[0][1]["Range"] == "bytes=500000-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, rules, tmp_path):
    server.cut_after = [500_000] + [0] * 3
    with pytest.raises(ModelError):
        download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    server.body, server.etag = BODY[::-1], '"two"'
    download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    assert (tmp_path / "w.pth").read_bytes() == BODY[::-1]


def test_a_part_without_a_version_is_not_gone_on_from(server, rules, tmp_path):
    server.etag = ""
    server.cut_after = [500_000]
    download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert [headers.get("Range") for _, headers in server.requests] == [None, None]


def test_a_part_longer_than_the_file_is_thrown_away(server, rules, tmp_path):
    server.cut_after = [500_000] + [0] * 3
    with pytest.raises(ModelError):
        download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    (tmp_path / "w.pth.part").write_bytes(BODY + b"more")
    download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_server_that_fails_is_asked_again(server, rules, pauses, tmp_path):
    server.failures = [503, 500, 429]
    download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert len(pauses) == 3
    assert pauses == sorted(pauses)


def test_a_server_that_keeps_failing_is_given_up(server, rules, pauses, tmp_path):
    server.failures = [503] * 9
    with pytest.raises(ModelError, match="in 4 tries: the server says 503"):
        download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    assert len(server.requests) == 4
    assert len(pauses) == 3


def test_a_file_that_is_not_there_is_asked_for_once(server, rules, tmp_path):
    server.failures = [404]
    with pytest.raises(ModelError, match="answers 404"):
        download(f"{server.address}/file", tmp_path / "w.pth", SilentProgress(), rules)
    assert len(server.requests) == 1


def test_a_redirect_is_followed_and_what_the_hub_states_is_kept(server, rules, tmp_path):
    server.headers = {"X-Linked-ETag": f'"{"ab" * 32}"'}
    came = download(f"{server.address}/moved", tmp_path / "w", SilentProgress(), rules)
    assert came.sha256 == "ab" * 32
    assert [path for path, _ in server.requests] == ["/moved", "/file"]


def test_a_redirect_to_another_scheme_is_refused(server, rules, tmp_path):
    server.redirect = "ftp://127.0.0.1/file"
    with pytest.raises(ModelError, match="is not an address of http"):
        download(f"{server.address}/moved", tmp_path / "w", SilentProgress(), rules)


def test_only_https_is_taken_by_default(server, tmp_path):
    with pytest.raises(ModelError, match="is not an address of https"):
        download(f"{server.address}/file", tmp_path / "w", SilentProgress())
    assert server.requests == []


def test_a_file_that_is_too_large_is_refused_before_it_comes(server, pauses, tmp_path):
    rules = Rules(schemes=("http",), max_bytes=1000, pause=pauses.append)
    with pytest.raises(ModelError, match="1024000 bytes or more; weights of at most 1000"):
        download(f"{server.address}/file", tmp_path / "w", SilentProgress(), rules)
    assert not (tmp_path / "w").exists()
    assert len(server.requests) == 1


def test_no_server_is_no_network(server, rules, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1 cannot be reached"):
        download("http://127.0.0.1:9/file", tmp_path / "w", SilentProgress(), rules)
