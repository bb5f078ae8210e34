"""An image is taken for an environment only if it is the recorded one, or says that it is."""

from __future__ import annotations

import pytest
from support.fake_images import FakeImages

from harness.environments import image_build
from harness.environments.environment import Base, Environment, image_environment_of
from harness.environments.image_records import (
    IDENTITY_LABEL,
    NAME_LABEL,
    image_state,
    record_folder,
    remove_images,
    tag_of,
    write_record,
)
from harness.environments.provide import provide
from harness.errors import ProvisionError
from harness.paths import runner_tree
from harness.progress import SilentProgress

BASE = Base("local:bookworm", f"sha256:{'1' * 64}", "3.11", "local", "2.36")
EVENT = {"python": "3.11.2", "packages": {"onnxruntime": "9.9.0", "numpy": "2.4.6"}}


@pytest.fixture
def env(make_folder) -> Environment:
    return image_environment_of(make_folder(), BASE, "2" * 64)


def labels(env: Environment) -> dict[str, str]:
    return {IDENTITY_LABEL: env.identity, NAME_LABEL: env.name, "io.harness.base-size": "60"}


def built(env: Environment, engine: FakeImages) -> str:
    image = engine.add(tag_of(env), f"harness/{env.name}:latest", labels=labels(env))
    write_record(
        env,
        {
            "image": image, "size_bytes": 100, "seconds": 3.5, "probe": EVENT,
            "runner_sha256": runner_tree()[1],
        },
    )  # fmt: skip
    return image


def test_what_was_built_is_given_at_once(env):
    engine = FakeImages()
    assert image_state(env, engine) == "absent"
    image = built(env, engine)
    assert image_state(env, engine) == "built"
    done = provide(env, SilentProgress(), engine)
    assert (done.image, done.python) == (image, "/opt/env/bin/python")
    assert (done.size_bytes, done.seconds) == (100, 3.5)
    assert done.packages == EVENT["packages"]


def test_a_tag_that_was_moved_is_put_back_on_the_recorded_image(env):
    engine = FakeImages()
    image = built(env, engine)
    engine.add(tag_of(env), labels={"other": "content"})
    assert provide(env, SilentProgress(), engine).image == image
    assert engine.get(tag_of(env)).attrs["Id"] == image


def test_a_recorded_image_that_is_gone_is_broken_even_if_its_tag_is_there(env):
    engine = FakeImages()
    image = built(env, engine)
    engine.add(tag_of(env), f"harness/{env.name}:latest", labels=labels(env))
    del engine.held[image]
    assert image_state(env, engine) == "broken"


def test_a_tag_with_other_content_and_no_record_is_broken(env):
    engine = FakeImages()
    engine.add(tag_of(env), labels={IDENTITY_LABEL: "another"})
    assert image_state(env, engine) == "broken"


def test_an_image_without_a_record_is_asked_and_recorded_not_built(env, monkeypatch):
    engine = FakeImages()
    image = engine.add(tag_of(env), labels=labels(env))
    asked = []

    def probe_image(engine, name, image, python, backends, *, preparing):
        asked.append((name, image, python, backends))
        return EVENT

    monkeypatch.setattr(image_build, "probe_image", probe_image)
    progress = SilentProgress()
    done = provide(env, progress, engine)
    assert asked == [(env.name, image, "/opt/env/bin/python", ("onnxruntime",))]
    assert (done.image, done.seconds, progress.notes) == (image, 0.0, [])
    assert provide(env, progress, engine) == done
    assert len(asked) == 1
    assert (record_folder(env) / "sbom.cdx.json").is_file()


def test_an_image_that_does_not_hold_its_lock_is_refused_whatever_its_label_says(env, monkeypatch):
    engine = FakeImages()
    engine.add(tag_of(env), labels=labels(env))
    event = {"packages": {"onnxruntime": "9.8.0"}}
    monkeypatch.setattr(image_build, "probe_image", lambda *_, **__: event)
    with pytest.raises(ProvisionError) as error:
        provide(env, SilentProgress(), engine)
    assert "onnxruntime is 9.8.0, not 9.9.0; numpy is missing, not 2.4.6" in str(error.value)
    assert image_state(env, engine) == "built"
    assert not record_folder(env).exists()


def test_a_new_runner_asks_again_and_builds_nothing(env, monkeypatch):
    engine = FakeImages()
    image = built(env, engine)
    monkeypatch.setattr(image_build, "runner_tree", lambda: (None, "new"))
    later = {**EVENT, "python": "3.11.3"}
    monkeypatch.setattr(image_build, "probe_image", lambda *_, **__: later)
    done = provide(env, SilentProgress(), engine)
    assert (done.image, done.seconds, done.probe) == (image, 3.5, later)


def test_removing_keeps_what_others_tagged_and_counts_without_the_base(env):
    engine = FakeImages()
    image = built(env, engine)
    shared = engine.add("harness/onnxruntime-9.9:old", "mine:1", labels=labels(env))
    freed = remove_images(env.name, engine)
    assert image not in engine.held
    assert engine.held[shared]["RepoTags"] == ["mine:1"]
    assert 40 < freed < 40 + 10_000
    assert not record_folder(env).exists()
    assert remove_images(env.name, engine) == 0
