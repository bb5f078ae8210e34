"""`harness env build` and `harness env base`: environments and their base images are made."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from harness.cli.env_options import (
    AsJson,
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
    from harness.environments.environment import Base
    from harness.environments.provision import Provisioned
    from harness.environments.wheels import Secrets
    from harness.progress import Progress


class Accelerator(StrEnum):
    """Kinds of environments, by the device they are for."""

    cpu = "cpu"
    cuda = "cuda"
    rocm = "rocm"
    opencl = "opencl"


class Suite(StrEnum):
    """Debian's releases that a base can be made from."""

    bookworm = "bookworm"
    trixie = "trixie"


def build_environments(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of `env list`, or package==version.")
    ] = None,
    *,
    every: Annotated[
        bool,
        typer.Option("--all", help="Build all that are listed and that this machine can use."),
    ] = False,
    platform: Annotated[
        Accelerator | None,
        typer.Option(help="With --all: only those for this device, whether or not it is here."),
    ] = None,
    executor: Executors = ExecutorName.auto,
    jobs: Annotated[int, typer.Option(min=1, help="How many to build at a time.")] = 2,
    python: OnePython = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="Build images on this image from now on (it needs a Python with a lock).",
        ),
    ] = None,
    ca_bundle: Annotated[
        Path | None,
        typer.Option(
            "--ca-bundle",
            help="Certificates to trust while fetching, behind a proxy that opens connections; "
            "they stay out of every image.",
        ),
    ] = None,
    pip_conf: Annotated[
        Path | None,
        typer.Option(
            "--pip-conf",
            help="pip's configuration for fetching, with private indexes; it stays out of every "
            "image.",
        ),
    ] = None,
    images: Images = None,
    as_json: AsJson = False,
) -> None:
    """Build environments now, so that a sweep does not have to.

    Wheels are fetched once, by the hashes of the lock; an image is then built without a network.
    What is built already is only looked up.
    """
    from harness.errors import (
        EXIT_CELLS_FAILED,
        EXIT_NOTHING_RAN,
        ProvisionError,
        UsageError,
    )
    from harness.progress import RichProgress

    references = list(names or ())
    if platform is not None and not every:
        raise UsageError("--platform chooses among all environments.", "Add --all.")
    progress = RichProgress(Console(stderr=True))
    if every:
        references += _all_names(images or (), platform, progress)
    if not references and not every:
        raise UsageError("No environment is named.", "Name some of `harness env list`, or --all.")
    if not references:
        progress.note("No environment is for that device; `harness env list` shows them.")
    secrets = _secrets(ca_bundle, pip_conf)
    with place_of(executor) as place:
        _refuse_unused(place, base, secrets)
        if base is not None and place.engine is not None:
            from harness.environments.base import name_base

            name_base(place.engine, base, progress)
        chosen = list(dict.fromkeys(references))
        with (
            # One line of progress that lasts as long as the threads below.
            progress.task(f"Building {' '.join(chosen)}", total=len(chosen)) as whole,
            ThreadPoolExecutor(max_workers=jobs) as pool,
        ):

            def one(reference: str) -> Provisioned | Exception:
                found = _build(reference, python, progress, images or (), place, secrets)
                whole.advance()
                return found

            results = list(pool.map(one, chosen))
    failed = [found for found in results if isinstance(found, Exception)]
    if len(chosen) == 1 and failed:
        raise failed[0]
    rows = [_row(reference, found) for reference, found in zip(chosen, results, strict=True)]
    if as_json:
        print_json({"environments": rows})
    else:
        print_out(_build_table(rows))
    if failed:
        error = ProvisionError(
            f"{len(failed)} of {len(rows)} environments could not be built:\n"
            + "\n".join(f"- {error}" for error in failed)
        )
        error.exit_code = EXIT_CELLS_FAILED if len(failed) < len(rows) else EXIT_NOTHING_RAN
        raise error


def base_image(
    use: Annotated[
        str | None,
        typer.Option("--use", metavar="IMAGE", help="Take this image, pulled where it is absent."),
    ] = None,
    suite: Annotated[
        Suite | None,
        typer.Option(
            help="Make one here from this Debian release (bookworm: Python 3.11, trixie: 3.13); "
            "needs root, and mmdebstrap or debootstrap."
        ),
    ] = None,
    mirror: Annotated[
        str, typer.Option(help="With --suite: Debian's mirror, if not the usual one.")
    ] = "",
    python: Annotated[
        str | None, typer.Option("--python", help="X.Y; by default the running Python.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Get the base that environment images are built on.

    Without options: the one recorded before; else the public image python:X.Y-slim-bookworm, by
    its digest; else, where no registry answers, one made here from Debian's packages. The base is
    part of an image's identity: with another one, images are built again.
    """
    from harness.containers.engine import connect
    from harness.environments.base import ensure_base, make_base, name_base
    from harness.environments.base_records import inspect_image
    from harness.environments.interpreters import running
    from harness.errors import UsageError
    from harness.progress import RichProgress

    if use is not None and (suite is not None or mirror):
        raise UsageError("--use names an image that exists; --suite makes one.", "Choose one.")
    progress = RichProgress(Console(stderr=True))
    engine = connect()
    try:
        if use is not None:
            found = name_base(engine, use, progress, pythons=(python,) if python else ())
        elif suite is not None or mirror:
            found = make_base(
                engine, progress, suite=(suite or Suite.bookworm).value, mirror=mirror
            )
        else:
            found = ensure_base(engine, (python or running().minor,), progress)
        size = int((inspect_image(engine, found.tag) or {}).get("Size") or 0)
    finally:
        engine.close()
    document = _base_document(found, size)
    if as_json:
        print_json(document)
        return
    print_out(f"Base image: {found.reference}, Python {found.python}, {size / 1e6:.0f} MB")
    print_out(f"  {found.tag}, content {found.digest}")


def _all_names(
    images: Sequence[Path], platform: Accelerator | None, progress: Progress
) -> list[str]:
    """The environments of `--all`: of a device's, or of what this machine can use.

    Those for CUDA take gigabytes, so without a GPU they are left out, and that is said.
    """
    from harness.doctor.gpus import survey
    from harness.environments import registry

    folders = registry.folders(images)
    if platform is not None:
        return [one.name for one in folders if one.file.accelerator == platform.value]
    elsewhere = [one.name for one in folders if one.file.accelerator == Accelerator.cuda.value]
    found = survey() if elsewhere else None
    if found is None or found.gpus:
        return [one.name for one in folders]
    progress.note(
        f"Left out, since no NVIDIA GPU can be used here: {', '.join(elsewhere)}. "
        "They are built by name, or with --all --platform cuda."
    )
    return [one.name for one in folders if one.name not in elsewhere]


def _secrets(ca_bundle: Path | None, pip_conf: Path | None) -> Secrets:
    """The files that were named, which have to be there.

    Raises:
        UsageError: one is not.
    """
    from harness.environments.wheels import Secrets
    from harness.errors import UsageError

    for option, path in (("--ca-bundle", ca_bundle), ("--pip-conf", pip_conf)):
        if path is not None and not path.is_file():
            raise UsageError(f"{path}, named by {option}, is not a file.", f"Correct {option}.")
    return Secrets(ca_bundle=ca_bundle, pip_conf=pip_conf)


def _refuse_unused(place: Place, base: str | None, secrets: Secrets) -> None:
    """Refuse options that only images use, rather than ignore them."""
    from harness.errors import UsageError

    if place.executor == "docker":
        return
    given = {
        "--base": base,
        "--ca-bundle": secrets.ca_bundle,
        "--pip-conf": secrets.pip_conf,
    }
    if named := [option for option, value in given.items() if value is not None]:
        raise UsageError(
            f"{', '.join(named)} is for images, and virtual environments are built here.",
            "For those, name certificates and indexes as for pip: PIP_CERT, PIP_CONFIG_FILE. "
            "For images: --executor docker.",
        )


def _build(
    reference: str,
    python: str | None,
    progress: Progress,
    images: Sequence[Path],
    place: Place,
    secrets: Secrets,
) -> Provisioned | Exception:
    from harness.environments import registry
    from harness.environments.provide import provide
    from harness.errors import HarnessError

    try:
        env = registry.resolve(
            reference, python, progress, images, executor=place.executor, engine=place.engine
        )
        return provide(env, progress, place.engine, secrets=secrets)
    except HarnessError as error:
        return error


def _row(reference: str, found: Provisioned | Exception) -> dict[str, Any]:
    if isinstance(found, Exception):
        return {"name": reference, "state": "failed", "message": str(found)}
    return {
        "name": found.env.name,
        "state": "built",
        "executor": found.env.executor,
        "python": found.probe.get("python", found.env.python),
        "packages": len(found.packages),
        "size_bytes": found.size_bytes,
        "seconds": found.seconds,
        "identity": found.env.identity,
        "image": found.image,
    }


def _build_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("name", min_width=max((len(row["name"]) for row in rows), default=0))
    for heading in ("state", "as", "Python"):
        table.add_column(heading)
    for heading in ("packages", "MB", "seconds"):
        table.add_column(heading, justify="right")
    for row in rows:
        if row["state"] == "built":
            table.add_row(
                row["name"],
                row["state"],
                "image" if row["image"] else "venv",
                row["python"],
                str(row["packages"]),
                f"{row['size_bytes'] / 1e6:.0f}",
                f"{row['seconds']:.1f}",
            )
        else:
            table.add_row(row["name"], row["state"], *[""] * 5)
    return table


def _base_document(base: Base, size: int) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(base), "tag": base.tag, "size_bytes": size}
