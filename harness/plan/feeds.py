"""Ways of making a model's inputs from the same images: the axes that concern inputs alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from harness.spec.axes import Axes
from harness.spec.feeding import NONE, REFERENCE

OWN = "own"


@dataclass(frozen=True, slots=True)
class Feed:
    """A point of the axes that concern inputs.

    Attributes:
        preprocessing: who decodes and resizes: `reference`, `native`, or a preprocessor.
        corruption: `none`, or what is done to the pixels.
        mistake: `none`, or what is done wrong on purpose.
        recipe: `own`, or `target`: that of the library which runs the model.
    """

    preprocessing: str = REFERENCE
    corruption: str = NONE
    mistake: str = NONE
    recipe: str = OWN


USUAL = Feed()
"""What a sweep does that says nothing of it."""


def feeds_of(axes: Axes) -> tuple[Feed, ...]:
    """Every combination that a sweep asks for, the usual one first where it is among them."""
    named = (axes.preprocessing, axes.corruption, axes.mistake, axes.recipe)
    found = dict.fromkeys(Feed(*point) for point in product(*named))
    return tuple(sorted(found, key=lambda feed: feed != USUAL))


@dataclass(frozen=True, slots=True)
class CellInputs:
    """How the prepared inputs reach the model.

    Attributes:
        pixels_key: key of the prepared pixels or array.
        inputs_key: the same with its labels: what comparisons are made over.
        kind: `pixels` (NHWC, uint8 or float32) or `array` (the model's own layout).
        normalise: the recipe's arithmetic for the runner, or None for an array.
        layout: NCHW or NHWC, or None for an array.
        raw_quantised: feed integer pixels straight to a quantised input.
        swap_sides: feed height as width, and width as height.
        softmax: apply softmax once more to what comes out.
        images_key: of the images alone, however their pixels were made; None: as inputs_key.
        recipe: name of the recipe.
        recipe_key: hash of the recipe, before any mistake.
        preprocessing: who made the pixels, with its settings.
        prepared_in: name of the environment that made them; None: the harness itself.
        prepared_by: identity of that environment, or of the harness's own decoder.
        corrupted_by: identity of the environment that corrupted the pixels; None: nobody did.
    """

    pixels_key: str
    inputs_key: str
    kind: Literal["pixels", "array"]
    normalise: Mapping[str, Any] | None
    layout: str | None
    raw_quantised: bool
    swap_sides: bool = False
    softmax: bool = False
    images_key: str | None = None
    recipe: str | None = None
    recipe_key: str | None = None
    preprocessing: str = REFERENCE
    prepared_in: str | None = None
    prepared_by: str | None = None
    corrupted_by: str | None = None

    @property
    def feeding(self) -> dict[str, Any]:
        """What a cell's key holds of it beside the pixels: only what may change an answer."""
        return {
            "normalise": self.normalise and dict(self.normalise),
            "layout": self.layout,
            "raw_quantised": self.raw_quantised,
            **({"swap_sides": True} if self.swap_sides else {}),
            **({"softmax": True} if self.softmax else {}),
        }


@dataclass(frozen=True)
class Feeds:
    """A model's inputs, by the way in which they are made.

    Attributes:
        shared: those that every environment is given alike; a text says why there are none.
        own: those that depend on the environment, by its identity.
    """

    shared: Mapping[Feed, CellInputs | str]
    own: Mapping[tuple[Feed, str], CellInputs | str] = field(default_factory=dict)

    @property
    def usual(self) -> CellInputs | None:
        """Those that conversions are checked with: the usual ones where they are among them."""
        found = [self.shared.get(USUAL), *self.shared.values(), *self.own.values()]
        return next((one for one in found if isinstance(one, CellInputs)), None)

    def of(self, feed: Feed, environment: str) -> CellInputs | str:
        """The inputs for an environment, or why it cannot have them."""
        found = self.own.get((feed, environment))
        return self.shared[feed] if found is None else found
