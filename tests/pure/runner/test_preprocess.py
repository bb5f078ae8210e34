"""Prepare jobs from within: what a failing preprocessor or a wrong source becomes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.odd_images import rough

from runner import preprocess, preprocessors
from runner.errors import RunnerError
from runner.prepare_jobs import Corruption, CorruptJob, Geometry, PrepareJob
from runner.preprocessors.base import ImageError

GEOMETRY = Geometry(2, 3, 2, 3, "bilinear")


class Told:
    """Keeps the events."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}

    def emit(self, event: str, **fields: Any) -> None:
        self.last = {"event": event, **fields}


def prepared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fails: dict[bytes, Exception]
) -> dict[str, Any]:
    """The event of a job over `a` and `b`, by a preprocessor that fails on some contents."""

    def decode_and_fit(data: bytes, *_: Any) -> np.ndarray:
        if data in fails:
            raise fails[data]
        return np.full((2, 3, 3), len(data), np.uint8)

    module: Any = SimpleNamespace(SETTINGS={}, versions=dict, decode_and_fit=decode_and_fit)
    monkeypatch.setattr(preprocessors, "load", lambda _name: module)
    for name, content in (("a", b"one"), ("b", b"four")):
        (folder / name).write_bytes(content)
    images = (str(folder / "a"), str(folder / "b"))
    told: Any = Told()
    job = PrepareJob(str(folder), "mine", GEOMETRY, images, str(folder / "x.npy"))
    preprocess.prepare(job, told)
    return told.last


def test_an_image_that_fails_is_left_out_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = prepared(tmp_path, monkeypatch, {b"one": ImageError("it is torn")})
    assert event["failed"] == [{"place": 0, "reason": "it is torn"}]
    assert np.load(tmp_path / "x.npy").tolist() == np.full((1, 2, 3, 3), 4).tolist()


def test_whatever_else_is_raised_names_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunnerError) as caught:
        prepared(tmp_path, monkeypatch, {b"four": KeyError("gone")})
    assert caught.value.kind == "backend"
    assert caught.value.message == f"{tmp_path / 'b'}: KeyError: 'gone'"
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.parametrize(
    ("name", "words"), [("x.npz", r"an archive \(\.npz\)"), ("gone.npy", "can't be read")]
)
def test_a_source_that_is_no_array_is_refused(tmp_path: Path, name: str, words: str) -> None:
    np.savez(tmp_path / "x.npz", w=np.zeros((1, 32, 32, 3), np.uint8))
    corruption = Corruption("fog", 1, 0, ("a",))
    told: Any = Told()
    job = CorruptJob(str(tmp_path), str(tmp_path / name), corruption, str(tmp_path / "y.npy"))
    with pytest.raises(RunnerError, match=words) as caught:
        preprocess.prepare(job, told)
    assert caught.value.kind == "job"
    assert not (tmp_path / "y.npy").exists()


def tensorflow(monkeypatch: pytest.MonkeyPatch, decode: Any, resize: Any) -> ModuleType:
    """The preprocessor over a TensorFlow made up here."""
    made = ModuleType("tensorflow")
    vars(made).update(
        __version__="0",
        io=SimpleNamespace(decode_jpeg=decode, decode_image=decode),
        image=SimpleNamespace(resize=resize),
        errors=SimpleNamespace(OpError=RuntimeError),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", made)
    monkeypatch.delitem(sys.modules, "runner.preprocessors.tensorflow", raising=False)
    return preprocessors.load("tensorflow")


@pytest.mark.parametrize("step", ["decode", "resize"])
@pytest.mark.parametrize("kind", [RuntimeError, TypeError])
def test_whatever_tensorflow_raises_is_a_reason_and_loses_one_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, kind: type[Exception]
) -> None:
    def decode(*_: Any, **__: Any) -> np.ndarray:
        if step == "decode":
            raise kind("no such bits")
        return np.zeros((4, 5, 3), np.uint8)

    def resize(*_: Any, **__: Any) -> np.ndarray:
        raise kind("no such bits")

    rough(8, 8).save(tmp_path / "a.jpg")
    module = tensorflow(monkeypatch, decode, resize)
    try:
        with pytest.raises(ImageError, match="cannot be decoded: no such bits"):
            module.decode_and_fit(
                (tmp_path / "a.jpg").read_bytes(), GEOMETRY, {"dct": "fast", "antialias": False}
            )
    finally:
        sys.modules.pop("runner.preprocessors.tensorflow", None)
