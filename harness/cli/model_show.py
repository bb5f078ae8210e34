"""What `harness model show` prints: all that is known of a checkpoint."""

from __future__ import annotations

from typing import Any

from harness.cli.env_options import print_out
from harness.datasets.recipes import Recipe, geometry
from harness.models.entries import CheckpointEntry


def describe(entry: CheckpointEntry) -> dict[str, Any]:
    """A checkpoint as a document."""
    from harness.models.zoo import architecture_facts

    facts = None if entry.architecture is None else architecture_facts(entry.architecture)
    return {
        "name": entry.name,
        "origin": entry.origin,
        "architecture": entry.architecture,
        "title": facts and facts.title,
        "paper": facts and facts.paper,
        "library": entry.library,
        "builder": entry.builder,
        "training": entry.label,
        "framework": entry.framework,
        "format": entry.format,
        "size": entry.size,
        "classes": entry.classes,
        "class_offset": entry.class_offset,
        "output": entry.output,
        "layout": entry.layout,
        "recipe": entry.recipe and entry.recipe.model_dump(),
        "recipe_in_words": entry.recipe and in_words(entry.recipe, entry.size),
        "recipe_in_model": entry.recipe_in_model and in_words(entry.recipe_in_model, None),
        "variant": dict(entry.variant),
        "variants": {}
        if facts is None
        else {
            key: {
                "values": list(one.values),
                "torch": one.torch,
                "keras": one.keras,
                "about": one.about,
            }
            for key, one in facts.variants.items()
        },
        "native": []
        if facts is None
        else [*facts.torch, *([f"keras:{facts.keras}"] if facts.keras else [])],
        "runs_in": runs_in(entry),
        "accuracy": None
        if entry.accuracy is None
        else {
            "top1": entry.accuracy.top1,
            "top5": entry.accuracy.top5,
            "source": entry.accuracy.source,
        },
        "licence": entry.licence,
        "url": entry.url,
        "sha256": entry.sha256,
        "sha256_prefix": entry.sha256_prefix,
        "md5": entry.md5,
        "recorded_sha256": _recorded(entry),
        "size_bytes": entry.size_bytes,
        "path": None if entry.path is None else str(entry.path),
        "place": _place(entry),
        "origin_file": None if entry.origin_file is None else str(entry.origin_file),
        "note": entry.note,
    }


def in_words(recipe: Recipe, size: int | None) -> str:
    """A recipe spelled out: what happens to an image, step by step."""
    values = _values_in_words(recipe)
    if size is None:
        return values
    fitted = geometry(recipe, size, size)
    return (
        f"short side to {fitted.resize_height} ({recipe.interpolation}), {recipe.crop} crop "
        f"{size} x {size}, {values}"
    )


def runs_in(entry: CheckpointEntry) -> dict[str, dict[str, str]]:
    """By environment and backend, how the file gets there: `read`, or the conversion."""
    from harness.environments.registry import folders
    from harness.plan.parts import Workshop
    from harness.plan.routes import shortest
    from harness.plan.ways import barred_for, without

    found: dict[str, dict[str, str]] = {}
    if entry.format is None:
        return found
    barred = barred_for(entry.format, entry.architecture)
    for folder in folders():
        own = without(Workshop(folder.name, "", "", folder.file.converters), barred)
        for backend, accepted in folder.file.backends.items():
            route = shortest(entry.format, accepted, own, (), longest=1)
            if route is not None:
                how = route.name if route.steps else "read"
                found.setdefault(folder.name, {})[backend] = how
    return found


def print_description(description: dict[str, Any]) -> None:
    """Print a description for a person; what is not known is left away."""
    words = {
        **{
            key.replace("_", " "): str(description[key])
            for key in ("name", "origin", "title", "paper", "builder", "training", "format")
            if description[key]
        },
        "input": _input(description),
        "classes": _classes(description),
        "recipe": description["recipe_in_words"] or "none: give --recipe, or arrays (--inputs)",
        "in the model": description["recipe_in_model"],
        "accuracy": _accuracy(description["accuracy"]),
        "licence": description["licence"],
        "file": description["path"] or description["place"],
        "URL": description["url"],
        "SHA-256": description["sha256"] or _prefix(description),
        "MD5": description["md5"],
        "native in": ", ".join(description["native"]),
        "described in": description["origin_file"],
        "note": description["note"],
    }
    width = max(map(len, words)) + 2
    for key, value in words.items():
        if value:
            print_out(f"{key:<{width}}{value}")
    _print_variants(description)
    if description["runs_in"]:
        print_out("\nruns in")
        for environment, backends in description["runs_in"].items():
            shown = ", ".join(
                backend if how == "read" else f"{backend} ({how})"
                for backend, how in backends.items()
            )
            print_out(f"  {environment}: {shown}")


def _print_variants(description: dict[str, Any]) -> None:
    own = description["variant"]
    if own:
        print_out("\nits network: " + ", ".join(f"{key} {value}" for key, value in own.items()))
    if not description["variants"]:
        return
    print_out("\nvariants (sweep: --variant KEY=VALUE)")
    for key, one in description["variants"].items():
        keras = "" if one["keras"] is None else f", Keras {one['keras']}"
        print_out(f"  {key} = {' | '.join(one['values'])}: PyTorch {one['torch']}{keras}")
        print_out(f"    {one['about']}")


def _values_in_words(recipe: Recipe) -> str:
    if recipe.is_identity:
        return f"{recipe.channels}, values 0 to 255 as they are"
    text = "x" if recipe.divide == 1 else f"x / {recipe.divide:g}"
    if any(recipe.mean):
        text = f"{text} - {_triple(recipe.mean)}"
    if recipe.std != (1, 1, 1):
        text = f"({text}) / {_triple(recipe.std)}"
    return f"{recipe.channels}, {text}"


def _triple(values: tuple[float, float, float]) -> str:
    if len(set(values)) == 1:
        return f"{values[0]:g}"
    return f"({', '.join(f'{value:g}' for value in values)})"


def _input(description: dict[str, Any]) -> str:
    size = description["size"]
    layout = description["layout"] or ""
    return f"{size} x {size} {layout}".strip() if size else layout


def _classes(description: dict[str, Any]) -> str:
    if description["classes"] is None:
        return ""
    offset = description["class_offset"]
    background = f", the first {offset} before class 0" if offset else ""
    return f"{description['classes']}{background}; {description['output']}"


def _accuracy(accuracy: dict[str, Any] | None) -> str:
    if accuracy is None:
        return ""
    top5 = "" if accuracy["top5"] is None else f", top-5 {accuracy['top5']:g} %"
    return f"top-1 {accuracy['top1']:g} %{top5} ({accuracy['source']})"


def _prefix(description: dict[str, Any]) -> str | None:
    if description["recorded_sha256"]:
        return f"{description['recorded_sha256']} (as first seen here)"
    begins = description["sha256_prefix"]
    return f"begins {begins}" if begins else None


def _recorded(entry: CheckpointEntry) -> str | None:
    from harness.models.hashes import recorded

    return recorded(entry).get("sha256") if entry.origin == "pretrained" else None


def _place(entry: CheckpointEntry) -> str | None:
    """Where the file would be, for one that is not here."""
    from harness.models.caches import own_place
    from harness.models.entries import seeded_folder

    if entry.path is not None:
        return None
    if entry.origin == "pretrained":
        return f"not here; it would be {own_place(entry)}"
    return f"made when needed, in {seeded_folder(entry.architecture or '')}"
