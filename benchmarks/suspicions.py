"""Make and validate what `harness/analysis/suspicions` knows of input mistakes.

    python benchmarks/suspicions.py pixels  --images DIR --work WORK
    PYTHON benchmarks/suspicions.py outputs --work WORK --model NAME=FILE:RECIPE:OFFSET …
    python benchmarks/suspicions.py validate --work WORK
    python benchmarks/suspicions.py make     --work WORK

`pixels` prepares 500 labelled images once. `outputs` runs each model under each mistake; PYTHON
needs NumPy and ONNX Runtime only. RECIPE is `torch` or `tf`. `validate` learns from all models
but one and half of the images, judges the other model over the other half, and prints the table
of docs/suspicions.md. `make` learns from everything and writes suspicion_profiles.npz: statistics
of classes, never an image.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
Change = Callable[[Array], Array]

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
CAFFE = np.array([103.939, 116.779, 123.68], np.float32)
RECIPES: dict[str, Change] = {
    "tf": lambda x: x / 127.5 - 1,
    "torch": lambda x: (x / 255 - MEAN) / STD,
}

SIGNATURES = {
    "bgr": ("bgr",),
    "bgr-balanced": ("bgr-balanced",),
    "grb": ("grb",),
    "transposed": ("transposed", "rotated"),
    "low-contrast": ("unit-range", "low-contrast"),
    "high-contrast": ("high-contrast",),
    "unscaled": ("raw", "no-std"),
    "no-mean": ("no-mean",),
    "noise": ("noise",),
    "blur": ("blur",),
    "jpeg": ("jpeg",),
    "upside-down": ("upside-down",),
    "grey": ("grey",),
}
BENIGN = ("squashed", "whole", "nearest", "mirrored")
EXPECTED = {
    **dict.fromkeys(("healthy", *BENIGN), ""),
    **dict.fromkeys(("noise", "blur", "jpeg", "grey", "upside-down"), ""),
    **dict.fromkeys(("bgr", "bgr-balanced", "grb", "squashed-bgr"), "bgr"),
    **dict.fromkeys(("transposed", "rotated", "squashed-transposed"), "sides-swapped"),
    **dict.fromkeys(
        ("unit-range", "low-contrast", "high-contrast", "raw", "no-std", "no-mean", "other-recipe"),
        "wrong-normalisation",
    ),
    **dict.fromkeys(("normalised-twice", "both-recipes", "caffe"), "wrong-normalisation"),
}
"""What each condition is to be called; "" is nothing. Noise and the like are no mistake of input
preparation: they are shown to see whether they are taken for one."""


def conditions(recipe: str) -> dict[str, tuple[str, Change]]:
    """Each condition: which pixels, and how they become an input."""
    own = RECIPES[recipe]
    other = RECIPES["torch" if recipe == "tf" else "tf"]

    def balanced(x: Array) -> Array:
        swapped = (RECIPES["torch"](x)[..., ::-1] * STD + MEAN) * 255
        return own(np.clip(swapped, 0, 255))

    found: dict[str, tuple[str, Change]] = {
        "healthy": ("base", own),
        "bgr": ("base", lambda x: own(x[..., ::-1])),
        "bgr-balanced": ("base", balanced),
        "grb": ("base", lambda x: own(x[..., [1, 0, 2]])),
        "transposed": ("base", lambda x: own(x.transpose(0, 2, 1, 3))),
        "rotated": ("base", lambda x: own(np.rot90(x, 1, (1, 2)))),
        "unit-range": ("base", lambda x: x / 255),
        "low-contrast": ("base", lambda x: own(x) * 0.3),
        "high-contrast": ("base", lambda x: own(x) * 2.2),
        "raw": ("base", lambda x: x),
        "no-std": ("base", lambda x: x - 127.5 if recipe == "tf" else x / 255 - MEAN),
        "no-mean": ("base", lambda x: x / 127.5 if recipe == "tf" else x / 255 / STD),
        "other-recipe": ("base", other),
        "normalised-twice": ("base", lambda x: own(own(x))),
        "both-recipes": ("base", lambda x: (RECIPES["tf"](x) - MEAN) / STD),
        "caffe": ("base", lambda x: x[..., ::-1] - CAFFE),
        "upside-down": ("base", lambda x: own(x[:, ::-1])),
        "mirrored": ("base", lambda x: own(x[:, :, ::-1])),
        "squashed-bgr": ("squashed", lambda x: own(x[..., ::-1])),
        "squashed-transposed": ("squashed", lambda x: own(x.transpose(0, 2, 1, 3))),
    }
    for name in ("squashed", "whole", "nearest", "noise", "blur", "jpeg", "grey"):
        found[name] = (name, own)
    return found


def pixels(images: Path, work: Path) -> None:
    """Write labels and the variants of the pixels, uint8 [N, 224, 224, 3], below `work`/pixels."""
    from PIL import Image, ImageFilter  # noqa: PLC0415  # not where outputs are made

    from harness.datasets.decode import image_pixels  # noqa: PLC0415
    from harness.datasets.recipes import Geometry  # noqa: PLC0415

    table = (images / "synsets.tsv").read_text(encoding="utf-8").splitlines()[1:]
    index = {line.split("\t")[1]: int(line.split("\t")[0]) for line in table}
    files = sorted((images / "val").glob("*/*.JPEG"))
    folder = work / "pixels"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(work / "labels.npy", np.array([index[f.parent.name] for f in files]))

    def prepared(short: int, method: str) -> Array:
        plan = Geometry(224, 224, short, short, method)
        return np.stack([image_pixels(f, plan) for f in files])

    def each(change: Callable[[Image.Image], Image.Image]) -> Array:
        return np.stack([np.asarray(change(Image.fromarray(row))) for row in base])

    def compressed(image: Image.Image) -> Image.Image:
        stream = BytesIO()
        image.save(stream, "JPEG", quality=10)
        return Image.open(stream)

    def squashed(path: Path) -> Array:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
            return np.asarray(small)

    base = prepared(256, "bilinear")
    noisy = base + np.random.default_rng(0).normal(0, 25, base.shape)
    variants = {
        "base": base,
        "whole": prepared(224, "bicubic"),
        "nearest": prepared(256, "nearest"),
        "squashed": np.stack([squashed(f) for f in files]),
        "noise": np.clip(noisy, 0, 255).astype(np.uint8),
        "blur": each(lambda i: i.filter(ImageFilter.GaussianBlur(2))),
        "jpeg": each(compressed),
        "grey": each(lambda i: i.convert("L").convert("RGB")),
    }
    for name, array in variants.items():
        np.save(folder / f"{name}.npy", array)


def outputs(work: Path, model: str, only: list[str]) -> None:
    """Run one model under every condition, or some; what is there already is left."""
    import onnxruntime  # noqa: PLC0415  # only in this step's environment

    name, _, rest = model.partition("=")
    path, recipe, offset = rest.rsplit(":", 2)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    folder = work / "outputs" / name
    folder.mkdir(parents=True, exist_ok=True)
    for condition, (source, change) in conditions(recipe).items():
        target = folder / f"{condition}.npy"
        if target.exists() or (only and condition not in only):
            continue
        started = time.monotonic()
        images = np.load(work / "pixels" / f"{source}.npy", mmap_mode="r")
        rows = []
        for start in range(0, len(images), 20):
            x = change(images[start : start + 20].astype(np.float32)).transpose(0, 3, 1, 2)
            x = np.ascontiguousarray(x, dtype=np.float32)
            rows.append(session.run(None, {feed: x})[0].reshape(len(x), -1))
        np.save(target, np.concatenate(rows)[:, int(offset) :])
        print(name, condition, f"{time.monotonic() - started:.0f} s", flush=True)


class Outputs:
    """Logits of every model under every condition, [N, 1000]."""

    def __init__(self, work: Path) -> None:
        self.labels = np.load(work / "labels.npy")
        self.folders = {f.name: f for f in sorted((work / "outputs").iterdir())}
        self._scaled: dict[tuple[str, str], Array] = {}

    def has(self, model: str, condition: str) -> bool:
        """Whether it was run."""
        return (self.folders[model] / f"{condition}.npy").exists()

    def logits(self, model: str, condition: str) -> Array:
        """As the model gave them."""
        return np.load(self.folders[model] / f"{condition}.npy")

    def scaled(self, model: str, condition: str) -> Array:
        """Standardised rows."""
        from harness.analysis.suspicions.profiles import standardised  # noqa: PLC0415

        key = (model, condition)
        if key not in self._scaled:
            self._scaled[key] = standardised(self.logits(*key))
        return self._scaled[key]


def learned(made: Outputs, models: list[str], images: Array) -> Any:
    """Profiles from some models over some images."""
    from harness.analysis.suspicions.profiles import learn  # noqa: PLC0415

    def shift(model: str, condition: str) -> Array:
        moved = made.scaled(model, condition)[images] - made.scaled(model, "healthy")[images]
        return moved.mean(axis=0)

    return learn(
        [made.scaled(m, "healthy")[images] for m in models],
        [[shift(m, c) for c in BENIGN if made.has(m, c)] for m in models],
        {
            name: [shift(m, c) for m in models for c in group if made.has(m, c)]
            for name, group in SIGNATURES.items()
        },
    )


def judged(
    made: Outputs, companion: str, count: int, *, labels: bool
) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Model, condition and what is suspected, each model and half of the images held out.

    Args:
        made: the outputs.
        companion: "none", "same" (the model itself, healthy) or "other" (another model, healthy).
        count: images of the half that are judged.
        labels: whether the ground truth is given.
    """
    from harness.analysis.suspicions import Evidence, profiles, suspect  # noqa: PLC0415

    rng = np.random.default_rng(0)
    order = rng.permutation(len(made.labels))
    half = len(order) // 2
    names = list(made.folders)
    shipped = profiles.shipped
    for held in names:
        rest = [m for m in names if m != held]
        for seen, unseen in ((order[:half], order[half:]), (order[half:], order[:half])):
            learned_now = learned(made, rest, seen)
            profiles.shipped = lambda p=learned_now: p  # type: ignore[assignment, misc]
            images = np.sort(rng.choice(unseen, min(count, len(unseen)), replace=False))
            truth = made.labels[images] if labels else None
            beside = {"none": [], "same": [held], "other": rest[:1]}[companion]
            others = [
                (f"healthy {m}", Evidence(made.logits(m, "healthy")[images], labels=truth))
                for m in beside
            ]
            for condition in EXPECTED:
                if made.has(held, condition):
                    cell = Evidence(made.logits(held, condition)[images], labels=truth)
                    found = suspect(cell, others)
                    yield held, condition, [(s.kind, s.confidence) for s in found]
    profiles.shipped = shipped


def validate(work: Path) -> None:
    """Print what is named, condition by condition, and the sums."""
    made = Outputs(work)
    for companion, count, labels in (
        *(("none", 250, False), ("none", 100, True), ("none", 100, False)),
        *(("same", 100, True), ("other", 100, True), ("none", 20, False)),
    ):
        print(f"\n{count} images, companion {companion}, labels {'yes' if labels else 'no'}")
        table: dict[tuple[str, str], list[str]] = {}
        right = total = accused = harmless = 0
        for model, condition, found in judged(made, companion, count, labels=labels):
            named = {kind for kind, _ in found if kind != "low-accuracy"}
            said = ", ".join(f"{kind} ({sure})" for kind, sure in found) or "-"
            table.setdefault((condition, model), []).append(said)
            expected = EXPECTED[condition]
            if expected:
                total, right = total + 1, right + (expected in named)
            elif condition in {"healthy", *BENIGN}:
                harmless, accused = harmless + 1, accused + bool(named)
        for (condition, model), said in sorted(table.items()):
            print(f"  {condition:20s} {model:12s} {' | '.join(dict.fromkeys(said))}")
        print(f"named {right} of {total} mistakes; accused {accused} of {harmless} healthy cells")


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["pixels", "outputs", "validate", "make"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--condition", action="append", default=[], help="only these outputs")
    options = parser.parse_args()
    if options.step == "pixels":
        pixels(options.images, options.work)
    elif options.step == "outputs":
        for model in options.model:
            outputs(options.work, model, options.condition)
    elif options.step == "validate":
        validate(options.work)
    else:
        from harness.analysis.suspicions import profiles  # noqa: PLC0415

        made = Outputs(options.work)
        every = np.arange(len(made.labels))
        target = Path(profiles.__file__).parent.parent / "suspicion_profiles.npz"
        profiles.save(learned(made, list(made.folders), every), target)
        print(f"{target}: {target.stat().st_size / 2**10:.0f} KiB")


if __name__ == "__main__":
    main()
