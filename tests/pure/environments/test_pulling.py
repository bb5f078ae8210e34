"""A pull that cannot succeed ends in seconds, says why, and is not tried in vain again."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
import requests
from support.fake_images import FakeImages

from harness.environments import pulling
from harness.environments.pulling import pull, registry_of
from harness.errors import EngineError, ProvisionError
from harness.progress import SilentProgress

REMEDY = "Do without."


class FakeRegistry:
    """An engine's side of a pull: what it answers when asked, and what a pull then says."""

    def __init__(self, asked: Exception | None = None, said: tuple[Any, ...] = ()) -> None:
        self.asked, self.said = asked, said
        self.calls: list[tuple[str, ...]] = []
        self.images = self.api = self

    def get_registry_data(self, reference: str) -> None:
        self.calls.append(("ask", reference))
        if self.asked is not None:
            raise self.asked

    def pull(self, repository: str, **options: Any) -> Iterator[dict[str, Any]]:
        self.calls.append(("pull", repository, options["tag"]))
        for one in self.said:
            if isinstance(one, Exception):
                raise one
            yield one

    def close(self) -> None:
        self.calls.append(("close",))


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "_unreachable", {})


def pulled(
    monkeypatch: pytest.MonkeyPatch, registry: FakeRegistry, reference: str = "repo/name:1.0"
) -> None:
    monkeypatch.setattr(pulling.docker, "DockerClient", lambda **_: registry)
    with SilentProgress().task("Pulling") as task:
        pull(FakeImages(), reference, task, REMEDY)


def api_error(status: int, said: str) -> docker.errors.APIError:
    return docker.errors.APIError(said, SimpleNamespace(status_code=status), said)


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        ("repo/name:1.0", ("pull", "repo/name", "1.0")),
        ("repo/name", ("pull", "repo/name", "latest")),
        ("host:5000/name", ("pull", "host:5000/name", "latest")),
        (f"name@sha256:{'1' * 64}", ("pull", "name", f"sha256:{'1' * 64}")),
    ],
)
def test_a_tag_and_a_digest_are_pulled(monkeypatch, reference: str, asked: tuple[str, ...]):
    registry = FakeRegistry(said=({"status": "Downloading", "progress": "1/2", "id": "a"},))
    pulled(monkeypatch, registry, reference)
    assert registry.calls == [("ask", reference), ("close",), asked, ("close",)]


@pytest.mark.parametrize(
    ("registry", "says", "remedy"),
    [
        (FakeRegistry(docker.errors.NotFound("no")), "has no such image", REMEDY),
        (FakeRegistry(api_error(403, "denied")), "denied", "docker login docker.io"),
        (FakeRegistry(said=({"error": "manifest unknown"},)), "manifest unknown", REMEDY),
        (
            FakeRegistry(said=({"error": "no space left on device"},)),
            "no space",
            "docker system df",
        ),
        (FakeRegistry(said=(api_error(500, "broken"),)), "broken", REMEDY),
        (
            FakeRegistry(said=(requests.exceptions.ConnectionError("Read timed out."),)),
            "the registry docker.io said nothing for 60 s",
            REMEDY,
        ),
    ],
)
def test_a_pull_that_fails_says_why_and_what_to_do(monkeypatch, registry, says, remedy):
    with pytest.raises(ProvisionError, match=r"repo/name:1\.0 is not here and") as e:
        pulled(monkeypatch, registry)
    assert says in e.value.message
    assert remedy in e.value.remedy
    assert registry.calls[-1] == ("close",)


@pytest.mark.parametrize(
    "registry",
    [
        FakeRegistry(api_error(500, "dial tcp: no such host")),
        FakeRegistry(requests.exceptions.ReadTimeout("Read timed out.")),
        FakeRegistry(said=({"error": "dial tcp: connection refused"},)),
    ],
)
def test_a_registry_that_does_not_answer_is_not_asked_again(monkeypatch, registry):
    for reference in ("repo/name:1.0", "repo/other:1.0"):
        with pytest.raises(ProvisionError, match=r"registry docker\.io cannot be reached") as error:
            pulled(monkeypatch, registry, reference)
        assert reference in error.value.message
    assert [call[1] for call in registry.calls if call[0] == "ask"] == ["repo/name:1.0"]


@pytest.mark.parametrize("where", ["asked", "pulling"])
def test_an_engine_that_went_away_is_not_taken_for_its_registry(monkeypatch, where: str):
    gone = requests.exceptions.ConnectionError("Connection refused")
    registry = FakeRegistry(gone) if where == "asked" else FakeRegistry(said=(gone,))
    with pytest.raises(EngineError):
        pulled(monkeypatch, registry)


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("python:3.11", "docker.io"),
        ("me/name:1", "docker.io"),
        ("localhost/x", "localhost"),
        ("host:5000/x", "host:5000"),
        ("ghcr.io/a/b@sha256:1", "ghcr.io"),
    ],
)
def test_the_registry_is_the_references_first_part_where_that_is_a_host(reference, registry):
    assert registry_of(reference) == registry
