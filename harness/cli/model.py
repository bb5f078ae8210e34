"""`harness model`: list, show, add, remove, fetch, verify and convert checkpoints."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from harness.cli import model_add, model_convert, model_routes
from harness.cli.env_options import (
    AsJson,
    ExecutorName,
    Executors,
    place_of,
    print_json,
    print_out,
)
from harness.errors import EXIT_DIFFERENCES

if TYPE_CHECKING:
    from harness.models.entries import CheckpointEntry
    from harness.progress import Progress

app = typer.Typer(
    name="model",
    rich_markup_mode="rich",
    help="Models: the checkpoints that a sweep can name, and converting them.\n\n"
    "Ten architectures come with what is known of them: weights of torchvision, timm and Keras "
    "(`mobilenet_v2@torchvision`, downloaded when first needed), and weights made here "
    "(`mobilenet_v2@seeded`). Your own model gets a name with `add`, or is given to a sweep by "
    "its path.",
    epilog="Examples: [bold]harness model add mynet mynet.onnx --recipe torch[/bold] · "
    "[bold]harness model show resnet50@keras[/bold] · "
    "[bold]harness model convert mynet.onnx --to tflite[/bold] · "
    "[bold]harness sweep --model mynet --env onnxruntime-1.31 --data DIR[/bold]",
    no_args_is_help=True,
)
app.command("add")(model_add.add)
app.command("remove")(model_add.remove)
app.command("routes")(model_routes.routes)
app.command("convert")(model_convert.convert)


class OriginName(StrEnum):
    """Where checkpoints come from."""

    pretrained = "pretrained"
    seeded = "seeded"
    file = "file"


@app.command("list")
def list_models(
    origin: Annotated[
        OriginName | None,
        typer.Option(
            help="pretrained: a library's own weights; seeded: made here, never trained; "
            "file: what was added."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the checkpoints that a sweep can name, and whether their files are here."""
    from harness.models.registry import list_checkpoints

    entries = [one for one in list_checkpoints() if origin is None or one.origin == origin.value]
    rows = [_row(entry) for entry in entries]
    if as_json:
        print_json({"models": rows})
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True)
    # A name is there to be typed: never cut.
    table.add_column("name", min_width=max((len(row["name"]) for row in rows), default=4))
    for heading in ("origin", "format"):
        table.add_column(heading, overflow="fold")
    table.add_column("classes", justify="right")
    table.add_column("on disk", overflow="fold")
    table.add_column("MB", justify="right")
    for row in rows:
        size = row["size_bytes"]
        table.add_row(
            row["name"],
            row["origin"],
            _kind(row),
            str(row["classes"] or ""),
            row["state"],
            "" if size is None else f"{size / 1e6:.1f}",
        )
    print_out(table)
    if origin in {None, OriginName.file} and not any(row["origin"] == "file" for row in rows):
        print_out("None of your own yet: harness model add NAME FILE --recipe torch")


@app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="A name of `model list`, or a model's TOML file.")],
    as_json: AsJson = False,
) -> None:
    """Show all that is known of a checkpoint: recipe, variants, licence, hashes, what runs it.

    Variants are the points in which networks of one architecture differ between libraries, with
    what each library does. A sweep sets them with --variant padding=same.
    """
    from harness.cli.model_show import describe, print_description

    description = describe(_find(name))
    if as_json:
        print_json(description)
    else:
        print_description(description)


@app.command("fetch")
def fetch_models(
    names: Annotated[
        list[str], typer.Argument(help="Pretrained or seeded checkpoints of `model list`.")
    ],
    offline: Annotated[
        bool, typer.Option(help="Ask no server: look in the caches of this machine only.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="For ...@seeded: images that its statistics and head are fitted on."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="For ...@seeded: how many of them [128].")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="For ...@seeded: of the weights [0].")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="For ...@seeded: how many outputs [1000].")
    ] = None,
    executor: Executors = ExecutorName.auto,
    as_json: AsJson = False,
) -> None:
    """Bring files here: download pretrained weights, or make seeded ones.

    Caches of PyTorch, Keras and the Hugging Face hub are looked into first. Every file is held
    against the hash that its library states. Without a network, the error says which file belongs
    into which folder.

    Examples: harness model fetch resnet50@torchvision densenet121@keras;
    harness model fetch mobilenet_v2@seeded --data val/
    """
    from harness.errors import UsageError
    from harness.models.fetch import fetch
    from harness.models.registry import find_checkpoint
    from harness.progress import RichProgress

    entries = [find_checkpoint(name) for name in names]
    progress = RichProgress(Console(stderr=True))
    given = {
        f"--{option}": value
        for option, value in (
            ("data", data),
            ("limit", limit),
            ("seed", seed),
            ("classes", classes),
        )
        if value is not None
    }
    seeded = [entry.name for entry in entries if entry.origin == "seeded"]
    if seeded and data is None:
        raise UsageError(
            f"{seeded[0]} is made by fitting it on images, and none are given.",
            f"harness model fetch {seeded[0]} --data DIR",
        )
    if given and not seeded:
        raise UsageError(
            f"{', '.join(given)} given, but nothing is to be seeded.",
            "They belong to names that end in @seeded.",
        )
    rows = []
    for entry in entries:
        if entry.origin == "seeded" and data is not None:
            path = _seed(entry, data.expanduser(), limit, seed, classes, executor, progress)
        else:
            path = fetch(entry, progress, offline=offline)
        rows.append({"name": entry.name, "path": str(path)})
        if not as_json:
            print_out(f"{entry.name}: {path}")
    if as_json:
        print_json({"models": rows})


@app.command("verify")
def verify_models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of `model list`; all that are here if none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold the files on disk against the hashes that are recorded of them.

    Exit code 0: all are what they should be; 1: a file is missing, changed or corrupted.
    """
    from harness.models.registry import find_checkpoint, list_checkpoints
    from harness.models.verifying import verify
    from harness.progress import RichProgress

    entries = [find_checkpoint(name) for name in names] if names else list_checkpoints()
    verdicts = verify(entries, RichProgress(Console(stderr=True)), asked=bool(names))
    if as_json:
        rows = [
            {
                "name": one.name,
                "path": None if one.path is None else str(one.path),
                "state": one.state,
                "detail": one.detail,
            }
            for one in verdicts
        ]
        print_json({"models": rows})
    else:
        for one in verdicts:
            place = f" ({one.path})" if one.path else ""
            print_out(f"{one.name}: {one.state}{place}: {one.detail}")
        if not verdicts:
            print_out("No file of a model is on this machine yet.")
    if any(one.is_wrong for one in verdicts):
        raise typer.Exit(EXIT_DIFFERENCES)


def _seed(
    entry: CheckpointEntry,
    data: Path,
    limit: int | None,
    seed: int | None,
    classes: int | None,
    executor: ExecutorName,
    progress: Progress,
) -> Path:
    from harness.execution.seeding import CLASSES, IMAGES, make_seeded

    with place_of(executor) as place:
        return make_seeded(
            entry,
            data,
            progress=progress,
            limit=limit or IMAGES,
            seed=seed or 0,
            classes=classes or CLASSES,
            executor=place.executor,
            engine=place.engine,
        )


def _find(name: str) -> CheckpointEntry:
    from harness.models.registry import find_checkpoint
    from harness.models.user_models import SUFFIX, read_user_model

    return read_user_model(Path(name)) if name.endswith(SUFFIX) else find_checkpoint(name)


def _kind(row: dict[str, Any]) -> str:
    """The format; of a person's own weights with their architecture, which others have as name."""
    of = f" of {row['architecture']}" if row["origin"] == "file" and row["architecture"] else ""
    return f"{row['format'] or 'see its file'}{of}"


def _row(entry: CheckpointEntry) -> dict[str, Any]:
    from harness.models.entries import seeded_folder

    if entry.origin == "seeded":
        made = list(seeded_folder(entry.architecture or "").glob("*.npz"))
        on_disk = bool(made)
        state = f"{len(made)} made" if made else "no"
    else:
        on_disk = entry.path is not None and entry.path.exists()
        lost = entry.origin == "file" and not on_disk
        state = "lost" if lost else "yes" if on_disk else "no"
    size = entry.size_bytes
    if entry.path is not None and entry.path.is_file() and entry.origin == "pretrained":
        size = entry.path.stat().st_size
    return {
        "name": entry.name,
        "origin": entry.origin,
        "architecture": entry.architecture,
        "framework": entry.framework,
        "format": entry.format,
        "classes": entry.classes,
        "on_disk": on_disk,
        "state": state,
        "size_bytes": size,
        "path": None if entry.path is None else str(entry.path),
    }
