"""Ways of feeding a model: whose recipe, at which size, from whose pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.containers.limits import Limits
from harness.datasets.dataset import Dataset, Item
from harness.datasets.inputs import PreparedInputs
from harness.datasets.recipes import PRESETS, Recipe
from harness.environments.environment import Environment
from harness.execution import feeding
from harness.execution.benches import Benches
from harness.execution.checkpoints import Loaded
from harness.execution.feeding import feed_images
from harness.execution.pixel_sources import Source
from harness.execution.side_jobs import Bench
from harness.execution.stacks import Stacks
from harness.models.checkpoint import Checkpoint
from harness.models.model_file import ModelFile, TensorSpec
from harness.plan.feeds import CellInputs, Feed
from harness.plan.parts import Stack
from harness.progress import SilentProgress
from harness.spec.models import EnvironmentEntry

ENV = Environment("imaging", "imaging", "13.0", "cpu", (), (), {}, "3.11", "corrupts-by")
DATA = Dataset(Path("data"), (Item("a", 0),), None, "folders")
TARGET = Feed(recipe="target")


class FakeBenches(Benches):
    """One environment that corrupts."""

    def corrupting(self) -> Bench | str:
        return Bench(ENV, None)


def stack(name: str) -> Stack:
    return Stack(EnvironmentEntry(name=name), name, name, "1", name, {}, (), "venv")


def model(architecture: str | None, recipe: Recipe) -> Loaded:
    tensor = TensorSpec("x", "float32", (None, 3, None, None))
    file = ModelFile(Path("m.npz"), "weights", "sha", (tensor,), (), None, None, (), 1)
    return Loaded("m", Checkpoint("m", file, recipe), None, None, architecture)


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """The sources that were asked for; their pixels are not made."""
    asked: list[Source] = []

    def prepare_all(wanted: Sequence[Source], *_: Any) -> dict[str, PreparedInputs]:
        asked.extend(wanted)
        return {
            one.key: PreparedInputs(
                one.key, Path("p"), "pixels", 1, ("a",), (0,), ("h",), None, (), "folders"
            )
            for one in wanted
        }

    monkeypatch.setattr(feeding, "prepare_all", prepare_all)
    return asked


def fed(one: Loaded, feed: Feed, name: str = "tensorflow") -> CellInputs | str:
    benches = FakeBenches(Stacks((), {}), Limits(), SilentProgress())
    found, _ = feed_images([one], [feed], DATA, [stack(name)], benches, SilentProgress())
    return found["m"].of(feed, name)


@pytest.mark.usefixtures("sources")
def test_the_targets_recipe_is_the_librarys_also_where_its_network_normalises_inside() -> None:
    """Keras's EfficientNet takes 0 to 255; transplanted weights fed so are fed wrongly."""
    one = model("efficientnet_b0", PRESETS["torch"])
    own, target = fed(one, Feed()), fed(one, TARGET)
    assert isinstance(own, CellInputs)
    assert isinstance(target, CellInputs)
    assert own.normalise is not None
    assert own.normalise["divide"] == 255.0
    assert target.normalise is not None
    assert (target.normalise["divide"], target.normalise["subtract"]) == (1.0, [0.0] * 3)
    assert target.recipe == "efficientnet_b0@keras"


@pytest.mark.usefixtures("sources")
def test_the_target_in_torch_is_the_recipe_of_the_library_that_builds_it_there() -> None:
    target = fed(model("mobilenet_v2", PRESETS["tf"]), TARGET, "torch")
    assert isinstance(target, CellInputs)
    assert target.normalise is not None
    assert target.normalise["divide"] == 255.0


def test_the_targets_recipe_keeps_the_size_that_was_asked_for(sources: list[Source]) -> None:
    asked = PRESETS["torch"].model_copy(update={"size": 160})
    fed(model("mobilenet_v2", asked), TARGET)
    fed(model("mobilenet_v2", PRESETS["torch"]), TARGET)
    assert [(one.height, one.width) for one in sources] == [(160, 160), (224, 224)]


@pytest.mark.parametrize(
    ("architecture", "name", "reason"),
    [
        ("mobilenet_v2", "onnxruntime", "onnxruntime has no recipe of its own"),
        (None, "torch", "say its architecture"),
        ("vit_b_16", "tensorflow", "keras has no"),
    ],
)
@pytest.mark.usefixtures("sources")
def test_where_there_is_no_targets_recipe_that_is_the_reason(
    architecture: str | None, name: str, reason: str
) -> None:
    found = fed(model(architecture, PRESETS["torch"]), TARGET, name)
    assert isinstance(found, str)
    assert reason in found


@pytest.mark.usefixtures("sources")
def test_who_corrupts_is_recorded() -> None:
    one = model(None, PRESETS["tf"])
    corrupted = fed(one, Feed(corruption="fog:3"))
    assert isinstance(corrupted, CellInputs)
    assert corrupted.corrupted_by == "corrupts-by"
    plain = fed(one, Feed())
    assert isinstance(plain, CellInputs)
    assert plain.corrupted_by is None
