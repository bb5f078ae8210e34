"""A job with the paths of this machine, turned into the same job inside a container: pure."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.containers.rules import WORK, Mount

RUNNER = "/opt/harness"
MODEL = "/inputs/model"
DATA = "/inputs/data"
IMAGES = "/inputs/images"
SOCKETS = "/run/harness"
SOCKET = "s"
CACHE = "/cache"
JOB = f"{WORK}/job.json"
LOG = f"{WORK}/log.txt"


def contained(
    job: Mapping[str, Any],
    runner: Path,
    work: Path,
    sockets: Path,
    companions: Sequence[Path] = (),
) -> tuple[dict[str, Any], tuple[Mount, ...]]:
    """The job as it reads inside a container, and what must be mounted for it: only its inputs.

    The output folder itself is no mount of this list; `ContainerSpec.output` is. The job and the
    log lie in it and are mounted over themselves to be read only, so that nothing in the
    container can put other files in their places.

    Args:
        job: a job with absolute paths of the host; a relative `target` is one in `work`.
        runner: the folder that holds the package `runner`.
        work: the worker's own folder, with `job.json` and `log.txt` in it.
        sockets: the worker's own folder for its socket; its path must be short.
        companions: files that the model refers to; they keep their places beside it.
    """
    document = {key: value for key, value in job.items() if key != "parent_death_signal"}
    document["work"] = WORK
    mounts = [
        Mount(str(runner), RUNNER),
        Mount(str(work / "job.json"), JOB),
        Mount(str(work / "log.txt"), LOG),
    ]
    if job["kind"] == "prepare":
        mounts += _show_images(document)
    for key in ("model", "source"):
        if isinstance(document.get(key), Mapping):
            path = Path(document[key]["path"])
            document[key] = {**document[key], "path": f"{MODEL}/{path.name}"}
            mounts.append(Mount(str(path), f"{MODEL}/{path.name}"))
            mounts += [
                Mount(str(file), f"{MODEL}/{file.relative_to(path.parent).as_posix()}")
                for file in companions
            ]
    if "inputs" in document:
        document["inputs"] = _show_inputs(document["inputs"], mounts)
    if "calibration" in document:
        shown = _show_inputs(document["calibration"]["inputs"], mounts)
        document["calibration"] = {**document["calibration"], "inputs": shown}
    if "target" in document:
        document["target"] = f"{WORK}/{_inside(Path(document['target']), work)}"
    if document.get("cache") is not None:
        mounts.append(Mount(str(document["cache"]), CACHE, read_only=False))
        document["cache"] = CACHE
    if document["kind"] == "infer":
        document["socket"] = f"{SOCKETS}/{SOCKET}"
        mounts.append(Mount(str(sockets), SOCKETS, read_only=False))
    return document, tuple(mounts)


def _show_inputs(inputs: Mapping[str, Any], mounts: list[Mount]) -> dict[str, Any]:
    """Prepared inputs with their path inside; what must be mounted for it is added."""
    path = Path(inputs["path"])
    mounts.append(Mount(str(path), f"{DATA}/{path.name}"))
    return {**inputs, "path": f"{DATA}/{path.name}"}


def _show_images(document: dict[str, Any]) -> list[Mount]:
    """Rewrite the paths of a `prepare` job; the folder that holds all images, or the pixels."""
    if document.get("source"):
        path = Path(document["source"])
        document["source"] = f"{DATA}/{path.name}"
        return [Mount(str(path), str(document["source"]))]
    root = Path(os.path.commonpath([Path(image).parent for image in document["images"]]))
    document["images"] = [
        f"{IMAGES}/{Path(image).relative_to(root).as_posix()}" for image in document["images"]
    ]
    return [Mount(str(root), IMAGES)]


def _inside(target: Path, work: Path) -> str:
    """A target relative to the worker's folder."""
    return (target.relative_to(work) if target.is_absolute() else target).as_posix()
