"""Corruptions are the same for an image whatever stands beside it; the library is made up."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from runner.errors import RunnerError
from runner.prepare_jobs import Corruption
from runner.support import corruptions

KEYS = ("ant", "bee", "cat", "dog")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A library of two corruptions that draw, one by a seed of its own; what seeds it was given."""
    seeds: list[Any] = []
    made = ModuleType("imagecorruptions")

    def corrupt(
        image: np.ndarray, severity: int, corruption_name: str, seed: int | None = None
    ) -> np.ndarray:
        seeds.append(seed)
        if seed is not None:
            return np.full(image.shape, seed % 256, np.uint8)
        drawn = np.random.normal(0, severity * 10, image.shape)  # noqa: NPY002
        return np.clip(image + drawn, 0, 255).astype(np.uint8)

    made.corrupt = corrupt  # type: ignore[attr-defined]
    made.get_corruption_names = lambda _subset: ["gaussian_noise", "shot_noise", "glass_blur"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "imagecorruptions", made)
    return seeds


@pytest.fixture
def rows() -> np.ndarray:
    """Four equal grey images, so that what differs was drawn."""
    return np.full((4, 32, 40, 3), 128, np.uint8)


def made(rows: np.ndarray, name: str = "gaussian_noise", **changed: Any) -> np.ndarray:
    asked = {"severity": 3, "seed": 0, "keys": KEYS, **changed}
    return np.stack(list(corruptions.corrupt(rows, Corruption(name=name, **asked))))


def test_an_image_is_corrupted_the_same_in_any_order_and_company(
    library: list[Any], rows: np.ndarray
) -> None:
    first = made(rows)
    assert np.array_equal(made(rows), first)
    turned = made(rows, keys=KEYS[::-1])
    assert np.array_equal(turned[::-1], first)
    alone = made(rows[:1], keys=("cat",))
    assert np.array_equal(alone[0], first[2])


def test_key_seed_severity_and_name_all_draw_anew(library: list[Any], rows: np.ndarray) -> None:
    first = made(rows)
    assert len({row.tobytes() for row in first}) == 4
    for other in (
        made(rows, seed=1),
        made(rows, severity=2),
        made(rows, "shot_noise"),
        made(rows, keys=("Ant", "Bee", "Cat", "Dog")),
    ):
        assert (other != first).any(axis=(1, 2, 3)).all()


def test_one_that_takes_a_seed_is_given_one_by_key(library: list[Any], rows: np.ndarray) -> None:
    made(rows, "glass_blur")
    made(rows[:1], "glass_blur", keys=("bee",))
    assert len(set(library[:4])) == 4
    assert library[4] == library[1]
    assert all(0 <= seed < 2**31 for seed in library)


def test_numpys_own_state_is_as_before(library: list[Any], rows: np.ndarray) -> None:
    np.random.seed(11)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(11)  # noqa: NPY002
    made(rows)
    assert np.random.random() == expected  # noqa: NPY002


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"name": "rain"}, "unsupported", "corruption 'rain' .*gaussian_noise"),
        ({"keys": ("a",)}, "job", "1 keys for 4 images"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_made(
    library: list[Any], rows: np.ndarray, change: dict[str, Any], kind: str, words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        made(rows, **change)
    assert caught.value.kind == kind
    assert library == []


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((4, 32, 40, 3), "float32", "uint8 pixels .*float32"),
        ((4, 31, 40, 3), "uint8", "32 x 32 pixels or more, and these are 31 x 40"),
        ((4, 32, 40), "uint8", r"these are uint8 \[4, 32, 40\]"),
    ],
)
def test_rows_that_it_cannot_take_are_refused(
    library: list[Any], shape: tuple[int, ...], dtype: str, words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        made(np.zeros(shape, dtype))
    assert caught.value.kind == "unsupported"


def test_an_environment_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(RunnerError, match="imagecorruptions does not import") as caught:
        corruptions.names()
    assert caught.value.kind == "unsupported"
    found = corruptions.probe()
    assert (found["ok"], found["offer"]) == (False, None)


def test_a_probe_names_the_corruptions(library: list[Any]) -> None:
    found = corruptions.probe()
    assert found["offer"] == {
        "names": ["gaussian_noise", "shot_noise", "glass_blur"],
        "severities": [1, 2, 3, 4, 5],
    }


def test_what_the_library_cannot_seed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, rows: np.ndarray
) -> None:
    """The first publication passes everything on and seeds nothing; the later one takes a seed."""
    library = ModuleType("imagecorruptions")
    taken = {}

    def corrupt(image: np.ndarray, severity: int, corruption_name: str, **rest: Any) -> np.ndarray:
        return library.corruption_dict[corruption_name](image, severity, **rest)

    def fog(x: np.ndarray, severity: int = 1) -> np.ndarray:
        return x

    def impulse_noise(x: np.ndarray, severity: int = 1) -> np.ndarray:
        return x

    def glass_blur(x: np.ndarray, severity: int = 1, seed: int | None = None) -> np.ndarray:
        taken["seed"] = seed
        return x + severity

    functions = {each.__name__: each for each in (fog, impulse_noise, glass_blur)}
    library.corruption_dict = functions  # type: ignore[attr-defined]
    library.corrupt = corrupt  # type: ignore[attr-defined]
    library.get_corruption_names = lambda _subset: list(functions)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "imagecorruptions", library)
    assert corruptions.names() == ("fog", "glass_blur")
    assert (made(rows, "glass_blur") == rows + 3).all()
    assert taken["seed"] is not None
    with pytest.raises(RunnerError, match=r"'impulse_noise' .*can't be seeded in this library"):
        made(rows, "impulse_noise")

    def seedless(image: np.ndarray, severity: int, corruption_name: str) -> np.ndarray:
        return corrupt(image, severity, corruption_name)

    library.corrupt = seedless  # type: ignore[attr-defined]
    assert corruptions.names() == ("fog",)
