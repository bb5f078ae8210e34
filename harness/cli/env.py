"""`harness env`: list, show, remove and lock environments; see `env_images` for building."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from harness.cli import env_images, env_inspect
from harness.cli.env_options import (
    AsJson,
    BothExecutors,
    ExecutorName,
    Executors,
    Images,
    OnePython,
    Place,
    place_of,
    print_json,
    print_out,
)

if TYPE_CHECKING:
    from harness.environments.environment import Environment

_NOT_ASKED = "not asked yet: `harness env build` or `harness env probe` does"

app = typer.Typer(
    name="env",
    help="Environments: the pinned software stacks that models run in.\n\n"
    "An environment is a folder below images/ with a lock of every package. It is made as a "
    "container image (where a container engine answers) or as a virtual environment; a sweep does "
    "that by itself when it needs one. Images need a base: `harness env base`.",
    no_args_is_help=True,
)
app.command("build")(env_images.build_environments)
app.command("base")(env_images.base_image)
app.command("sbom")(env_inspect.bill_of_materials)
app.command("probe")(env_inspect.probe_environment)
app.command("compose")(env_inspect.compose_files)


@app.command("list")
def list_environments(
    executor: Executors = ExecutorName.auto, images: Images = None, as_json: AsJson = False
) -> None:
    """List the environments that are known, and whether each is built for the executor."""
    from harness.environments import registry

    rows = []
    pythons = []
    with place_of(executor) as place:
        for folder in registry.folders(images or ()):
            env = registry.describe(folder, executor=place.executor, engine=place.engine)
            rows.append(
                {
                    "name": folder.name,
                    "stack": folder.file.stack,
                    "version": folder.file.version,
                    "accelerator": folder.file.accelerator,
                    "backends": list(folder.file.backends),
                    "state": _state(env, place),
                }
            )
            pythons.append(
                env.python if env is not None else f"needs {' or '.join(folder.locked_pythons)}"
            )
    if as_json:
        print_json({"environments": rows})
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True)
    # A name is there to be typed: never cut. Of the others, the backends may be folded.
    for heading, values in (
        ("name", [str(row["name"]) for row in rows]),
        ("version", [str(row["version"]) for row in rows]),
    ):
        table.add_column(heading, min_width=max(map(len, values), default=0))
    table.add_column("backends", overflow="fold", max_width=17)
    for heading in ("device", "Python", "state"):
        table.add_column(heading, overflow="fold")
    for row, python in zip(rows, pythons, strict=True):
        table.add_row(
            str(row["name"]),
            str(row["version"]),
            ", ".join(row["backends"]) or "none: prepares images",
            str(row["accelerator"]),
            python,
            str(row["state"]),
        )
    print_out(table)
    print_out("The state is that of " + _kind(place.executor))
    print_out("Any other version: --env package==version, for example --env onnxruntime==1.25.1")


@app.command("show")
def show_environment(
    name: Annotated[str, typer.Argument(help="A name of `env list`, or package==version.")],
    python: OnePython = None,
    executor: Executors = ExecutorName.auto,
    images: Images = None,
    as_json: AsJson = False,
) -> None:
    """Show one environment: what it pins, what it offers, its identity, whether it is built."""
    from harness.environments import registry
    from harness.environments.folders import pinned_packages

    folder = registry.find(registry.name_of(name, images or ()), images or ())
    with place_of(executor) as place:
        env = registry.describe(folder, python, executor=place.executor, engine=place.engine)
        state, found = _state(env, place), _found(env, place)
    file = folder.file
    locked = (python or folder.locked_pythons[0]) if env is None else env.python
    lock = folder.lock_path(".".join(locked.split(".")[:2]))
    document: dict[str, Any] = {
        "name": folder.name,
        "description": file.description,
        "stack": file.stack,
        "version": file.version,
        "accelerator": file.accelerator,
        "backends": {backend: list(formats) for backend, formats in file.backends.items()},
        "converters": list(file.converters),
        "preprocessors": list(file.preprocessors),
        "corruptions": list(file.corruptions),
        "pythons": list(folder.locked_pythons),
        "executor": place.executor,
        "python": env.python if env else None,
        "identity": env.identity if env else None,
        "lock_sha256": env.lock_sha256 if env else None,
        "folder": str(folder.path),
        "state": state,
        **found,
        "settings": _settings(env, place),
        "packages": pinned_packages(lock.read_text(encoding="utf-8")),
    }
    if as_json:
        print_json(document)
        return
    width = max(len(key) for key in document) + 2
    for key, value in document.items():
        first, *rest = [_NOT_ASKED] if key == "settings" and not value else _in_words(value)
        print_out(f"{key:<{width}}{first}")
        for line in rest:
            print_out(" " * width + line)


@app.command("remove")
def remove_environments(
    names: Annotated[list[str], typer.Argument(help="Names of `env list`, or package==version.")],
    forget: Annotated[
        bool,
        typer.Option(help="Also forget the lock of one that was made from package==version."),
    ] = False,
    executor: BothExecutors = ExecutorName.auto,
    images: Images = None,
    as_json: AsJson = False,
) -> None:
    """Remove what is installed of environments (virtual environments and images).

    Locks, results, base images and downloaded wheels are kept.
    """
    from harness.environments import adhoc, provision, registry
    from harness.environments.image_records import remove_images

    chosen = [registry.find(registry.name_of(name, images or ()), images or ()) for name in names]
    rows = []
    with place_of(executor) as place:
        for folder in chosen:
            freed = 0
            if executor != ExecutorName.docker:
                freed += provision.remove_all(folder.name)
            if place.engine is not None:
                freed += remove_images(folder.name, place.engine)
            forgotten = forget and adhoc.forget(folder)
            rows.append({"name": folder.name, "freed_bytes": freed, "forgotten": forgotten})
            if not as_json:
                words = f"removed, {freed / 1e6:.0f} MB" if freed else "was not installed"
                print_out(f"{folder.name}: {words}{'; forgotten' if forgotten else ''}")
        if place.engine is not None and not as_json and any(row["freed_bytes"] for row in rows):
            # What a build made may be used again by the next one; only its owner clears it.
            print_out(
                "The engine may keep layers in its build cache: `docker builder prune` clears it."
            )
    if as_json:
        print_json({"environments": rows})


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
        print_out(str(target))


def _state(env: Environment | None, place: Place) -> str:
    from harness.environments import provision
    from harness.environments.image_records import image_state

    if env is None:
        return "absent"
    if place.engine is not None:
        return image_state(env, place.engine)
    return provision.state(env)


def _found(env: Environment | None, place: Place) -> dict[str, Any]:
    """Where an environment is or would be."""
    from harness.environments import provision
    from harness.environments.image_records import read_record, record_folder, tag_of

    if env is None:
        return {"path": None}
    if place.engine is None:
        return {"path": str(provision.venv_path(env))}
    record = read_record(env)
    return {
        "path": str(record_folder(env)),
        "image": tag_of(env),
        "image_id": record.get("image"),
        "size_bytes": record.get("size_bytes"),
        "base": env.base.reference if env.base else None,
        "base_digest": env.base.digest if env.base else None,
    }


def _settings(env: Environment | None, place: Place) -> dict[str, dict[str, list[Any]]]:
    """What each backend and preprocessor can be asked for, where the environment was asked.

    By backend: `precision`, `device`, `instruction_set`, and its settings, each with its values, the default first. By
    preprocessor: its settings. By library for corruptions: `corruption` and `severity`.
    """
    from harness.environments import provision
    from harness.environments.image_records import read_record

    if env is None:
        return {}
    if place.engine is None:
        event = provision.kept_probe(env)
    else:
        event = read_record(env).get("probe") or {}
    found = {}
    for backend in env.backends:
        if offer := _offer(event, "backends", backend):
            axes = {"precision": offer["precisions"], "device": offer["devices"]}
            if "instruction_sets" in offer:
                axes["instruction_set"] = offer["instruction_sets"]
            found[backend] = {**axes, **offer["settings"]}
    for preprocessor in env.preparing.preprocessors:
        if offer := _offer(event, "preprocessors", preprocessor):
            found[preprocessor] = offer["settings"]
    for library in env.preparing.corruptions:
        if offer := _offer(event, "corruptions", library):
            found[library] = {"corruption": offer["names"], "severity": offer["severities"]}
    return found


def _offer(event: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    """What one thing of an environment said that it can be asked for; empty where it said nothing.

    An older probe knows of fewer kinds.
    """
    return ((event.get(kind) or {}).get(name) or {}).get("offer") or {}


def _kind(executor: str) -> str:
    if executor == "docker":
        return "their container images (--executor venv: of virtual environments)."
    return "their virtual environments (--executor docker: of container images)."


def _in_words(value: object) -> list[str]:
    """The lines that show a value; a list inside a dictionary is what a backend reads."""
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            if isinstance(item, dict):
                lines += [
                    f"{key}: {name} = {' | '.join(_plain(one) for one in values)}"
                    for name, values in item.items()
                ]
            elif isinstance(item, list):
                lines.append(f"{key} (reads {', '.join(item)})")
            else:
                lines.append(f"{key} {item}")
        return lines or ["none"]
    if isinstance(value, list):
        return [", ".join(str(item) for item in value) or "none"]
    return ["none here" if value is None else str(value)]


def _plain(value: object) -> str:
    """A value as a sweep file writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
