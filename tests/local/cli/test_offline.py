"""An environment that cannot be installed: its cells fail with the reason, the others go on."""

from __future__ import annotations

import os
from pathlib import Path

from support.command import Harness
from support.small_model import write_inputs, write_model


def test_an_environment_that_cannot_be_installed_fails_alone_and_is_tried_again(
    harness: Harness, tmp_path: Path
) -> None:
    model, inputs = write_model(tmp_path / "m.onnx"), write_inputs(tmp_path / "x.npy")
    arguments = (
        *("sweep", "--model", model, "--inputs", inputs, "--no-timing", "--json"),
        *("--env", "onnxruntime-1.31", "--env", "onnxruntime-1.20"),
    )
    own = tmp_path / "cache"
    built = harness("env", "build", "onnxruntime-1.31", env={"HARNESS_CACHE": str(own)})
    assert built.status == 0, built.err
    offline = {
        "HARNESS_CACHE": str(own),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "UV_HTTP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_FIND_LINKS": "",
    }
    done = harness(*arguments, env=offline)
    assert done.status == 3, done.err
    status = {c["environment"]: c["status"] for c in done.json["cells"]}
    assert status == {"onnxruntime-1.31": "done", "onnxruntime-1.20": "failed"}
    [failure] = done.json["failures"]
    assert failure["kind"] == "environment"
    assert "127.0.0.1:9" in failure["message"]
    again = harness(*arguments, env={"HARNESS_CACHE": str(own)})
    assert again.status == 0, again.err
    status = {c["environment"]: c["status"] for c in again.json["cells"]}
    assert status == {"onnxruntime-1.31": "resumed", "onnxruntime-1.20": "done"}
