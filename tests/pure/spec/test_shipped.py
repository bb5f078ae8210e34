"""The sweeps that ship: complete but for the model and the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environments.registry import find
from harness.paths import shipped
from harness.plan.feeds import USUAL, feeds_of
from harness.spec.load import load_spec, read_document

OPEN = {"models": [{"path": "/m.onnx", "recipe": "tf"}], "data": {"path": "/images"}}
FILES = sorted(path for path in shipped("sweeps").glob("*.yaml") if path.stem != "quick")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_names_environments_that_there_are_and_can_be_compared_with_the_usual(
    path: Path,
) -> None:
    said = read_document(path)
    spec = load_spec(path, {name: value for name, value in OPEN.items() if name not in said})
    assert spec.name == path.stem
    for entry in spec.environments:
        for name in entry.names:
            offered = find(name).file.backends
            assert set(entry.backends or ()) - {"all"} <= set(offered)
    assert USUAL in feeds_of(spec.axes)
