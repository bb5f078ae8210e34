"""`harness env`: list, show, build, remove and lock environments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    name="env",
    help="Environments: the pinned software stacks that models run in.",
    no_args_is_help=True,
)

Images = Annotated[
    list[Path] | None,
    typer.Option("--images", help="A folder with further environment folders; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
OnePython = Annotated[
    str | None,
    typer.Option("--python", help="Python to use: X.Y, or the path of an interpreter."),
]


@app.command("list")
def list_environments(images: Images = None, as_json: AsJson = False) -> None:
    """List the environments that are known, and whether each is installed."""
    from harness.environments import provision, registry

    rows = []
    pythons = []
    for folder in registry.folders(images or ()):
        env = registry.describe(folder)
        rows.append(
            {
                "name": folder.name,
                "stack": folder.file.stack,
                "version": folder.file.version,
                "accelerator": folder.file.accelerator,
                "backends": list(folder.file.backends),
                "state": provision.state(env) if env is not None else "absent",
            }
        )
        pythons.append(
            env.python if env is not None else f"needs {' or '.join(folder.locked_pythons)}"
        )
    if as_json:
        _print_json({"environments": rows})
        return
    table = Table("name", "version", "backends", "device", "Python", "state", box=box.SIMPLE_HEAD)
    for row, python in zip(rows, pythons, strict=True):
        table.add_row(
            str(row["name"]),
            str(row["version"]),
            ", ".join(row["backends"]),
            str(row["accelerator"]),
            python,
            str(row["state"]),
        )
    _print(table)
    _print("Any other version: --env package==version, for example --env onnxruntime==1.25.1")


@app.command("show")
def show_environment(
    name: Annotated[str, typer.Argument(help="A name of `env list`, or package==version.")],
    python: OnePython = None,
    images: Images = None,
    as_json: AsJson = False,
) -> None:
    """Show one environment: what it pins, what it offers, its identity, whether it is installed."""
    from harness.environments import interpreters, provision, registry
    from harness.environments.environment import environment_of
    from harness.environments.folders import pinned_packages

    folder = registry.find(registry.name_of(name, images or ()), images or ())
    if python is None:
        env = registry.describe(folder)
    else:
        env = environment_of(
            folder, interpreters.choose(folder.name, folder.locked_pythons, python, download=False)
        )
    file = folder.file
    lock = env.lock_path if env else folder.lock_path(folder.locked_pythons[0])
    document: dict[str, Any] = {
        "name": folder.name,
        "description": file.description,
        "stack": file.stack,
        "version": file.version,
        "accelerator": file.accelerator,
        "backends": {backend: list(formats) for backend, formats in file.backends.items()},
        "converters": list(file.converters),
        "pythons": list(folder.locked_pythons),
        "python": env.python if env else None,
        "identity": env.identity if env else None,
        "lock_sha256": env.lock_sha256 if env else None,
        "folder": str(folder.path),
        "state": provision.state(env) if env else "absent",
        "path": str(provision.venv_path(env)) if env else None,
        "packages": pinned_packages(lock.read_text(encoding="utf-8")),
    }
    if as_json:
        _print_json(document)
        return
    width = max(len(key) for key in document) + 2
    for key, value in document.items():
        first, *rest = _in_words(value)
        _print(f"{key:<{width}}{first}")
        for line in rest:
            _print(" " * width + line)


@app.command("build")
def build_environments(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of `env list`, or package==version.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Build all that are listed.")] = False,
    python: OnePython = None,
    images: Images = None,
    as_json: AsJson = False,
) -> None:
    """Install environments now, so that a sweep does not have to."""
    from harness.environments import registry
    from harness.environments.provision import provision
    from harness.errors import HarnessError, ProvisionError, UsageError
    from harness.progress import RichProgress

    references = list(names or ())
    if every:
        references += [folder.name for folder in registry.folders(images or ())]
    if not references:
        raise UsageError("No environment is named.", "Name some of `harness env list`, or --all.")
    progress = RichProgress(Console(stderr=True))
    rows: list[dict[str, Any]] = []
    failed: list[HarnessError] = []
    for reference in dict.fromkeys(references):
        try:
            built = provision(registry.resolve(reference, python, progress, images or ()), progress)
        except HarnessError as error:
            if len(references) == 1:
                raise
            failed.append(error)
            rows.append({"name": reference, "state": "failed", "message": str(error)})
            continue
        rows.append(
            {
                "name": built.env.name,
                "state": "built",
                "python": built.env.python,
                "packages": len(built.packages),
                "size_bytes": built.size_bytes,
                "seconds": built.seconds,
                "identity": built.env.identity,
            }
        )
    if as_json:
        _print_json({"environments": rows})
    else:
        _print(_build_table(rows))
    if failed:
        raise ProvisionError(
            f"{len(failed)} of {len(rows)} environments could not be built:\n"
            + "\n".join(f"- {error}" for error in failed)
        )


@app.command("remove")
def remove_environments(
    names: Annotated[list[str], typer.Argument(help="Names of `env list`, or package==version.")],
    forget: Annotated[
        bool,
        typer.Option(help="Also forget the lock of one that was made from package==version."),
    ] = False,
    images: Images = None,
    as_json: AsJson = False,
) -> None:
    """Remove what is installed of environments; locks and results are kept."""
    from harness.environments import adhoc, provision, registry

    chosen = [registry.find(registry.name_of(name, images or ()), images or ()) for name in names]
    rows = []
    for folder in chosen:
        freed = provision.remove_all(folder.name)
        forgotten = forget and adhoc.forget(folder)
        rows.append({"name": folder.name, "freed_bytes": freed, "forgotten": forgotten})
        if not as_json:
            words = f"removed, {freed / 1e6:.0f} MB" if freed else "was not installed"
            _print(f"{folder.name}: {words}{'; forgotten' if forgotten else ''}")
    if as_json:
        _print_json({"environments": rows})


@app.command("lock")
def lock_environment(
    folder: Annotated[str, typer.Argument(help="An environment's folder or name.")],
    python: Annotated[
        list[str] | None,
        typer.Option("--python", help="X.Y to lock for; may be repeated. Default: all supported."),
    ] = None,
    upgrade: Annotated[
        bool, typer.Option(help="Take the newest of every package, not what is locked now.")
    ] = False,
    images: Images = None,
) -> None:
    """Write the hash locks of an environment folder from its requirements.in (maintainers)."""
    from harness.environments import registry
    from harness.environments.folders import ENV_FILE, read_folder
    from harness.environments.locking import lock_folder
    from harness.progress import RichProgress

    path = Path(folder)
    source = (
        read_folder(path) if (path / ENV_FILE).is_file() else registry.find(folder, images or ())
    )
    written = lock_folder(
        source,
        python or source.file.python,
        RichProgress(Console(stderr=True)),
        upgrade=upgrade,
    )
    for target in written:
        _print(str(target))


def _build_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("name", "state", "Python"):
        table.add_column(heading)
    for heading in ("packages", "MB", "seconds"):
        table.add_column(heading, justify="right")
    for row in rows:
        if row["state"] == "built":
            table.add_row(
                row["name"],
                row["state"],
                row["python"],
                str(row["packages"]),
                f"{row['size_bytes'] / 1e6:.0f}",
                f"{row['seconds']:.1f}",
            )
        else:
            table.add_row(row["name"], row["state"], "", "", "", "")
    return table


def _in_words(value: object) -> list[str]:
    """The lines that show a value; a list inside a dictionary is what a backend reads."""
    if isinstance(value, dict):
        return [
            f"{key} (reads {', '.join(item)})" if isinstance(item, list) else f"{key} {item}"
            for key, item in value.items()
        ]
    if isinstance(value, list):
        return [", ".join(str(item) for item in value) or "none"]
    return ["none here" if value is None else str(value)]


def _print(what: Table | str) -> None:
    Console().print(what, highlight=False, markup=False, soft_wrap=isinstance(what, str))


def _print_json(document: object) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
