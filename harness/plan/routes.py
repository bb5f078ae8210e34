"""Which way a model file takes to a backend: straight, or through a conversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What a converter leaves behind, by its target.
_ARTIFACT_FORMATS = {"torch": "pt2"}


@dataclass(frozen=True, slots=True)
class Route:
    """The way from a model file to what a backend executes.

    Attributes:
        name: `onnx`, or `onnx>torch` where a conversion is needed.
        converter: the converter, or None where the file is read as it is.
        format: the format that the backend opens.
    """

    name: str
    converter: str | None
    format: str


def find_route(
    file_format: str, accepted: Sequence[str], converters: Sequence[str]
) -> Route | None:
    """The shortest route from a file's format to one that a backend accepts; None: there is none."""
    if file_format in accepted:
        return Route(file_format, None, file_format)
    for converter in converters:
        source, produced = produces(converter)
        if source == file_format and produced in accepted:
            return Route(converter, converter, produced)
    return None


def produces(converter: str) -> tuple[str, str]:
    """The format that a converter reads, and the one that it leaves behind."""
    source, _, target = converter.partition(">")
    return source, _ARTIFACT_FORMATS.get(target, target)


def why_none(backend: str, file_format: str, formats: Mapping[str, Sequence[str]]) -> str:
    """Why a backend cannot run a file, in words."""
    accepted = ", ".join(formats.get(backend, ())) or "nothing"
    return f"{backend} reads {accepted}, and nothing here converts {file_format} to that"
