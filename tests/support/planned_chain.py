"""A chain of two conversions, onnx>keras>tflite, planned over environments that are not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.execution.documents import GroupDocument
from harness.execution.executors.base import Poll
from harness.plan.build import build_plan
from harness.plan.cells import Cell
from harness.plan.feeds import USUAL, CellInputs, Feeds
from harness.plan.parts import DeviceHere, Place, Stack, Subject, Workshop
from harness.spec.load import check_spec
from harness.spec.models import SweepSpec

MAKER = Workshop(
    "maker",
    "identity-of-maker",
    "venv",
    {"onnx>keras": (), "keras>tflite": ("quantisation",)},
    {"keras.predict": ("keras",), "onnxruntime": ("onnx",)},
)


def spec(**more: Any) -> SweepSpec:
    document = {
        "models": [{"path": "m.onnx"}],
        "inputs": {"path": "x.npy"},
        "environments": [{"name": "reader", "route": ["onnx>keras>tflite"]}],
        "timing": {"enabled": False},
        **more,
    }
    return check_spec(document, "test")


def cell(of: SweepSpec) -> Cell:
    """The one cell of the sweep."""
    fed = CellInputs("p", "i", "array", None, None, raw_quantised=False)
    subject = Subject("m", Path("m.onnx"), "onnx", "sha", 0, "auto", Feeds({USUAL: fed}))
    reader = Stack(
        entry=of.environments[0],
        name="reader",
        stack="litert",
        version="1",
        identity="identity-of-reader",
        formats={"tflite": ("tflite",)},
        converters={},
        executor="venv",
    )
    place = Place("runner", {"cpu": DeviceHere("cpu", "A CPU")})
    [one] = build_plan(of, [subject], [reader], place, [MAKER]).cells
    return one


def converted(folder: Path, name: str, content: bytes = b"model") -> dict[str, Any]:
    """The event `converted` of a file that is written for it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return {
        "files": {name: hashlib.sha256(content).hexdigest()},
        "versions": {"tool": "1"},
        "probe_max_abs_diff": None,
        "input_axes": [0, 2, 3, 1],
        "output_axes": None,
    }


class PlantedConductor:
    """Makes every conversion of a group at once, but for those that are to fail.

    Args:
        fail: what a converter says, by its name.
        share: what the check of each finds.
        silent: end without a word.
    """

    def __init__(
        self, fail: Mapping[str, str] | None = None, *, share: float = 0.001, silent: bool = False
    ) -> None:
        self.groups: list[GroupDocument] = []
        self._fail, self._share, self._silent = fail or {}, share, silent
        self._told = 0

    def submit(self, group: GroupDocument) -> str:
        self.groups.append(group)
        group.results.mkdir(parents=True)
        (group.results / "conductor.log").write_text("a last word\n")
        return str(group.results)

    def poll(self, _name: str, _timeout_s: float) -> Poll:
        group = self.groups[-1]
        if self._silent or self._told == len(self.groups):
            return Poll((), running=False, exit_status=0)
        self._told = len(self.groups)
        return Poll(tuple(json.loads(json.dumps(self._events(group)))), running=True)

    def cancel(self, _name: str) -> None:
        raise AssertionError("nothing is to be cancelled")

    def fetch(self, name: str) -> Path:
        return Path(name)

    def _events(self, group: GroupDocument) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        broken: dict[str, str] = {}
        for task in group.conversions:
            events.append({"event": "converting", "key": task.key, "label": task.label})
            folder = group.results / "artifacts" / task.key
            said = self._fail.get(task.job["converter"], broken.get(task.source or "", ""))
            if said:
                broken[task.key] = said
                folder.mkdir(parents=True)
                (folder / "log.txt").write_text(f"log of {task.job['converter']}")
                events.append(
                    {
                        "event": "not-converted",
                        "key": task.key,
                        "kind": "conversion",
                        "message": f"{task.label}: {said}",
                        "detail": "",
                        "exit_status": None,
                        "signal": None,
                        "limits": {},
                    }
                )
                continue
            check = {
                "images": 4,
                "max_abs_diff": 0.5,
                "share": self._share,
                "tolerance": 0.01,
                "source": "a",
                "target": "b",
                "note": "",
            }
            events += [
                {"event": "checking", "label": "b"},
                {
                    "event": "converted",
                    "key": task.key,
                    "folder": str(folder),
                    "result": converted(folder, task.job["target"], task.label.encode()),
                    "check": check,
                },
            ]
        return events
