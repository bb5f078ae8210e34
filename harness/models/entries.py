"""Entries of the registry: what is known of a checkpoint before its file is looked into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.datasets.recipes import Recipe
from harness.models.checkpoint import Layout, OutputKind
from harness.models.zoo import Accuracy
from harness.paths import cache_dir

Origin = Literal["pretrained", "seeded", "file"]


@dataclass(frozen=True, slots=True)
class CheckpointEntry:
    """A checkpoint that can be named.

    Attributes:
        name: how it is asked for: `mobilenet_v2@keras`, `mobilenet_v2@seeded`, or a person's own.
        origin: `pretrained` (a library's own file), `seeded` (made here, deterministic, never
            trained), `file` (somebody's own).
        architecture: of the zoo; None where nothing is known of it.
        framework: whose names and conventions the weights follow: `torch`, `keras`, or None.
        library: `torchvision`, `timm` or `keras`; None for a person's own.
        format: of the file; None where only the file itself tells.
        recipe: how an image becomes an input; None where nobody said.
        size: height and width of the input in pixels; None where the file tells.
        classes: how many outputs; None where the file tells.
        class_offset: how many outputs stand before class 0.
        output: what the scores are.
        layout: of an image input; None reads it from the file.
        variant: in what the network differs from the library's own; empty for none.
        licence: of code and weights, in words; empty where nobody said.
        url: where the file can be had.
        filename: as the library keeps it.
        repository: of the Hugging Face hub.
        sha256: of the file, 64 hex digits; None where upstream states none.
        sha256_prefix: its beginning, where upstream states only that.
        md5: where upstream states that.
        size_bytes: of the file; of a pretrained one as upstream rounds it.
        accuracy: as published.
        path: where the file is on this machine; None where it is not, or where it has to be made.
        origin_file: the TOML document that says all this; None for what is made here.
        builder: of the network that the file fits, as `torchvision:resnet50`.
        label: the library's name for the training.
        recipe_in_model: what the library's own network computes before its first convolution.
        note: what else a person should know.
    """

    name: str
    origin: Origin
    architecture: str | None = None
    framework: Literal["torch", "keras"] | None = None
    library: str | None = None
    format: str | None = None
    recipe: Recipe | None = None
    size: int | None = None
    classes: int | None = None
    class_offset: int = 0
    output: OutputKind = "auto"
    layout: Layout | None = None
    variant: Mapping[str, str | float] = field(default_factory=dict)
    licence: str = ""
    url: str | None = None
    filename: str | None = None
    repository: str | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    md5: str | None = None
    size_bytes: int | None = None
    accuracy: Accuracy | None = None
    path: Path | None = None
    origin_file: Path | None = None
    builder: str | None = None
    label: str | None = None
    recipe_in_model: Recipe | None = None
    note: str = ""


def seeded_folder(architecture: str) -> Path:
    """Where seeded weights of an architecture are kept: `.npz` files, one a seed and data set."""
    return cache_dir() / "seeded" / architecture
