"""The ImageNet profiles: learning, fitting, and naming a planted shift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.suspicions import Evidence, profiles, suspect
from harness.analysis.suspicions.profiles import GROUPS, Profiles

KNOWN = profiles.shipped()


def imagenet_like(n: int = 120, seed: int = 0, move: Any = None) -> Any:
    """Logits [n, 1000] that vary as images do, around the mean of healthy models."""
    rng = np.random.default_rng(seed)
    rows = KNOWN.mean + rng.normal(size=(n, len(KNOWN.content))) @ KNOWN.content
    rows += rng.normal(0, np.sqrt(KNOWN.content_rest), rows.shape)
    return (rows if move is None else rows + move).astype(np.float32)


def signature(name: str) -> Any:
    return KNOWN.signatures[KNOWN.names.index(name)]


def test_what_ships_holds_class_statistics_only_and_every_group() -> None:
    assert KNOWN.mean.shape == (1000,)
    assert KNOWN.signatures.shape == (len(KNOWN.names), 1000)
    assert {name for members in GROUPS.values() for name in members} < set(KNOWN.names)
    factor, _, _ = KNOWN.whitened(100)
    assert factor.diagonal().min() > 0
    assert Path(profiles.__file__).parent.with_name("suspicion_profiles.npz").stat().st_size < 1e6


def test_a_fit_gives_back_the_weights_that_went_in() -> None:
    shift = 0.8 * signature("bgr") + 0.5 * signature("transposed")
    fit = KNOWN.fit(shift, 200)
    assert fit.weights["bgr"] == pytest.approx(0.8, abs=1e-6)
    assert fit.weights["transposed"] == pytest.approx(0.5, abs=1e-6)
    assert fit.misfit == pytest.approx(0, abs=1e-5)
    assert fit.strength["bgr"] > 10
    assert fit.strength["wrong-normalisation"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bgr", "bgr"),
        ("grb", "bgr"),
        ("transposed", "sides-swapped"),
        ("low-contrast", "wrong-normalisation"),
        ("no-mean", "wrong-normalisation"),
    ],
)
def test_a_planted_shift_is_named_and_nothing_else(name: str, kind: str) -> None:
    found = suspect(Evidence(imagenet_like(move=signature(name))))
    assert [s.kind for s in found] == [kind]
    assert found[0].numbers["weight"] == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("name", ["noise", "blur", "jpeg", "upside-down"])
def test_disturbed_images_are_not_taken_for_a_mistake(name: str) -> None:
    assert suspect(Evidence(imagenet_like(move=signature(name)))) == []


@pytest.mark.parametrize("n", [10, 20, 100])
@pytest.mark.parametrize("seed", range(5))
def test_ordinary_content_is_left_in_peace(n: int, seed: int) -> None:
    assert suspect(Evidence(imagenet_like(n, seed))) == []


def test_an_offset_is_seen_without_labels_or_companions() -> None:
    scores = imagenet_like(20)
    found = suspect(Evidence(np.roll(scores, 1, axis=1)))
    assert [(s.kind, s.numbers["shift"]) for s in found] == [("class-offset", 1)]
    background = np.pad(scores, ((0, 0), (1, 0)), constant_values=float(scores.min()))
    assert suspect(Evidence(background, class_offset=1)) == []
    assert suspect(Evidence(background))[0].kind == "class-offset"


def test_a_mistake_is_named_beside_an_offset() -> None:
    scores = np.roll(imagenet_like(move=signature("bgr")), 1, axis=1)
    assert {s.kind for s in suspect(Evidence(scores))} == {"class-offset", "bgr"}


def test_other_classes_and_unordered_ones_are_not_judged_by_the_profiles() -> None:
    scores = imagenet_like(move=signature("bgr"))
    order = np.random.default_rng(3).permutation(1000)
    assert suspect(Evidence(scores[:, order])) == []
    others = [(i, f"n{i:08d}", f"class {i}") for i in range(1000)]
    assert suspect(Evidence(scores, classes=others)) == []


def test_logits_of_unscaled_inputs_are_too_large() -> None:
    found = suspect(Evidence(imagenet_like() * 40))
    assert [(s.kind, s.confidence) for s in found] == [("wrong-normalisation", "likely")]
    assert found[0].numbers["deviation"] > 30


def test_learned_statistics_survive_their_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    healthy = [profiles.standardised(rng.normal(size=(15, 1000))) for _ in range(3)]
    made = profiles.learn(healthy, [[rng.normal(size=1000) * 0.01]], {"bgr": [np.ones(1000)]}, 20)
    profiles.save(made, tmp_path / "p.npz")
    read = profiles.load(tmp_path / "p.npz")
    assert isinstance(read, Profiles)
    assert read.names == ("bgr",)
    assert np.allclose(read.signatures, 1)
    assert read.content.shape == (20, 1000)
    assert np.allclose(read.mean, made.mean, atol=1e-3)
    # What the factors leave out is kept as one number: no variance is lost.
    total = (made.content**2).sum() + 1000 * made.content_rest
    assert total == pytest.approx(1000, rel=0.1)
