"""The smallest environment, and those that HARNESS_TEST_BUILD names, are built and answer a probe.

`.ci/run` names the folders that a commit changes; the whole wardrobe is `harness env build --all`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from harness.environments.provision import Provisioned

SMALLEST = "onnxruntime-1.31"
NAMES = dict.fromkeys([SMALLEST, *os.environ.get("HARNESS_TEST_BUILD", "").split()])


@pytest.mark.parametrize("name", NAMES)
def test_an_image_holds_what_its_lock_says_and_its_backends_start(
    built: Callable[[str], Provisioned], name: str
) -> None:
    made = built(name)
    file = made.env.folder.file if made.env.folder else None
    assert file is not None
    assert made.packages[file.package] == made.env.version
    assert made.image is not None
    for backend in made.env.backends:
        assert made.probe["backends"][backend]["ok"], made.probe["backends"][backend]
