"""When a sweep proves what its models are compiled to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.plan.proof import wants_forms
from harness.plan.wishes import Wishes


def _cell(backend: str = "onnxruntime", optimise: str = "none", **settings: object) -> object:
    return SimpleNamespace(backend=backend, settings=settings, wishes=Wishes(optimise=optimise))


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([_cell(), _cell()], False),
        ([_cell(), _cell(level="all")], True),
        ([_cell(), _cell(backend="tvm", level="all")], False),
        ([_cell(), _cell(optimise="onnxsim")], True),
        ([_cell(optimise="onnxsim"), _cell(optimise="onnxsim")], False),
    ],
)
def test_forms_are_told_where_settings_or_optimisers_of_one_backend_differ(
    cells: list[object], wanted: bool
) -> None:
    assert wants_forms(SimpleNamespace(fingerprint=None), cells) is wanted
    assert wants_forms(SimpleNamespace(fingerprint=True), cells) is True
    assert wants_forms(SimpleNamespace(fingerprint=False), cells) is False
