"""Seeded weights: an architecture that nobody trained, made to answer like one that somebody did."""

from __future__ import annotations

import uuid
from pathlib import Path

from filelock import FileLock

from harness.canonical import key_of, storage_errors
from harness.containers.engine import Engine
from harness.containers.limits import Limits
from harness.datasets.dataset import Dataset
from harness.datasets.layouts import discover
from harness.datasets.pixels import prepare
from harness.datasets.recipes import load_recipe, normalisation
from harness.datasets.sample import limit as sample
from harness.environments.environment import Executor
from harness.environments.registry import folders, resolve
from harness.errors import ExecutionError, ModelError
from harness.execution.side_jobs import Bench, side_job, take
from harness.execution.workshops import able
from harness.models.entries import CheckpointEntry, seeded_folder
from harness.models.zoo import architecture_facts
from harness.paths import cache_dir, runner_tree
from harness.progress import Progress

IMAGES = 128
CLASSES = 1000
_SCHEMA_VERSION = 1
_SEEDS = "pixels>weights"


def make_seeded(
    entry: CheckpointEntry,
    data: Path | Dataset,
    *,
    progress: Progress,
    limit: int = IMAGES,
    seed: int = 0,
    classes: int = CLASSES,
    executor: Executor = "venv",
    engine: Engine | None = None,
    limits: Limits = Limits(),  # noqa: B008 - a frozen value
) -> Path:
    """The weights of a seeded checkpoint, made once and kept in the cache.

    Random weights by `seed`; batch-norm statistics and the head are fitted on images, so that
    labels spread and margins vary. They are named by PyTorch's names, in a `.npz`.

    The weights depend on the images that are given: those fetched beforehand are a sweep's own
    only for the same images, seed and classes.

    Args:
        entry: which architecture.
        data: images, or a folder of them.
        progress: where it reports to.
        limit: how many images are used, a seeded sample.
        seed: of the weights and of the sample.
        classes: how many outputs.
        executor: how the environment that makes them is run.
        engine: for `docker`.
        limits: what its container may use.

    Raises:
        ModelError: no environment makes weights, or it failed.
        DatasetError, ProvisionError, EngineError, StoreError: as they say.
    """
    if entry.architecture is None:
        raise ModelError(f"{entry.name} names no architecture, so no weights can be seeded for it.")
    facts = architecture_facts(entry.architecture)
    recipe = entry.recipe or load_recipe("torch")
    seeder = next((one for one in able(folders(), "venv") if _SEEDS in one.converters), None)
    if seeder is None:
        raise ModelError(
            "No environment offers the converter pixels>weights, which seeds weights.",
            "torch-2.13 ships with the harness: HARNESS_IMAGES may hide it.",
        )
    env = resolve(seeder.name, progress=progress, executor=executor, engine=engine)
    images = data if isinstance(data, Dataset) else discover(data, progress=progress)
    dataset = sample(images, limit, seed)
    size = entry.size or facts.size
    pixels = prepare(dataset, recipe, size, size, cache_dir(), progress)
    options = {
        "architecture": entry.architecture,
        "seed": seed,
        "classes": classes,
        "variant": dict(entry.variant),
        "normalise": normalisation(recipe),
    }
    key = key_of(
        {
            "schema_version": _SCHEMA_VERSION,
            "pixels": pixels.key,
            "environment": env.identity,
            "runner": runner_tree()[1],
            "options": options,
        }
    )
    made = seeded_folder(entry.architecture) / f"{key[:16]}.npz"
    job = {
        "schema_version": 1,
        "kind": "convert",
        "converter": "pixels>weights",
        "source": {"path": str(pixels.path), "format": "pixels"},
        "target": "weights.npz",
        "options": options,
    }
    with storage_errors(made):
        made.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(made.with_suffix(".lock")):
            if not made.is_file():
                _make(Bench(env, engine, limits), job, made, entry.name, progress)
    return made


def _make(bench: Bench, job: dict[str, object], made: Path, name: str, progress: Progress) -> None:
    folder = made.with_name(f".{made.stem}.{uuid.uuid4().hex[:6]}.job")
    title = f"Seeding {name} in {bench.env.name}"
    try:
        with side_job(bench, job, "converted", folder, progress, title=title):
            take(folder / "weights.npz", made)
    except ExecutionError as error:
        raise ModelError(f"{title} failed: {error.message}", error.remedy) from error
