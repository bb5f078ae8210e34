"""nobuco in its shipped environment: Keras files of exported PyTorch programs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.environment_python import interpreter, run_inside

ENVIRONMENT = "nobuco-0.17"
PROCESSES = (
    (
        *("batch", "layout", "opset", "halves", "inside", "integers", "infinite", "garbled"),
        "network",
    ),
    ("open_nchw",),
    ("unknown",),
)
REFUSED = {
    "batch": ("unsupported", "[2, 3, 13, 11] and [4, 3, 13, 11] was asked for"),
    "layout": ("unsupported", "layout 'chwn' (it supports: nhwc, nchw)"),
    "opset": ("unsupported", "option 'opset'"),
    "unknown": ("unsupported", "nobuco has no converter for aten.special_bessel_j0.default"),
    "halves": ("unsupported", "dtype of the input 'float16' (it supports: float32)"),
    "inside": ("unsupported", "the program holds float16, and nobuco makes layers of float32"),
    "integers": ("unsupported", "dtype of the input 'int32' (it supports: float32)"),
    "infinite": ("model", "infinite.pt2: the program's answers for a seeded input are not finite"),
    "garbled": ("model", "garbled.pt2"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nobuco")


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Any]:
    """How each case ended; a process gets to nobuco once."""
    program = Path(__file__).with_name("nobuco_conversions.py")
    interpreter(ENVIRONMENT)

    def run(place: int) -> dict[str, Any]:
        own = folder / str(place)
        own.mkdir()
        said = run_inside(ENVIRONMENT, program, own, *PROCESSES[place])
        document: dict[str, Any] = json.loads(said.splitlines()[-1])
        return document

    with ThreadPoolExecutor(2) as pool:
        return {
            name: one for done in pool.map(run, range(len(PROCESSES))) for name, one in done.items()
        }


@pytest.mark.parametrize(
    ("name", "takes", "input_axes"),
    [("network", [2, 13, 11, 3], [0, 2, 3, 1]), ("open_nchw", [2, 3, 13, 11], None)],
)
def test_the_file_answers_as_the_program(
    ended: dict[str, Any], name: str, takes: list[int], input_axes: list[int] | None
) -> None:
    said = ended[name]
    assert "message" not in said, said
    assert (said["takes"], said["input_axes"]) == (takes, input_axes)
    assert said["output_axes"] is None
    assert len(said["differences"]) == 2
    assert max(said["differences"]) < 1e-5
    assert said["probe_max_abs_diff"] < 1e-5
    assert list(said["files"]) == [f"{name}.keras"]
    assert said["versions"]["nobuco"] == "0.17.0"
    assert said["versions"]["keras"].startswith("2.")


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_can_not_be_is_refused_and_leaves_no_file(
    ended: dict[str, Any], folder: Path, name: str
) -> None:
    kind, words = REFUSED[name]
    assert ended[name]["kind"] == kind
    assert words in ended[name]["message"]
    assert not list(folder.glob(f"*/{name}.keras*"))


def test_pooling_by_padding_is_pytorchs_own(ended: dict[str, Any]) -> None:
    pools = ended["pools"]
    assert pools["count"] > 150
    assert pools["largest"] < 1e-12
    assert [words.partition(": ")[0] for words in pools["refused"]] == [
        "Keras has no layer for avg_pool2d that leaves padding out of the mean",
        "Keras has no layer for avg_pool2d with a divisor of its own",
        "Keras has no layer for avg_pool2d with ceil_mode, where its last windows reach over the edge",
        "Keras has no layer for max_pool2d with a dilation",
    ]
