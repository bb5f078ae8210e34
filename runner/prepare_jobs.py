"""Jobs of kind `prepare`: pixels made of image files, or prepared pixels corrupted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Tuple, Union

from runner.errors import RunnerError


@dataclass(frozen=True)
class Geometry:
    """The sizes of the crop and of the resized image that it is taken from, in pixels.

    `squash` resizes straight to the crop's size, whatever the image's aspect, and crops nothing.
    """

    height: int
    width: int
    resize_height: int
    resize_width: int
    interpolation: str
    squash: bool = False


@dataclass(frozen=True)
class PrepareJob:
    """Decode, resize and crop `images` by one library into `target`, a `.npy` file."""

    work: str
    preprocessor: str
    geometry: Geometry
    images: Tuple[str, ...]
    target: str
    settings: Dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    parent_death_signal: bool = False


@dataclass(frozen=True)
class Corruption:
    """One of ImageNet-C's corruptions; `keys` say which image a row is, whatever its place."""

    name: str
    severity: int
    seed: int
    keys: Tuple[str, ...]


@dataclass(frozen=True)
class CorruptJob:
    """Corrupt every row of prepared pixels; also a job of kind `prepare`."""

    work: str
    source: str
    corruption: Corruption
    target: str
    threads: int = 1
    parent_death_signal: bool = False


def read_prepare(document: Dict[str, Any], common: Dict[str, Any]) -> Union[PrepareJob, CorruptJob]:
    """Either files by a preprocessor, or prepared pixels by a corruption: two jobs make both.

    Args:
        document: of kind `prepare`, checked against its schema.
        common: what jobs of all kinds have.

    Raises:
        RunnerError: kind `job`, for both or neither, or what does not go with what is given.
    """
    ways = {"images": ("images", "preprocessor", "geometry"), "source": ("source", "corruption")}
    given = [way for way in ways if document.get(way) is not None]
    if len(given) != 1:
        message = "job: give either 'images' (files to decode) or 'source' (pixels to corrupt)"
        raise RunnerError("job", message)
    for way, keys in ways.items():
        for key in keys:
            if (document.get(key) is not None) != (way == given[0]):
                wrong = "is missing" if way == given[0] else "does not go with it"
                raise RunnerError("job", f"job: {key!r} {wrong}, where 'job.{given[0]}' is given")
    if given == ["images"]:
        return PrepareJob(
            preprocessor=document["preprocessor"],
            geometry=_read_geometry(document["geometry"]),
            images=tuple(document["images"]),
            target=document["target"],
            settings=document.get("settings") or {},
            **common,
        )
    if document.get("settings"):
        raise RunnerError("job", "job.settings: a corruption has none; give them with 'images'")
    corruption = document["corruption"]
    return CorruptJob(
        source=document["source"],
        corruption=Corruption(
            name=corruption["name"],
            severity=corruption["severity"],
            seed=corruption["seed"],
            keys=tuple(corruption["keys"]),
        ),
        target=document["target"],
        **common,
    )


def _read_geometry(document: Dict[str, Any]) -> Geometry:
    found = Geometry(**document)
    too_large = found.height > found.resize_height or found.width > found.resize_width
    if too_large and not found.squash:
        message = "job.geometry: the crop is larger than the resized image that it is taken from"
        raise RunnerError("job", message)
    return found
