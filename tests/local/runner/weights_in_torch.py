"""Run inside a PyTorch environment: the real weights, converted, against their ONNX files.

`python weights_in_torch.py MODELS IMAGE… WORK` writes one JSON object on standard output.
`differences`: [architecture, variant, largest difference of the logits to ONNX's reference
evaluator, whether the highest agree]. `converted`: the fields of one whole conversion and the
difference of its program. `refused`: what requests that can't be met were told.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from PIL import Image
from safetensors.torch import save_file

from runner import architectures
from runner.converters import pixels_to_weights, weights_to_torch
from runner.errors import RunnerError
from runner.jobs import ConvertJob
from runner.support import torch_architecture, weights_file, weights_folded

MOBILE = "mobilenet_v2_1.0_224_tf"
SQUEEZE = "squeezenet1.1_224"
REAL = (
    ("mobilenet_v2", MOBILE, ({"padding": "same"}, {"padding": "same", "batch_norm_epsilon": 1e-3},
                              {"padding": "symmetric"}, {})),
    ("resnet50", "resnet50_v1_224_pruned", ({"stride": "first", "max_pool": "ceil"}, {"stride": "first"}, {})),
    ("squeezenet1_1", SQUEEZE, ({},)),
)  # fmt: skip
IMAGENET = {
    "channels": "rgb",
    "divide": 255,
    "subtract": [0.485, 0.456, 0.406],
    "divide_after": [0.229, 0.224, 0.225],
}


def fed(paths: list[str], name: str) -> np.ndarray:
    rows = [np.asarray(Image.open(p).convert("RGB").resize((224, 224)), np.float32) for p in paths]
    x = np.stack(rows)
    if name == "mobilenet_v2":
        x = x / 127.5 - 1
    else:
        x = (x / 255 - np.array(IMAGENET["subtract"])) / np.array(IMAGENET["divide_after"])
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)


def reference(path: Path, x: np.ndarray) -> np.ndarray:
    evaluator = ReferenceEvaluator(onnx.load(path))
    logits: Any = evaluator.run(None, {evaluator.input_names[0]: x})
    return np.asarray(logits[0])


def native(name: str, arrays: Any, variant: dict[str, Any], x: np.ndarray) -> np.ndarray:
    known = architectures.find(name)
    library = torch_architecture.library_of(known, None, tuple(arrays))
    classes = weights_folded.classes_of(arrays, known)
    module = torch_architecture.build(known, library, classes, x.shape[1:], variant)
    torch_architecture.transplant(module, arrays, known)
    with torch.inference_mode():
        return np.asarray(module(torch.from_numpy(x)).numpy())


def job(source: Path, target: Path, **options: Any) -> ConvertJob:
    return ConvertJob(
        str(target.parent), "weights>torch", str(source), "weights", str(target), options, threads=2
    )


def refusals(models: Path, work: Path) -> list[list[str]]:
    known = architectures.find("vit_b_16")
    names = {"heads.head.weight": np.zeros((5, 768), np.float32)}
    np.savez(work / "vit.npz", **names)
    mobile = models / f"{MOBILE}.weights.npz"
    told = []
    for source, options in (
        (mobile, {"architecture": "resnet50"}),
        (mobile, {"architecture": "mobilenet_v2", "variant": {"stride": "first"}}),
        (models / f"{SQUEEZE}.weights.npz", {"architecture": "squeezenet1_1", "library": "timm"}),
        (work / "vit.npz", {"architecture": known.name, "item_shape": [3, 48, 40]}),
        (work / "vit.npz", {"architecture": known.name}),
        (models / f"{SQUEEZE}.weights.npz", {"architecture": "squeezenet1_1", "item_shape": [3, 8, 8]}),
    ):  # fmt: skip
        try:
            weights_to_torch.convert(job(source, work / "refused.pt2", **options))
        except RunnerError as error:
            told.append([error.kind, error.message])
    return told


def state_dicts(arrays: dict[str, np.ndarray], work: Path) -> list[bool]:
    """Whether files that PyTorch itself writes hold the same arrays: zip, legacy, safetensors."""
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    torch.save({"state_dict": state}, work / "zip.pth")
    torch.save(state, work / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, work / "s.safetensors")
    read = [weights_file.read(str(work / n)) for n in ("zip.pth", "legacy.pth", "s.safetensors")]
    return [
        set(one) == set(arrays) and all(np.array_equal(one[n], arrays[n]) for n in arrays)
        for one in read
    ]


def seeds(paths: list[str], work: Path) -> dict[str, Any]:
    rows = [np.asarray(Image.open(p).convert("RGB").resize((64, 64))) for p in paths]
    np.save(work / "pixels.npy", np.stack(rows))
    digests = []
    for number, seed in enumerate((0, 0, 1)):
        target = work / f"seeded{number}.npz"
        options = {
            "architecture": "mobilenet_v2",
            "seed": seed,
            "classes": 30,
            "normalise": IMAGENET,
            "variant": {"padding": "same"},
        }
        source, threads = str(work / "pixels.npy"), 1 + number
        said = pixels_to_weights.convert(
            ConvertJob(str(work), "pixels>weights", source, "pixels", str(target), options, threads)
        )
        digests.append(hashlib.sha256(target.read_bytes()).hexdigest())
        assert said["files"] == {target.name: digests[-1]}
    arrays = weights_file.read(str(work / "seeded0.npz"))
    x = np.stack(rows).astype(np.float32) / 255
    x = (x - np.float32(IMAGENET["subtract"])) / np.float32(IMAGENET["divide_after"])
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    logits = native("mobilenet_v2", arrays, {"padding": "same"}, x)
    return {
        "digests": digests,
        "labels": len(set(logits.argmax(1).tolist())),
        "shape": list(logits.shape),
        "spread": float(logits.std()),
        "names": sorted(arrays) == sorted(set(arrays)) and "classifier.1.weight" in arrays,
        "dtypes": sorted({array.dtype.name for array in arrays.values()}),
    }


def main() -> None:
    models, paths, work = Path(sys.argv[1]), sys.argv[2:-1], Path(sys.argv[-1])
    torch.set_num_threads(2)
    document: dict[str, Any] = {"differences": []}
    for name, file, variants in REAL:
        x = fed(paths[:2], name)
        expected = reference(models / f"{file}.onnx", x)
        arrays = weights_file.read(str(models / f"{file}.weights.npz"))
        for variant in variants:
            got = native(name, arrays, variant, x)
            difference, same = np.abs(got - expected).max(), got.argmax(1) == expected.argmax(1)
            document["differences"].append([name, variant, float(difference), bool(same.all())])
        if name == "mobilenet_v2":
            source, target = models / f"{file}.weights.npz", work / "mobile.pt2"
            said = weights_to_torch.convert(
                job(source, target, architecture=name, variant={"padding": "same"}, batch=2)
            )
            with torch.inference_mode():
                program = torch.export.load(target).module()
                got = program(torch.from_numpy(x)).numpy()
            document["converted"] = [said, float(np.abs(got - expected).max())]
            document["state_dicts"] = state_dicts(arrays, work)
    document["refused"] = refusals(models, work)
    document["seeds"] = seeds(paths, work)
    print(json.dumps(document))


main()
