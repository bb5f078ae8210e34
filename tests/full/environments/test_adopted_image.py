"""Somebody else's image: found, pinned, asked what it holds, and used as it is."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from harness import paths
from harness.containers.engine import Engine
from harness.environments import adopted_image, pulling
from harness.environments.adopted import resolve_adopted
from harness.environments.base import ensure_base
from harness.environments.provide import provide
from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError, ProvisionError
from harness.progress import SilentProgress

REPOSITORY = "harness-test/adopted"
Make = Callable[..., str]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Probes are kept in a cache of the test's own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    paths.runner_tree.cache_clear()
    yield
    paths.runner_tree.cache_clear()


@pytest.fixture(scope="module")
def packages(engine: Engine) -> tuple[str, Path]:
    """A base image, and a folder of packages for its Python: ONNX Runtime and NumPy."""
    try:
        base = ensure_base(engine, ("3.11",), SilentProgress())
        installed = provision(resolve("onnxruntime-1.31", python=base.python), SilentProgress())
    except HarnessError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(error.message)
    (site,) = Path(installed.python).parents[1].glob("lib/python*/site-packages")
    return base.tag, site


@pytest.fixture
def make(engine: Engine, packages: tuple[str, Path]) -> Iterator[Make]:
    """Make an image: `make(tag, full=True, env=(...), without="name")`; its id.

    Its packages lie in no place that the harness would choose, and its own entry point fails.
    """
    made: list[str] = []
    base, site = packages

    def begin(tag: str, *, full: bool = True, env: tuple[str, ...] = (), without: str = "-") -> str:
        container = engine.client.containers.create(base, ["true"])
        try:
            if full:
                # Where nobody but the image itself, by its PYTHONPATH, would look.
                container.put_archive("/opt", archive(site, "theirs/site", without))
            changes = [
                'ENTRYPOINT ["/bin/false"]',
                f"LABEL made={time.time_ns()}",
                *(f"ENV {one}" for one in (*env, "PYTHONPATH=/opt/theirs/site")),
            ]
            image = container.commit(REPOSITORY, tag, changes=changes)
        finally:
            container.remove(force=True)
        made.append(str(image.id))
        return made[-1]

    yield begin
    for name in made:
        engine.client.images.remove(name, force=True)


def archive(folder: Path, name: str, without: str) -> bytes:
    """A folder as a tar archive, owned by root; without what begins with `without`."""

    def owned(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = entry.name.removeprefix(name).strip("/").split("/")
        if parts[0].startswith(without) or "__pycache__" in parts:
            return None
        entry.uid = entry.gid = 0
        entry.mode |= 0o444 | (0o111 if entry.isdir() else 0)
        return entry

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(folder, name, filter=owned)
    return packed.getvalue()


def left(engine: Engine) -> list[Any]:
    found = engine.client.api.containers(all=True, filters={"label": "io.harness.owner.pid"})
    return [one for one in found if one["Labels"].get("io.harness.name", "").startswith("image:")]


def test_an_image_is_used_by_tag_and_by_id_and_is_one_environment(
    engine: Engine, make: Make
) -> None:
    number = make("first")
    progress = SilentProgress()
    tagged = resolve_adopted(f"image:{REPOSITORY}:first", progress, engine)
    assert tagged.image == number
    assert (tagged.env.stack, tagged.env.version) == ("onnxruntime", "1.31.1")
    assert (tagged.env.executor, tagged.env.kind) == ("docker", "image")
    assert tagged.env.backends == ("onnxruntime",)
    assert tagged.probe["system_packages"]["libc6"]
    assert tagged.probe["distribution"]["id"] == "debian"
    assert tagged.size_bytes > 100e6
    assert progress.notes == [
        f"image:{REPOSITORY}:first is now {number[:19]}; to keep to it: image:{number}"
    ]
    progress = SilentProgress()
    by_id = resolve_adopted(f"image:{number}", progress, engine)
    assert by_id.env.name == f"image:{number[:19]}"
    assert by_id.env.identity == tagged.env.identity
    assert progress.notes == []
    assert provide(tagged.env, SilentProgress(), engine).image == number
    assert left(engine) == []


def test_identity_is_the_content_and_not_the_image_id(engine: Engine, make: Make) -> None:
    first, again = make("first"), make("again")
    assert first != again

    def identity(number: str) -> str:
        return resolve_adopted(f"image:{number}", SilentProgress(), engine).env.identity

    assert identity(first) == identity(again)
    assert identity(make("less", without="flatbuffers")) != identity(first)
    assert identity(make("set", env=("TF_ENABLE_ONEDNN_OPTS=0",))) != identity(first)


def test_a_second_look_starts_no_container(
    engine: Engine, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = f"image:{make('first')}"
    first = resolve_adopted(reference, SilentProgress(), engine)
    monkeypatch.setattr(adopted_image, "run_inside", None)
    monkeypatch.setattr(adopted_image, "probe_image", None)
    assert resolve_adopted(reference, SilentProgress(), engine).env == first.env


def test_a_tag_that_moved_between_two_looks_is_refused(engine: Engine, make: Make) -> None:
    make("moving")
    env = resolve(f"image:{REPOSITORY}:moving", engine=engine)
    make("moving", without="flatbuffers")
    with pytest.raises(ProvisionError, match="was changed while it was used"):
        provide(env, SilentProgress(), engine)


def test_an_image_without_numpy_says_so(engine: Engine, make: Make) -> None:
    number = make("bare", full=False)
    with pytest.raises(ProvisionError, match="without NumPy") as caught:
        resolve_adopted(f"image:{number}", SilentProgress(), engine)
    assert "/usr/bin/python3" in caught.value.message or "/usr/local/bin" in caught.value.message
    assert left(engine) == []


def test_an_image_without_a_shell_and_without_a_python_says_so(engine: Engine) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    tag = "empty"
    engine.client.api.import_image_from_data(packed.getvalue(), repository=REPOSITORY, tag=tag)
    try:
        with pytest.raises(ProvisionError, match="No Python that answers was found"):
            resolve_adopted(f"image:{REPOSITORY}:{tag}", SilentProgress(), engine)
    finally:
        engine.client.images.remove(f"{REPOSITORY}:{tag}", force=True)
    assert left(engine) == []


def test_an_image_for_another_machine_is_refused_before_it_is_started(
    engine: Engine, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = make("first")
    monkeypatch.setattr(adopted_image, "_MACHINES", dict.fromkeys(("amd64", "arm64"), "other"))
    with pytest.raises(ProvisionError, match="is made for linux/"):
        resolve_adopted(f"image:{number}", SilentProgress(), engine)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("sha256:" + "a" * 64, "an image id cannot be pulled"),
        (f"registry.invalid/none/here@sha256:{'b' * 64}", "cannot be pulled"),
        ("registry.invalid/none/here:1.0", "cannot be pulled"),
    ],
)
def test_an_image_that_is_not_here_and_can_not_be_had_fails_in_seconds(
    engine: Engine, reference: str, says: str
) -> None:
    started = time.monotonic()
    with pytest.raises(ProvisionError, match=says) as caught:
        resolve_adopted(f"image:{reference}", SilentProgress(), engine)
    assert "docker load" in caught.value.remedy
    assert time.monotonic() - started < pulling.REGISTRY_SECONDS + 20
    with pytest.raises(docker.errors.ImageNotFound):
        engine.client.images.get(reference)
