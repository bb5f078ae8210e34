"""An engine that only knows images: for what decides by them."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import docker.errors

from harness.containers.engine import EngineInfo


class FakeImages:
    """Keeps images by id with their tags and labels; used as an `Engine`."""

    def __init__(self) -> None:
        self.info = EngineInfo("docker", "1", "1.41", "unix:///fake.sock", architecture="x86_64")
        self.client = SimpleNamespace(images=self, api=self)
        self.held: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)

    def add(
        self,
        *tags: str,
        labels: dict[str, str] | None = None,
        layers: tuple[str, ...] = (),
        size: int = 100,
    ) -> str:
        """Put an image in, take its tags from others, and give its id."""
        number = next(self._numbers)
        identity = f"sha256:{number:064x}"
        self.held[identity] = {
            "Id": identity,
            "Created": number,
            "RepoTags": [],
            "Config": {"Labels": labels or {}},
            "RootFS": {"Layers": list(layers or (f"layer-{number}",))},
            "Size": size,
        }
        for tag in tags:
            self.tag(identity, *tag.split(":"))
        return identity

    def get(self, reference: str) -> SimpleNamespace:
        """An image by id or tag."""
        for identity, image in self.held.items():
            if reference == identity or reference in image["RepoTags"]:
                return SimpleNamespace(attrs=image)
        raise docker.errors.ImageNotFound(reference)

    def images(self, filters: dict[str, str]) -> list[dict[str, Any]]:
        """Those with a label (`key` or `key=value`)."""
        key, equals, value = filters["label"].partition("=")
        return [
            image
            for image in self.held.values()
            if key in image["Config"]["Labels"]
            and (not equals or image["Config"]["Labels"][key] == value)
        ]

    def tag(self, reference: str, repository: str, tag: str, *, force: bool = True) -> None:
        """Give a tag, taking it from another image, which has to be forced."""
        assert force
        name = f"{repository}:{tag}"
        for image in self.held.values():
            image["RepoTags"] = [one for one in image["RepoTags"] if one != name]
        self.get(reference).attrs["RepoTags"].append(name)

    def remove_image(self, reference: str) -> None:
        """Remove a tag, and the image with its last one."""
        image = self.get(reference).attrs
        image["RepoTags"] = [one for one in image["RepoTags"] if one != reference]
        if not image["RepoTags"]:
            del self.held[image["Id"]]
