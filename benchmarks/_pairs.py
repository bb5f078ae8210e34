"""Sweeps of two cells whose true ratio of times is known, and what is said of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import _common

ENVIRONMENT = "onnxruntime-1.31"
BACKEND = "onnxruntime.paced"
IMAGES = 4
LEVELS: Mapping[str, Any] = {
    "name": ENVIRONMENT,
    "settings": [{"graph_optimization_level": level} for level in ("all", "disabled")],
}
"""The environment of a pair: all graph optimisations, and none."""

QUICK = {
    "rounds": 2,
    "round_seconds": 0.05,
    "min_seconds": 0,
    "min_queries": 1,
    "warmup_seconds": 0.1,
}
"""Timing that shows that a benchmark works, and nothing else."""

MODEL = "models/squeezenet1.1_224.onnx"
_DOC_STRING = 6 << 3 | 2
"""Of ModelProto, field 6, a string (onnx.proto; the wire format of protobuf)."""

_INVALID_OR_FAILED = 3


@dataclass(frozen=True)
class Said:
    """What a sweep says of the times of its second cell against its first.

    Attributes:
        verdict: faster | slower | no-difference | unknown.
        estimate: t_b / t_a with its interval.
        floor: the noise floor, a relative size.
        valid: whether the session may be believed.
        reasons: why not: kinds and messages.
    """

    verdict: str
    estimate: _common.Estimate
    floor: float
    valid: bool
    reasons: tuple[tuple[str, str], ...]

    def meets(self, truth: _common.Estimate) -> bool:
        """Whether the two intervals overlap, give or take the floor."""
        wider = 1 + self.floor
        return self.estimate.low / wider <= truth.high and truth.low <= self.estimate.high * wider

    @property
    def state(self) -> str:
        """VALID, or INVALID with the kinds of its reasons."""
        kinds = ", ".join(sorted({kind for kind, _ in self.reasons}))
        return "VALID" if self.valid else f"INVALID ({kinds})"

    def __str__(self) -> str:
        return f"{self.verdict}, {self.estimate}, floor {self.floor:.1%}, {self.state}"


def paced_interpreter(folder: Path) -> Path:
    """An interpreter that has all of ONNX Runtime's environment, and the backend of `loops/paced.py`.

    Args:
        folder: where its virtual environment is made.
    """
    theirs = _common.interpreter(ENVIRONMENT)
    subprocess.run([theirs, "-m", "venv", "--without-pip", folder], check=True)
    own = _packages(folder)
    (own / "theirs.pth").write_text(f"{_packages(theirs.parent.parent)}\n")
    info = own / "paced-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paced\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[harness.backends]\n{BACKEND} = paced\n")
    (own / "paced.py").write_text((_common.LOOPS / "paced.py").read_text(encoding="utf-8"))
    return folder / "bin" / "python"


def _packages(venv: Path) -> Path:
    (found,) = venv.glob("lib/python3*/site-packages")
    return found


def paced(python: Path, second: str) -> dict[str, Any]:
    """The environment of a pair: as it is, and at another pace."""
    return {
        "name": f"python:{python}",
        "backends": [BACKEND],
        "settings": [{"pace": "own"}, {"pace": second}],
    }


def sweep_of(
    environment: Mapping[str, Any],
    timing: Mapping[str, Any],
    folder: Path,
    copies: int = 1,
    **more: Any,
) -> str:
    """The sweep file of a pair: SqueezeNet, a few photographs, batch 1.

    Args:
        environment: its one environment, with the settings of both cells.
        timing: how it is timed.
        folder: where copies of the model are made.
        copies: models that differ in a word of documentation: a pair and a session each.
        more: other keys of the file.
    """
    document = {
        "schema_version": 1,
        "name": "pairs",
        "models": [
            {"path": str(_copy(folder, number)), "recipe": "torch", "name": f"squeezenet-{number}"}
            for number in range(copies)
        ],
        "data": {"path": str(_common.data("data/imagenet-sample/val")), "limit": IMAGES},
        "environments": [dict(environment)],
        "executor": ["venv"],
        "timing": dict(timing),
        **more,
    }
    return json.dumps(document)


def _copy(folder: Path, number: int) -> Path:
    """The model with a `doc_string`: fields of a protobuf message may come in any order."""
    word = f"copy {number}".encode()
    copy = folder / f"squeezenet-{number}.onnx"
    copy.write_bytes(_common.data(MODEL).read_bytes() + bytes([_DOC_STRING, len(word)]) + word)
    return copy


def run(
    sweep: str, folder: Path, beside: Callable[[Path, subprocess.Popen[str]], None] | None = None
) -> list[Said]:
    """Run it in a fresh store, and give what is said of each pair.

    Args:
        sweep: the sweep file's text.
        folder: an empty folder.
        beside: what is done while it runs, given the file of its events and its process.
    """
    file, events = folder / "sweep.yaml", folder / "events.jsonl"
    file.write_text(sweep, encoding="utf-8")
    arguments = ["sweep", str(file), "--store", str(folder / "store"), "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._recorded", str(events), *arguments],
        stdout=subprocess.PIPE,
        stderr=(folder / "said.txt").open("w"),
        text=True,
        cwd=_common.REPOSITORY,
    ) as process:
        if beside is not None:
            beside(events, process)
        out, _ = process.communicate()
    if process.returncode not in (0, _INVALID_OR_FAILED):
        sys.exit(
            f"The sweep failed with {process.returncode}:\n{(folder / 'said.txt').read_text()}"
        )
    pairs = json.loads(out)["pairs"]
    # Of different models, or of a cell and its control, nothing is asked here.
    return [said_of(pair) for pair in pairs if pair["time_session"] and pair["time_verdict"]]


def said_of(pair: Mapping[str, Any]) -> Said:
    """What a pair's document says of its times."""
    told = pair["time_verdict"]
    return Said(
        verdict=told["verdict"],
        estimate=_common.Estimate(told["ratio"], told["low"], told["high"]),
        floor=told["floor"],
        valid=told["valid"] is True,
        reasons=tuple((reason["kind"], reason["message"]) for reason in told["reasons"]),
    )
