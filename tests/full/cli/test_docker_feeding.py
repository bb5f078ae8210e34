"""Pixels made and corrupted in containers: the same as in a venv, and nothing is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.command import Harness

from harness.containers.engine import Engine
from harness.containers.strays import OWNER


def answers(result: dict[str, Any]) -> dict[tuple[str, str], bytes]:
    return {
        (cell["preprocessing"], cell["corruption"]): (
            Path(cell["path"]) / "logits.npy"
        ).read_bytes()
        for cell in result["cells"]
    }


def test_side_jobs_run_in_containers_and_give_the_bits_of_a_venv(
    harness: Harness, engine: Engine, real_data: Path, tmp_path: Path
) -> None:
    # Links lead out of the folder of images: a container sees none of them, and gets copies.
    images = tmp_path / "images"
    images.mkdir()
    for file in sorted((real_data / "data/imagenet-sample/val").glob("*/*.JPEG"))[:6]:
        (images / file.name).symlink_to(file)
    asked: tuple[object, ...] = (
        *("sweep", "--model", real_data / "models/mobilenet_v2_1.0_224_tf.onnx"),
        *("--recipe", "tf", "--class-offset", 1, "--data", images, "--env", "onnxruntime-1.31"),
        *("--preprocessing", "reference", "--preprocessing", "opencv", "--no-timing", "--json"),
        *("--corruption", "none", "--corruption", "gaussian_noise:2"),
    )
    found = {}
    for executor in ("docker", "venv"):
        done = harness(*asked, "--executor", executor, "--store", tmp_path / executor)
        assert done.status == 0, done.err
        assert {c["prepared_in"] for c in done.json["cells"]} == {None, "imaging-13.0"}
        found[executor] = answers(done.json)
    assert found["docker"] == found["venv"]
    assert len(set(found["docker"].values())) == 4
    left = engine.client.containers.list(all=True, filters={"label": f"{OWNER}.pid"})
    assert [one.name for one in left] == []
