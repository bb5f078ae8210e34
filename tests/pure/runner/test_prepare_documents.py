"""Job documents of kind `prepare`: what is accepted, what is refused, and the schema agrees."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.documents import schema
from runner.errors import RunnerError
from runner.jobs import ProbeJob, read_job
from runner.prepare_jobs import Corruption, CorruptJob, Geometry, PrepareJob

GEOMETRY = {
    "height": 224,
    "width": 224,
    "resize_height": 256,
    "resize_width": 256,
    "interpolation": "bilinear",
}
CORRUPTION = {"name": "fog", "severity": 3, "seed": 0, "keys": ["a", "b"]}
COMMON = {"schema_version": 1, "kind": "prepare", "work": "/w", "target": "/w/x.npy"}
IMAGES = {**COMMON, "preprocessor": "opencv", "geometry": GEOMETRY, "images": ["/a.jpg"]}
SOURCE = {**COMMON, "source": "/w/pixels.npy", "corruption": CORRUPTION}
NOTHING = dict.fromkeys(["preprocessor", "settings", "geometry", "images", "source", "corruption"])


def accepted(job: dict[str, Any]) -> bool:
    return not list(Draft202012Validator(schema("job")).iter_errors(job))


@pytest.mark.parametrize("job", [IMAGES, {**NOTHING, **IMAGES}])
def test_images_are_prepared_by_a_preprocessor(job: dict[str, Any]) -> None:
    assert accepted(job)
    assert read_job(json.dumps(job)) == PrepareJob(
        work="/w",
        preprocessor="opencv",
        geometry=Geometry(224, 224, 256, 256, "bilinear"),
        images=("/a.jpg",),
        target="/w/x.npy",
    )


@pytest.mark.parametrize("job", [SOURCE, {**NOTHING, **SOURCE}, {**SOURCE, "settings": {}}])
def test_pixels_are_corrupted(job: dict[str, Any]) -> None:
    assert accepted(job)
    assert read_job(json.dumps(job)) == CorruptJob(
        work="/w",
        source="/w/pixels.npy",
        corruption=Corruption("fog", 3, 0, ("a", "b")),
        target="/w/x.npy",
    )


def test_squash_and_settings_are_read() -> None:
    geometry = {**GEOMETRY, "resize_height": 1, "squash": True}
    job = {**IMAGES, "geometry": geometry, "settings": {"area": True}, "threads": 2}
    assert accepted(job)
    read = read_job(json.dumps(job))
    assert isinstance(read, PrepareJob)
    assert read.geometry.squash is True
    assert (read.settings, read.threads) == ({"area": True}, 2)


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (COMMON, "either 'images' .* or 'source'"),
        ({**IMAGES, **SOURCE}, "either 'images' .* or 'source'"),
        ({**IMAGES, "corruption": CORRUPTION}, "'corruption' does not go with it"),
        ({**SOURCE, "preprocessor": "opencv"}, "'preprocessor' does not go with it"),
        ({**SOURCE, "geometry": GEOMETRY}, "'geometry' does not go with it"),
        ({**SOURCE, "settings": {"area": True}}, "a corruption has none"),
        ({**IMAGES, "preprocessor": None}, "'preprocessor' is missing"),
        ({**IMAGES, "geometry": None}, "'geometry' is missing"),
        ({**SOURCE, "corruption": None}, "'corruption' is missing"),
        ({**IMAGES, "images": []}, "job.images: must hold at least 1 items"),
        ({**IMAGES, "geometry": {**GEOMETRY, "crop": 1}}, "job.geometry: unknown key 'crop'"),
        ({**IMAGES, "geometry": {**GEOMETRY, "interpolation": "hamming"}}, "'nearest', 'bili"),
        ({**SOURCE, "corruption": {**CORRUPTION, "severity": 6}}, "must be at most 5"),
        ({**SOURCE, "corruption": {**CORRUPTION, "keys": [1]}}, r"keys\[0\]"),
        ({**IMAGES, "extra": 1}, "unknown key 'extra'"),
    ],
)
def test_a_wrong_job_is_refused_and_the_schema_says_so_too(job: dict[str, Any], words: str) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        read_job(json.dumps(job))
    assert caught.value.kind == "job"
    assert not accepted(job)


def test_a_crop_larger_than_what_it_is_taken_from_is_refused() -> None:
    job = {**IMAGES, "geometry": {**GEOMETRY, "resize_width": 223}}
    with pytest.raises(RunnerError, match="the crop is larger"):
        read_job(json.dumps(job))


@pytest.mark.parametrize(
    ("backends", "given", "preprocessors"),
    [
        (None, {}, None),
        (["null"], {}, ()),
        (["null"], {"preprocessors": None}, None),
        ([], {"preprocessors": ["pillow"]}, ("pillow",)),
    ],
)
def test_a_probe_asks_for_preprocessors(
    backends: list[str] | None, given: dict[str, Any], preprocessors: tuple[str, ...] | None
) -> None:
    job = {"schema_version": 1, "kind": "probe", "work": "/w", "backends": backends, **given}
    assert accepted(job)
    read = read_job(json.dumps(job))
    assert isinstance(read, ProbeJob)
    assert read.preprocessors == preprocessors
