"""A conversion that failed in one group is not tried again by those after it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from harness.execution.collect import Collector
from harness.execution.groups import Groups
from harness.execution.resolve import Resolved
from harness.execution.standing import Work
from harness.execution.workspace import Workspace
from harness.plan.build import build_plan
from harness.plan.feeds import USUAL, CellInputs, Feeds
from harness.plan.groups import Group
from harness.plan.parts import DeviceHere, Place, Stack, Subject
from harness.progress import SilentProgress
from harness.spec.load import check_spec
from harness.spec.models import SweepSpec

SPEC = check_spec(
    {
        "models": [{"path": "m.onnx", "recipe": "tf"}],
        "data": {"path": "images"},
        "environments": [{"name": "t", "threads": [1, 2]}],
    },
    "test",
)


def cells(spec: SweepSpec) -> list[Any]:
    inputs = CellInputs("p", "i", "pixels", None, "NCHW", raw_quantised=False)
    subject = Subject("m", Path("m.onnx"), "onnx", "sha", 0, "auto", Feeds({USUAL: inputs}))
    stack = Stack(
        entry=spec.environments[0],
        name="t",
        stack="torch",
        version="2",
        identity="e",
        formats={"torch.eager": ("pt2",)},
        converters={"onnx>torch": ()},
        executor="venv",
    )
    place = Place("runner", {"cpu": DeviceHere("cpu", "A CPU")})
    return list(build_plan(spec, [subject], [stack], place).cells)


def test_the_cells_of_later_groups_fail_for_the_same_reason(tmp_path: Path) -> None:
    first, second = cells(SPEC)
    assert first.conversion.key == second.conversion.key
    collector = Collector(
        store=tmp_path,
        unanswered=frozenset({first.key}),
        limits=SPEC.limits,
        cells={first.key: first},
        provisioned={},
        inputs={},
        progress=SilentProgress(),
        note_worker=lambda _: None,
    )
    collector.on(
        {
            "event": "not-converted",
            "key": first.conversion.key,
            "kind": "timeout",
            "message": "gave no sign of life",
            "detail": "",
            "exit_status": None,
            "signal": None,
            "limits": {"conversions.timeout_seconds": 9.0},
        }
    )
    resolved = cast("Resolved", SimpleNamespace(stacks=SimpleNamespace(ready={})))
    space = cast("Workspace", SimpleNamespace(path=tmp_path, owner=None))
    run = Groups(SPEC, tmp_path, SilentProgress(), resolved, space, cast("Any", None))
    run._broken.update(collector.broken)
    group = Group((second,), None, None)
    left = run._available(Work(group, (second,), frozenset({second.key}), timed=False))
    assert left == []
    assert run.failures[second.key].kind == "timeout"
    [kept] = (tmp_path / "attempts" / second.key).iterdir()
    assert "no sign of life" in json.loads((kept / "attempt.json").read_text())["message"]
