"""Bad conversions of really trained weights, found by whoever sweeps over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command import Harness
from support.planted_tensorflow import python_with_planted_converters

COUNT = 8


def failures(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Failures by the route of their cell."""
    routes = {cell["key"]: cell["route"] for cell in result["cells"]}
    return {routes[failure["key"]]: failure for failure in result["failures"]}


@pytest.fixture
def sweep_file(tmp_path: Path, real_data: Path) -> Path:
    """The same weights to TensorFlow Lite by the right way and by three that go wrong."""
    python = python_with_planted_converters(tmp_path / "planted")
    document = {
        "models": [
            {
                "path": str(real_data / "models/mobilenet_v2_1.0_224_tf.weights.npz"),
                "name": "mobilenet",
                "architecture": "mobilenet_v2",
                "recipe": "tf",
                "class_offset": 1,
            }
        ],
        "data": {"path": str(real_data / "data/imagenet-sample/val"), "limit": COUNT},
        "environments": [f"python:{python}"],
        "backends": ["tflite"],
        "axes": {
            "route": [
                "keras>tflite",
                "keras>tflite:naive",
                "keras>tflite:hanging",
                "keras>keras:forgetful>tflite",
            ]
        },
        "timing": {"enabled": False},
        "conversions": {"timeout_seconds": 90},
    }
    path = tmp_path / "planted.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_silent_nan_hanging_and_a_fault_amid_a_chain_are_named_and_the_rest_goes_on(
    harness: Harness, sweep_file: Path
) -> None:
    done = harness("sweep", sweep_file, "--executor", "venv", "--json")
    assert done.status == 3, done.err
    found = failures(done.json)
    assert set(found) == {
        "weights>keras>tflite:naive",
        "weights>keras>tflite:hanging",
        "weights>keras>keras:forgetful>tflite",
    }
    naive = found["weights>keras>tflite:naive"]
    assert naive["kind"] == "conversion"
    assert "step 2, keras>tflite:naive in python:" in naive["message"]
    assert "Output 0 is NaN for image 0" in naive["message"]
    hanging = found["weights>keras>tflite:hanging"]
    assert hanging["kind"] == "timeout"
    assert "step 2, keras>tflite:hanging in python:" in hanging["message"]
    forgetful = found["weights>keras>keras:forgetful>tflite"]
    assert forgetful["kind"] == "disagreement"
    assert "step 2, keras>keras:forgetful in python:" in forgetful["message"]
    [right] = [c for c in done.json["cells"] if c["status"] == "done"]
    assert (right["route"], right["top1"]) == ("weights>keras>tflite", 1.0)
    again = harness("sweep", sweep_file, "--executor", "venv", "--json")
    assert "Converting" not in again.err
    assert [c["status"] for c in again.json["cells"] if c["key"] == right["key"]] == ["resumed"]
