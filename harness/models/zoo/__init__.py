"""The zoo: what is known of the ten architectures, one TOML document each, beside this module.

A document holds what the framework libraries themselves state: builders, input recipes, the files
of their pretrained weights, and where their networks of one name differ (`variants`). A test reads
the facts again out of the libraries' sources.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from harness.datasets.recipes import PRESETS, Recipe
from harness.errors import ModelError

_FOLDER = Path(__file__).parent
LIBRARIES: Mapping[str, Literal["torch", "keras"]] = MappingProxyType(
    {"torchvision": "torch", "timm": "torch", "keras": "keras"}
)
"""Where pretrained weights come from, and the framework of each."""
LICENCES: Mapping[str, str] = MappingProxyType(
    {
        "torchvision": "code BSD-3-Clause; the weights may have terms of their own, derived from "
        "the data they were trained on (torchvision says so and names none); ImageNet is for "
        "non-commercial research",
        "timm": "code and weights Apache-2.0 by timm's own field; timm advises to assume that "
        "ImageNet's terms (non-commercial research) apply to the weights",
        "keras": "code Apache-2.0; keras.applications states none for the weights; ImageNet is "
        "for non-commercial research",
    }
)
"""What is said of the licence of a library's code and of its weights."""
_TIMM = frozenset({"conv_stem.weight", "blocks.0.0.conv_dw.weight"})
"""Arrays of timm's mobile networks, whose builders can differ from torchvision's."""
NUMBER = "number"
"""Among the values of a variant: any number between 0 and 1."""


@dataclass(frozen=True, slots=True)
class VariantFacts:
    """A point in which networks of one architecture differ between libraries.

    Attributes:
        values: that it may take; `number` where any number is meant.
        torch: what the canonical PyTorch builder does.
        keras: what keras.applications does; None where it has no such network.
        about: what it is, in one sentence.
    """

    values: tuple[str, ...]
    torch: str | float
    keras: str | float | None
    about: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Published accuracy on ImageNet's validation images, in percent.

    Attributes:
        top1: of the first answer.
        top5: of the first five; None where it is not published.
        source: who says so, and at which input size where that is not the recipe's.
    """

    top1: float
    top5: float | None
    source: str


@dataclass(frozen=True, slots=True)
class PretrainedFacts:
    """A library's own file of pretrained weights.

    Attributes:
        key: the part of its name after `@`: `torchvision`, `torchvision-v1`, `timm`, `keras`.
        library: a key of `LIBRARIES`.
        builder: what builds the network that the file fits, as `torchvision:resnet50`.
        label: the library's name for this training (`IMAGENET1K_V2`, `a1_in1k`, `imagenet`).
        url: where the file is.
        filename: as the library keeps it.
        repository: of the Hugging Face hub; None for other libraries.
        sha256: of the file, where upstream states it.
        sha256_prefix: its first hex digits, where upstream states only those.
        md5: where upstream states that.
        size_bytes: where upstream states it (torchvision, to the thousandth of a MiB); a hint.
        classes: how many outputs.
        recipe: as the library states it.
        recipe_in_model: what the library's own network computes before its first convolution;
            None where it takes its input as it is. Another network fed with the same weights has
            to be given this recipe instead.
        accuracy: as published.
        licence: of the code, and what is said of the weights.
        variant: in what the library's network differs from the framework's canonical one.
        note: what else a person should know of it.
    """

    key: str
    library: str
    builder: str
    label: str
    url: str
    filename: str
    repository: str | None
    sha256: str | None
    sha256_prefix: str | None
    md5: str | None
    size_bytes: int | None
    classes: int
    recipe: Recipe
    recipe_in_model: Recipe | None
    accuracy: Accuracy | None
    licence: str
    variant: Mapping[str, str | float]
    note: str


@dataclass(frozen=True, slots=True)
class ArchitectureFacts:
    """What is known of an architecture.

    Attributes:
        name: as used everywhere (`mobilenet_v2`).
        title: as its authors write it.
        paper: where it is described.
        size: height and width of its usual input, pixels.
        heads: names of the array [classes, features] (or [classes, features, 1, 1]) that the
            classifier multiplies by, aliases included, canonical first; its length is the number
            of classes. The heads of auxiliary outputs are not among them.
        torch: builders as `library:function`, the canonical one first.
        keras: the function of keras.applications, or None.
        recipes: by framework (`torch`, `keras`), of the library's default weights.
        variants: by key, in what the frameworks' networks differ.
        tell: names of arrays that a file of its weights has and those of the others lack.
        pretrained: files of weights by key.
    """

    name: str
    title: str
    paper: str
    size: int
    heads: tuple[str, ...]
    torch: tuple[str, ...]
    keras: str | None
    recipes: Mapping[str, Recipe]
    variants: Mapping[str, VariantFacts]
    tell: tuple[str, ...]
    pretrained: Mapping[str, PretrainedFacts]


def built_by_torch(facts: ArchitectureFacts) -> dict[str, str | float]:
    """The variant that is the network of the canonical PyTorch builder, every key said.

    Weights that were trained or made in it mean this network, also where Keras builds another.
    """
    return {key: variant.torch for key, variant in facts.variants.items()}


def built_by(facts: ArchitectureFacts, library: str | None) -> dict[str, str | float]:
    """As `built_by_torch`, for a library of PyTorch: timm's builder may differ from torchvision's.

    Args:
        facts: of the architecture.
        library: `torchvision` or `timm`; None for the canonical builder.
    """
    own = facts.pretrained.get(library or "")
    return {**built_by_torch(facts), **(own.variant if own else {})}


def library_of(names: Iterable[str]) -> str | None:
    """The library of PyTorch whose arrays are called so: `timm`, or None where it is no other's."""
    return "timm" if _TIMM & set(names) else None


def architectures() -> tuple[str, ...]:
    """The names of the architectures, sorted."""
    return tuple(sorted(_all()))


def architecture_facts(name: str) -> ArchitectureFacts:
    """What is known of an architecture.

    Raises:
        ModelError: an unknown name; close ones are offered.
    """
    found = _all().get(name)
    if found is None:
        raise ModelError(f"There is no architecture {name!r}.", close(name, architectures()))
    return found


def close(name: str, known: tuple[str, ...]) -> str:
    """A remedy that offers the names most like a mistyped one, or all where none is."""
    found = alike(name, known)
    if found:
        return f"Did you mean {' or '.join(found)}?"
    return f"Known are: {', '.join(known)}."


def check_variant(name: str, variant: Mapping[str, str | float]) -> None:
    """Check that an architecture has such a variant.

    Raises:
        ModelError: a key or value that it does not have; what there is, is said.
    """
    facts = architecture_facts(name)
    for key, value in variant.items():
        known = facts.variants.get(key)
        if known is None:
            there_is = ", ".join(facts.variants) or "none: its networks are alike everywhere"
            raise ModelError(f"{name} has no variant {key!r}.", f"There is: {there_is}.")
        if NUMBER in known.values:
            if isinstance(value, str) or not 0 < value < 1:
                raise ModelError(
                    f"The variant {key} of {name} is a number, not {value!r}.",
                    f"PyTorch's networks have {known.torch}, Keras's {known.keras}.",
                )
        elif value not in known.values:
            raise ModelError(
                f"The variant {key} of {name} cannot be {value!r}.",
                f"It is one of {', '.join(known.values)}.",
            )


def alike(name: str, known: tuple[str, ...]) -> list[str]:
    """The known names most like a mistyped one, at most three."""
    return get_close_matches(name.lower().replace("-", "_"), known, n=3, cutoff=0.5)


def document(name: str) -> Path:
    """The TOML document of an architecture."""
    return _FOLDER / f"{name}.toml"


@cache
def _all() -> Mapping[str, ArchitectureFacts]:
    return MappingProxyType({path.stem: _read(path) for path in sorted(_FOLDER.glob("*.toml"))})


def _read(path: Path) -> ArchitectureFacts:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    name, size = path.stem, document["size"]
    pretrained = {
        key: _pretrained(name, key, size, table) for key, table in document["pretrained"].items()
    }
    defaults = {"torch": document["torch"][0].split(":")[0], "keras": "keras"}
    return ArchitectureFacts(
        name=name,
        title=document["title"],
        paper=document["paper"],
        size=size,
        heads=tuple(document["heads"]),
        torch=tuple(document["torch"]),
        keras=document.get("keras"),
        recipes=MappingProxyType(
            {
                framework: pretrained[library].recipe
                for framework, library in defaults.items()
                if library in pretrained
            }
        ),
        variants=MappingProxyType(
            {
                key: VariantFacts(
                    values=tuple(table["values"]),
                    torch=table["torch"],
                    keras=table.get("keras"),
                    about=table["about"],
                )
                for key, table in document.get("variants", {}).items()
            }
        ),
        tell=tuple(document["tell"]),
        pretrained=MappingProxyType(pretrained),
    )


def _pretrained(name: str, key: str, size: int, table: dict[str, Any]) -> PretrainedFacts:
    library = key.split("-", maxsplit=1)[0]
    label = f"{name}@{key}"
    inside = table.get("recipe_in_model")
    accuracy = table.get("accuracy")
    return PretrainedFacts(
        key=key,
        library=library,
        builder=table["builder"],
        label=table["label"],
        url=table["url"],
        filename=table.get("filename", table["url"].rsplit("/", 1)[-1]),
        repository=table.get("repository"),
        sha256=table.get("sha256"),
        sha256_prefix=table.get("sha256_prefix"),
        md5=table.get("md5"),
        size_bytes=round(table["size_mib"] * 2**20) if "size_mib" in table else None,
        classes=table["classes"],
        recipe=_recipe(label, size, table["recipe"]),
        recipe_in_model=None if inside is None else _recipe(f"{label}, in the model", size, inside),
        accuracy=None
        if accuracy is None
        else Accuracy(accuracy["top1"], accuracy.get("top5"), accuracy["source"]),
        licence=LICENCES[library],
        variant=MappingProxyType(table.get("variant", {})),
        note=table.get("note", ""),
    )


def _recipe(name: str, size: int, table: dict[str, Any]) -> Recipe:
    """A preset's values with the short side that a library resizes to, in pixels."""
    table = dict(table)
    document: dict[str, Any] = {"name": name}
    if "values" in table:
        preset = PRESETS[table.pop("values")]
        document |= preset.model_dump(include={"channels", "divide", "mean", "std"})
    document["resize_ratio"] = size / table.pop("resize", round(size / 0.875))
    return Recipe.model_validate(document | table)
