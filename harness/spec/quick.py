"""The quick sweep: what runs when nothing is said, on a model and images made on the spot."""

from __future__ import annotations

import yaml

from harness.models.synthetic import make_quick
from harness.paths import cache_dir, shipped
from harness.progress import Progress
from harness.spec.load import check_spec
from harness.spec.models import SweepSpec

QUICK = "quick"


def quick_spec(progress: Progress) -> SweepSpec:
    """The shipped `sweeps/quick.yaml` with the model and images that are made for it."""
    path = shipped("sweeps") / f"{QUICK}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assets = make_quick(cache_dir() / "quick", progress)
    document["models"] = [
        {"path": str(assets.model), "name": "quick-model", "recipe": assets.recipe}
    ]
    document["data"] = {
        "path": str(assets.images),
        "synsets": str(assets.classes),
        "labels": str(assets.labels),
    }
    return check_spec(document, str(path))
