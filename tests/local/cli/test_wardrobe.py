"""Every stack that ships for the CPU, with every backend, on really trained weights."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from support.command import Harness

from harness.environments.folders import read_folder
from harness.paths import shipped

COUNT = 12
# float32 differs in the sixth digit from stack to stack; the logits go up to 20.
ROUNDING = 1e-4


def wardrobe() -> dict[str, set[str]]:
    """The environments of the shipped sweep, each with the backends that it asks for."""
    document = yaml.safe_load((shipped("sweeps") / "wardrobe.yaml").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {}
    for entry in document["environments"]:
        named = entry["name"] if isinstance(entry, dict) else entry
        name = named if isinstance(named, str) else named[0]
        backends = list(read_folder(shipped("images") / name).file.backends)
        everything = isinstance(entry, dict) and entry.get("backends") == ["all"]
        found.setdefault(name, set()).update(backends if everything else backends[:1])
    return found


CONVERTING = {
    *("tf2onnx-1.17", "onnx-1.23", "onnx2tf-1.29", "nobuco-0.17", "litert-torch-0.10"),
    *("torch-importers-2.13", "onnxoptimizer-0.4", "onnxsim-0.8"),
}
"""Environments that convert, and have backends to check what they made."""


def test_the_shipped_sweep_names_every_environment_for_the_cpu() -> None:
    for path in shipped("images").glob("*/env.toml"):
        file = read_folder(path.parent).file
        if not file.backends or path.parent.name in CONVERTING:
            continue
        if file.accelerator == "cpu" and path.parent.name != "onnxruntime-1.20":
            assert set(file.backends) == wardrobe()[path.parent.name], path.parent.name


def test_every_backend_gives_the_labels_of_onnx_runtime(harness: Harness, real_data: Path) -> None:
    done = harness(
        *("sweep", "wardrobe", "--model", real_data / "models/mobilenet_v2_1.0_224_tf.onnx"),
        *("--recipe", "tf", "--class-offset", 1, "--limit", COUNT),
        *("--data", real_data / "data/imagenet-sample/val"),
        *("--synsets", real_data / "data/imagenet-sample/synsets.tsv"),
        *("--executor", "venv", "--no-timing", "--json"),
    )
    assert done.status == 0, done.err
    result = done.json
    assert result["failures"] == result["skipped"] == result["problems"] == []
    ran: dict[str, set[str]] = {}
    for cell in result["cells"]:
        assert (cell["status"], cell["images"]) == ("done", COUNT)
        ran.setdefault(cell["environment"], set()).add(cell["backend"])
    assert ran == wardrobe()
    against = [pair for pair in result["pairs"] if pair["agreement"] is not None]
    assert len(against) == len(result["cells"]) - 1
    for pair in against:
        assert pair["flips"] == 0, pair
        assert pair["max_abs_diff"] < ROUNDING, pair


def test_a_kernel_that_is_asked_for_is_the_one_that_runs(
    harness: Harness, real_data: Path, tmp_path: Path
) -> None:
    settings = [{"kernels": kernels} for kernels in ("xnnpack", "builtin", "reference")]
    document = {
        "models": [
            {
                "path": str(real_data / "models/mobilenet_v2_1.0_224_tf_int8_ptq.tflite"),
                "class_offset": 1,
            }
        ],
        "environments": [{"name": "litert-2.3", "settings": settings}],
    }
    sweep = tmp_path / "kernels.yaml"
    sweep.write_text(yaml.safe_dump(document), encoding="utf-8")
    done = harness(
        *("sweep", sweep, "--limit", COUNT, "--data", real_data / "data/imagenet-sample/val"),
        *("--synsets", real_data / "data/imagenet-sample/synsets.tsv", "--no-timing", "--json"),
    )
    assert done.status == 0, done.err
    taken = {}
    for cell in done.json["cells"]:
        answers = tmp_path / cell["path"] / "answers.json"
        ran = json.loads(answers.read_text(encoding="utf-8"))["ran"]
        taken[cell["settings"]["kernels"]] = {
            kind.rpartition("(")[2].rstrip(")") for kind in ran["operators"]
        }
    assert "xnnpack" in taken["xnnpack"]
    assert "xnnpack" not in taken["builtin"] | taken["reference"]
