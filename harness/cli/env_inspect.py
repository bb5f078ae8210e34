"""`harness env sbom`, `probe` and `compose`: what environments hold, and as Compose services."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from harness.cli.env_options import (
    ExecutorName,
    Executors,
    Images,
    OnePython,
    place_of,
    print_json,
    print_out,
)

if TYPE_CHECKING:
    from harness.environments.provision import Provisioned

Reference = Annotated[
    str,
    typer.Argument(
        help="A name of `env list`, package==version, image:REPO/NAME@sha256:…, or python:PATH."
    ),
]


def bill_of_materials(
    name: Reference,
    executor: Executors = ExecutorName.auto,
    python: OnePython = None,
    images: Images = None,
) -> None:
    """Print an environment's bill of materials: CycloneDX 1.6, as JSON.

    Python's packages with the hashes of the wheels they came from, and the Debian packages of an
    image. The environment has to be built.
    """
    from harness.environments.sbom import sbom_document
    from harness.environments.wheels import Wheel

    found, record = _built(name, executor, python, images or (), build=False)
    wheels = [Wheel(**wheel) for wheel in record.get("wheels", ())]
    print_json(sbom_document(found.env, found.probe, wheels))


def probe_environment(
    name: Reference,
    executor: Executors = ExecutorName.auto,
    python: OnePython = None,
    images: Images = None,
) -> None:
    """Print what an environment says it holds: versions, library builds, what starts, and its passes.

    A named environment is built where it is not; images and interpreters of others are asked.
    """
    from harness.environments.provide import told_in_full

    found, _ = _built(name, executor, python, images or (), build=True)
    print_json(told_in_full(found))


def compose_files(
    output: Annotated[
        Path, typer.Option("--output", help="Where the files go; made if absent.")
    ] = Path("compose"),
    images: Images = None,
) -> None:
    """Write Compose files: every environment as a service, for CPU and for GPU."""
    from harness.canonical import storage_errors
    from harness.environments import registry
    from harness.environments.compose import compose_documents

    documents = compose_documents(registry.folders(images or ()))
    with storage_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        for name, text in documents.items():
            (output / name).write_text(text, encoding="utf-8")
            print_out(str(output / name))


def _built(
    reference: str,
    executor: ExecutorName,
    python: str | None,
    images: Sequence[Path],
    *,
    build: bool,
) -> tuple[Provisioned, dict[str, Any]]:
    """An environment that is ready, and the record of its image.

    Raises:
        UsageError: it is not built, and is not to be.
    """
    from harness.environments import adopted, provision, registry
    from harness.environments.image_records import image_state, read_record
    from harness.environments.provide import provide
    from harness.errors import UsageError
    from harness.progress import RichProgress

    progress = RichProgress(Console(stderr=True))
    with place_of(executor) as place:
        if adopted.is_adopted(reference):
            return adopted.resolve_adopted(reference, progress, place.engine), {}
        env = registry.resolve(
            reference, python, progress, images, executor=place.executor, engine=place.engine
        )
        state = image_state(env, place.engine) if place.engine else provision.state(env)
        if not build and state != "built":
            raise UsageError(
                f"Environment {env.name} is not built (its state is {state}).",
                f"Build it with `harness env build {reference} --executor {place.executor}`.",
            )
        found = provide(env, progress, place.engine)
        return found, read_record(env) if place.engine else {}
