"""Every way of feeding a model that a sweep asks for: recipes, mistakes, pixels and their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.canonical import key_of
from harness.datasets.dataset import Dataset
from harness.datasets.decode import decoder_versions
from harness.datasets.inputs import PreparedInputs
from harness.datasets.recipes import Recipe
from harness.environments.environment import Environment
from harness.execution.benches import Benches
from harness.execution.checkpoints import Loaded
from harness.execution.mistakes import SQUASHED, changed_by
from harness.execution.pixel_sources import Source, prepare_all
from harness.execution.side_jobs import Bench
from harness.models.checkpoint import InputPlan, input_plan
from harness.models.zoo import architecture_facts
from harness.plan.feeds import CellInputs, Feed, Feeds
from harness.plan.parts import Stack
from harness.progress import Progress
from harness.spec.feeding import (
    NATIVE,
    REFERENCE,
    Preprocessor,
    parse_corruption,
    parse_preprocessing,
)

_FRAMEWORKS = {
    "torch": "torch",
    "tensorflow": "keras",
    "litert": "keras",
    "tflite-runtime": "keras",
}
"""Whose recipe somebody would use who runs a model with a stack."""


@dataclass(frozen=True)
class _Wish:
    """One way of feeding one model, before its pixels are there."""

    model: str
    feed: Feed
    environment: str | None
    recipe: Recipe
    fed: CellInputs
    source: Source


def feed_images(
    models: Sequence[Loaded],
    feeds: Sequence[Feed],
    dataset: Dataset,
    stacks: Sequence[Stack],
    benches: Benches,
    progress: Progress,
) -> tuple[dict[str, Feeds], dict[str, PreparedInputs]]:
    """Make all inputs that a sweep asks for.

    An image that one preprocessor cannot use is left out of all cells alike: only so do they
    answer the same questions.

    Returns:
        The ways of feeding each model, by its name; and the prepared inputs, by inputs key.

    Raises:
        DatasetError: no image can be used; or nothing at all can be fed to a model.
        ModelError: a recipe that does not fit its model's input.
        SpecError: a preprocessor or a corruption that no environment offers.
    """
    wishes: list[_Wish] = []
    refused: list[_Refusal] = []
    for model in models:
        for feed in feeds:
            for found in _wishes(model, feed, stacks, benches):
                if isinstance(found, _Wish):
                    wishes.append(found)
                else:
                    refused.append(found)
    pixels = prepare_all([wish.source for wish in wishes], dataset, progress)
    inputs: dict[str, PreparedInputs] = {}
    shared: dict[str, dict[Feed, CellInputs | str]] = {model.name: {} for model in models}
    own: dict[str, dict[tuple[Feed, str], CellInputs | str]] = {m.name: {} for m in models}
    answers: list[tuple[str, Feed, str | None, CellInputs | str]] = [
        (w.model, w.feed, w.environment, keyed(w.fed, pixels[w.source.key], inputs)) for w in wishes
    ]
    for name, feed, environment, answer in [*answers, *refused]:
        if environment is None:
            shared[name][feed] = answer
        else:
            own[name][feed, environment] = answer
    return {name: Feeds(shared[name], own[name]) for name in shared}, inputs


def keyed(
    fed: CellInputs, prepared: PreparedInputs, inputs: dict[str, PreparedInputs]
) -> CellInputs:
    """The inputs with the keys of what was prepared, which is put into `inputs`."""
    inputs_key = key_of(
        {
            "schema_version": 1,
            "pixels": prepared.key,
            "labels": list(prepared.labels),
            "names": list(prepared.names),
            "classes": [[c.index, c.wnid, c.name] for c in prepared.classes or ()],
            "excluded": [[e.name, e.reason] for e in prepared.excluded],
        }
    )
    inputs[inputs_key] = prepared
    return replace(
        fed, pixels_key=prepared.key, inputs_key=inputs_key, images_key=prepared.images_key
    )


_Refusal = tuple[str, Feed, str | None, str]


def _wishes(
    model: Loaded, feed: Feed, stacks: Sequence[Stack], benches: Benches
) -> Iterator[_Wish | _Refusal]:
    """What a point of the axes means for a model: for all stacks alike, or for each."""
    if feed.preprocessing != NATIVE and feed.recipe == "own":
        yield _wish(model, feed, None, benches)
        return
    for stack in stacks:
        yield _wish(model, feed, stack, benches)


def _wish(model: Loaded, feed: Feed, stack: Stack | None, benches: Benches) -> _Wish | _Refusal:
    environment = stack.identity if stack else None
    try:
        recipe = model.checkpoint.recipe if feed.recipe == "own" else _target(model, stack)
        assert recipe is not None  # noqa: S101 - images are fed by one
        how, bench = _preprocessor(feed, stack, benches)
        corruptor = parse_corruption(feed.corruption)
        corrupts = _there(benches.corrupting()) if corruptor else None
    except _CannotBeError as error:
        return model.name, feed, environment, str(error)
    plan = input_plan(replace(model.checkpoint, recipe=recipe))
    changes = changed_by(feed.mistake, plan, model.checkpoint.output)
    if isinstance(changes, str):
        return model.name, feed, environment, changes
    source = Source(
        recipe, plan.height, plan.width, feed.mistake == SQUASHED, how, bench, corruptor, corrupts
    )
    made_by = bench.env if bench else None
    return _Wish(
        model.name,
        feed,
        environment,
        recipe,
        _fed(plan, recipe, changes, how, made_by, corrupts),
        source,
    )


def _fed(
    plan: InputPlan,
    recipe: Recipe,
    changes: Mapping[str, Any],
    how: Preprocessor | None,
    made_by: Environment | None,
    corrupts: Bench | None,
) -> CellInputs:
    size = {"height": plan.height, "width": plan.width}
    fed = CellInputs(
        pixels_key="",
        inputs_key="",
        kind="pixels",
        normalise=plan.normalise,
        layout=plan.layout,
        raw_quantised=plan.raw_quantised,
        recipe=recipe.name,
        recipe_key=key_of({**recipe.model_dump(mode="json", exclude={"name", "size"}), **size}),
        preprocessing=how.text if how else REFERENCE,
        prepared_in=made_by.name if made_by else None,
        prepared_by=made_by.identity if made_by else key_of(decoder_versions()),
        corrupted_by=corrupts.env.identity if corrupts else None,
    )
    return replace(fed, **changes)


class _CannotBeError(Exception):
    """A combination that there is not; the text says why."""


def _there(bench: Bench | str) -> Bench:
    if isinstance(bench, str):
        raise _CannotBeError(bench)
    return bench


def _target(model: Loaded, stack: Stack | None) -> Recipe:
    """The recipe by which somebody feeds this architecture who knows the stack's library alone.

    It is the one of the library's own model, also where that model normalises inside itself
    (Keras's EfficientNet wants 0 to 255): a converted or transplanted network does not, and that
    this is overlooked is what the axis shows. A size that the model's own recipe asks for stays.
    """
    assert stack is not None  # noqa: S101 - asked for each stack
    framework = _FRAMEWORKS.get(stack.stack)
    if framework is None:
        raise _CannotBeError(f"{stack.name} has no recipe of its own that would be the target's")
    if model.architecture is None:
        raise _CannotBeError(
            f"the target's recipe for {model.name} is not known: say its architecture"
        )
    facts = architecture_facts(model.architecture)
    found = facts.recipes.get(framework)
    if found is None:
        raise _CannotBeError(f"{framework} has no {facts.title}, so no recipe for it")
    own = model.checkpoint.recipe
    return found.model_copy(update={"size": own.size}) if own and own.size else found


def _preprocessor(
    feed: Feed, stack: Stack | None, benches: Benches
) -> tuple[Preprocessor | None, Bench | None]:
    if feed.preprocessing == REFERENCE:
        return None, None
    asked = parse_preprocessing(feed.preprocessing)
    if asked.name != NATIVE:
        return asked, _there(benches.preprocessing(asked.name))
    assert stack is not None  # noqa: S101 - asked for each stack
    found = benches.native(stack.identity)
    if found is None:
        raise _CannotBeError(
            f"{stack.name} brings nothing that decodes images: name who does, as in "
            "--preprocessing opencv"
        )
    name, bench = found
    return Preprocessor(name, asked.settings), bench
