"""How preprocessing and corruption are written: `tensorflow,dct=accurate`, `gaussian_noise:3`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

REFERENCE = "reference"
"""Pixels that are decoded, resized and cropped once, for all cells."""

NATIVE = "native"
"""Each environment decodes and resizes by its own means."""

NONE = "none"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_DEFAULT_SEVERITY = 3
_EXACT = 2**53
"""Up to here a float that is whole is one integer."""

Setting = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """Who decodes and resizes, with what settings."""

    name: str
    settings: dict[str, Setting] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """As it is written, settings in the order of their names."""
        return ",".join(
            [
                self.name,
                *(f"{name}={_shown(self.settings[name])}" for name in sorted(self.settings)),
            ]
        )


def parse_preprocessing(text: str) -> Preprocessor:
    """Read `name` or `name,setting=value,…`.

    Raises:
        ValueError: another form, a setting given twice or not finite, or settings for what has
            none.
    """
    name, *pairs = (part.strip() for part in text.split(","))
    settings: dict[str, Setting] = {}
    if not _NAME.fullmatch(name):
        msg = "must be reference, native, or a name as in `tensorflow,dct=accurate`"
        raise ValueError(msg)
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key or not value or key in settings:
            msg = f"{pair!r} is no setting: write name=value, each once, as in tensorflow,dct=accurate"
            raise ValueError(msg)
        settings[key] = _value(key, value)
    if settings and name == REFERENCE:
        msg = "reference has no settings: the recipe says all"
        raise ValueError(msg)
    return Preprocessor(name, settings)


def canonical_preprocessing(text: str) -> str:
    """The same preprocessing, always written in one way."""
    return parse_preprocessing(text).text


@dataclass(frozen=True, slots=True)
class Corruptor:
    """What is done to the pixels, and how badly: 1 to 5."""

    name: str
    severity: int


def parse_corruption(text: str) -> Corruptor | None:
    """Read `name:severity` (3 where it is left away); None for `none`.

    Raises:
        ValueError: another form, or a severity that is not 1 to 5.
    """
    if text == NONE:
        return None
    name, found, severity = text.partition(":")
    grade = severity if found else str(_DEFAULT_SEVERITY)
    if not _NAME.fullmatch(name) or grade not in {"1", "2", "3", "4", "5"}:
        msg = "must be none, or a name and a severity from 1 to 5, as in gaussian_noise:3"
        raise ValueError(msg)
    return Corruptor(name, int(grade))


def canonical_corruption(text: str) -> str:
    """The same corruption, always with its severity."""
    found = parse_corruption(text)
    return NONE if found is None else f"{found.name}:{found.severity}"


def _value(name: str, text: str) -> Setting:
    """Numbers that are equal are one value, however they are written: 2.0 is 2."""
    if text in {"true", "false"}:
        return text == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        msg = f"the setting {name} is {text}: a number has to be finite"
        raise ValueError(msg)
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _shown(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
