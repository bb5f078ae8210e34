"""The quick sweep's own data: seeded images and a small network, made without any download.

The network has the shape of MobileNetV2 and was trained on nothing: its weights are drawn, its
batch norms are fitted on the images, and so is its head. What it is good for is comparing
environments. Its accuracy says nothing about any real model.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from filelock import FileLock
from PIL import Image

from harness.canonical import atomic_folder, sha256_file, storage_errors, write_json
from harness.models import quick_network
from harness.models.quick_head import Head, class_names, fit_head
from harness.models.quick_images import SIDE, TEXTURES, draw_images
from harness.progress import Progress

VERSION = 1
"""Changes whenever the images or the weights do: results of different versions never mix."""

_SEED = 20230612
_FIT_EVERY = 8
_BATCH = 2


@dataclass(frozen=True, slots=True)
class QuickAssets:
    """What the quick sweep runs on.

    Attributes:
        model: an ONNX file (opset 17, IR version 8): input [N, 3, 128, 128], 16 logits.
        images: a folder of 128 PNG files.
        labels: `name index` lines for them, in the same folder.
        classes: the class list, `index<TAB>identifier<TAB>name`.
        recipe: the name of the recipe that the model wants.
    """

    model: Path
    images: Path
    labels: Path
    classes: Path
    recipe: str = "tf"


def make_quick(folder: Path, progress: Progress) -> QuickAssets:
    """Make the quick sweep's images and model below `folder`, or find them there.

    They lie in `folder`/quick-v<version>, which appears whole or not at all; two processes at
    once are safe. Everything follows from a seed; values are kept on coarse grids, so that
    machines whose sums differ in the last bits make the same files (nearly always: the pixels
    by all means, a weight at a grid's edge may fall on the other side). `exact_logits.npy`,
    float64 [N, 16], holds what the model gives without rounding.

    Raises:
        StoreError: the folder cannot be written.
    """
    target = folder / f"quick-v{VERSION}"
    with storage_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".quick-v{VERSION}.lock"):
            if not _is_whole(target):
                for cut in (target, *folder.glob(f".{target.name}.*.staged")):
                    shutil.rmtree(cut, ignore_errors=True)
                with atomic_folder(target) as staged:
                    _make(staged, progress)
    return QuickAssets(
        model=target / "quick.onnx",
        images=target / "images",
        labels=target / "images" / "val_map.txt",
        classes=target / "classes.tsv",
    )


def _is_whole(target: Path) -> bool:
    try:
        sizes = json.loads((target / "quick.json").read_text(encoding="utf-8"))["sizes"]
        return all((target / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _make(staged: Path, progress: Progress) -> None:
    images, textures = draw_images(_SEED)
    edge = (SIDE - quick_network.SIDE) // 2
    inside = slice(edge, edge + quick_network.SIDE)
    inputs = images[:, inside, inside].astype(np.float64) / 127.5 - 1.0
    batches = range(0, len(inputs), _BATCH)
    with progress.task("Making the quick sweep's model", total=len(batches) + 2) as task:
        layers = quick_network.fit_network(inputs[::_FIT_EVERY], _SEED + 1)
        task.advance()
        parts = []
        for start in batches:
            parts.append(quick_network.features(inputs[start : start + _BATCH], layers))
            task.advance()
        features = np.concatenate(parts)
        head = fit_head(features, textures)
        model = quick_network.to_onnx(layers, head.weights, head.bias)
        onnx.checker.check_model(model)
        (staged / "quick.onnx").write_bytes(model.SerializeToString(deterministic=True))
        np.save(staged / "exact_logits.npy", features @ head.weights.T + head.bias)
        _write_images(staged / "images", images, textures, head)
        lines = [f"{i}\tquick-{i:02d}\t{name}\n" for i, name in enumerate(class_names())]
        (staged / "classes.tsv").write_text("".join(lines), encoding="utf-8", newline="\n")
        files = sorted(path for path in staged.rglob("*") if path.is_file())
        names = [path.relative_to(staged).as_posix() for path in files]
        write_json(
            staged / "quick.json",
            {
                "schema_version": 1,
                "version": VERSION,
                "model_sha256": sha256_file(staged / "quick.onnx"),
                "sizes": {n: p.stat().st_size for n, p in zip(names, files, strict=True)},
            },
        )
        task.advance()


def _write_images(
    folder: Path,
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    textures: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    head: Head,
) -> None:
    folder.mkdir()
    lines = []
    for number, (image, texture, label) in enumerate(
        zip(images, textures, head.labels, strict=True)
    ):
        name = f"{number:03d}-{TEXTURES[texture].name}.png"
        Image.fromarray(image).save(folder / name)
        lines.append(f"{name} {label}\n")
    (folder / "val_map.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
