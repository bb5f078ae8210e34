"""A seeded sample of a dataset, spread over its classes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from itertools import chain, zip_longest

from harness.datasets.dataset import Dataset, Item
from harness.errors import DatasetError


def limit(dataset: Dataset, n: int, seed: int = 0) -> Dataset:
    """At most `n` images of a dataset, in its own order.

    Classes take turns in a seeded order, each giving its images in a seeded order, so the sample
    is spread as evenly as it can be, and a smaller sample lies inside a larger one. The order
    comes from hashes of seed and path: equal on every machine and for every version of Python.

    Raises:
        DatasetError: `n` is not positive.
    """
    if n < 1:
        raise DatasetError(f"A sample of {n} images is empty.", "Give --limit 1 or more.")
    if n >= len(dataset.items):
        return dataset
    by_class: dict[int | None, list[Item]] = defaultdict(list)
    for item in dataset.items:
        by_class[item.label].append(item)
    order = sorted(by_class, key=lambda label: _rank(seed, f"class {label}"))
    queues = [sorted(by_class[c], key=lambda item: _rank(seed, item.path)) for c in order]
    turns = chain.from_iterable(zip_longest(*queues))
    chosen = [item for item in turns if item is not None][:n]
    keep = {item.path for item in chosen}
    return replace(dataset, items=tuple(item for item in dataset.items if item.path in keep))


def _rank(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}:{text}".encode()).digest()
