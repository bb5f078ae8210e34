"""Environments are really built as images: reproducible, hermetic, once, repaired, without secrets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from harness.canonical import key_of
from harness.containers.engine import Engine
from harness.containers.rules import ContainerSpec
from harness.containers.running import run_to_end
from harness.containers.strays import owner_labels
from harness.environments import image_build
from harness.environments.builder import find_builder
from harness.environments.image_records import image_state, read_record, remove_images, tag_of
from harness.environments.provide import provide
from harness.environments.provision import Provisioned
from harness.environments.wheels import Secrets
from harness.errors import ProvisionError
from harness.progress import SilentProgress

LIST_TREE = """
import hashlib, json, os
tree = {}
for root, folders, files in os.walk("/opt/env"):
    for name in sorted(folders + files):
        path = os.path.join(root, name)
        state = os.lstat(path)
        link = os.readlink(path) if os.path.islink(path) else None
        content = None
        if link is None and os.path.isfile(path):
            content = hashlib.sha256(open(path, "rb").read()).hexdigest()
        tree[path] = [oct(state.st_mode), state.st_uid, int(state.st_mtime), link, content]
print(json.dumps(tree))
"""

PROVIDE = """
import sys
from harness.containers.engine import connect
from harness.environments.provide import provide
from harness.environments.registry import resolve
from harness.progress import SilentProgress
progress, engine = SilentProgress(), connect()
done = provide(resolve(sys.argv[1], sys.argv[2], executor="docker", engine=engine), progress, engine)
print(done.image, sum(note.startswith("Built") for note in progress.notes))
engine.close()
"""


def package_tree(engine: Engine, image: str) -> dict[str, list[object]]:
    """Every path of an image's environment with mode, owner, date, link and hash."""
    command = ("/opt/env/bin/python", "-I", "-c", LIST_TREE)
    spec = ContainerSpec(image=image, command=command, name="tree", labels=owner_labels())
    done = run_to_end(engine, spec, 300)
    assert done.status == 0, done.log
    tree: dict[str, list[object]] = json.loads(done.stdout)
    return tree


def without_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every step of a build really run."""

    def find(engine: Engine):
        builder = find_builder(engine)
        return replace(builder, command=(*builder.command, "--no-cache"))

    monkeypatch.setattr(image_build, "find_builder", find)


def test_a_shipped_environment_is_an_image_that_answers_a_probe(engine, built):
    done = built("onnxruntime-1.31")
    assert done.env.executor == "docker"
    assert done.packages["onnxruntime"] == "1.31.1"
    assert done.probe["backends"]["onnxruntime"]["ok"]
    assert done.probe["python"].startswith(f"{done.env.python}.")
    assert 150e6 < done.size_bytes < 350e6
    image = engine.client.images.get(done.image)
    assert tag_of(done.env) in image.tags
    assert "harness/onnxruntime-1.31:latest" in image.tags
    assert image.labels["io.harness.identity"] == done.env.identity
    assert image.labels["org.opencontainers.image.version"] == "1.31.1"
    assert image.labels["org.opencontainers.image.base.digest"] == done.env.base.digest
    config = image.attrs["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/opt/env/bin/python", "-m", "runner"]
    assert "PYTHONPATH=/opt/harness" in config["Env"]


def test_two_builds_give_the_same_package_tree(engine, own, monkeypatch):
    without_cache(monkeypatch)
    env = own()
    trees = []
    for _ in range(2):
        done = provide(env, SilentProgress(), engine)
        trees.append(package_tree(engine, done.image))
        remove_images(env.name, engine)
    first, second = trees
    assert len(first) > 1000
    assert any(path.endswith(".pyc") for path in first)
    different = {path for path in {*first, *second} if first.get(path) != second.get(path)}
    assert different == set()
    assert key_of(first) == key_of(second)
    assert not [path for path in first if path.endswith(("uv_cache.json", "direct_url.json"))]


def test_nothing_secret_is_in_an_image(engine, own, built, monkeypatch, tmp_path: Path):
    without_cache(monkeypatch)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    marker = "only-for-the-build-4711"
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    bundle, conf = tmp_path / "named-ca.crt", tmp_path / "pip.conf"
    bundle.write_text(f"{system.read_text(encoding='utf-8')}\n# {marker}\n", encoding="utf-8")
    conf.write_text(
        f"[global]\nextra-index-url = http://me:{marker}@127.0.0.1:9/simple\nretries = 0\n",
        encoding="utf-8",
    )
    version = libgomp_of(built("onnxruntime-1.31"))
    env = own(edit=lambda folder: _with_a_debian_package(folder, f"libgomp1={version}"))
    done = provide(env, SilentProgress(), engine, secrets=Secrets(ca_bundle=bundle, pip_conf=conf))
    history = json.dumps(engine.client.images.get(done.image).history())
    archive = tmp_path / "image.tar"
    with archive.open("wb") as stream:
        for chunk in engine.client.images.get(done.image).save():
            stream.write(chunk)
    assert marker not in history
    assert marker.encode() not in archive.read_bytes()
    layers = 0
    with tarfile.open(archive) as outer:
        for member in (entry for entry in outer.getmembers() if entry.isreg()):
            try:
                with tarfile.open(fileobj=outer.extractfile(member)) as layer:
                    names = layer.getnames()
            except tarfile.ReadError:
                continue
            layers += 1
            assert not [n for n in names if "named-ca" in n or "pip.conf" in n or ".whl" in n]
            assert not [n for n in names if n.startswith(("mnt/", "opt/.uv", "root/.cache"))]
    assert layers == 3
    assert marker not in json.dumps(read_record(env))
    assert done.probe["system_packages"]["libgomp1"] == version


def test_a_build_that_brings_a_debian_package_along_which_is_not_named_is_refused(
    engine, own, built
):
    version = libgomp_of(built("onnxruntime-1.31"))
    named = f"libgfortran5={version}"
    env = own(edit=lambda folder: _with_a_debian_package(folder, named))
    with pytest.raises(ProvisionError) as caught:
        provide(env, SilentProgress(), engine)
    brought = f"libquadmath0={version}"
    assert f"it also installed {brought}" in caught.value.message
    assert f'system_packages = ["{named}", "{brought}"]' in caught.value.remedy
    assert not [tag for tag in tags_of(engine, env.name) if ":system-" in tag]


def tags_of(engine: Engine, name: str) -> list[str]:
    """The tags of an environment's images."""
    return [tag for image in engine.client.images.list(f"harness/{name}") for tag in image.tags]


def libgomp_of(done: Provisioned) -> str:
    """The version of libgomp1 that fits a base: that of the other libraries of its compiler."""
    version: str = done.probe["system_packages"]["libgcc-s1"]
    return version


def _with_a_debian_package(folder: Path, package: str) -> None:
    """Give the build a step that has a network, and so needs certificates."""
    file = folder / "env.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(f'system_packages = ["{package}"]\n{text}', encoding="utf-8")


def test_an_image_that_was_removed_or_replaced_is_built_again(engine, own):
    env = own()
    first = provide(env, SilentProgress(), engine)
    assert image_state(env, engine) == "built"
    for tag in engine.client.images.get(first.image).tags:
        engine.client.images.remove(tag)
    assert image_state(env, engine) == "broken"
    engine.client.images.get(env.base.tag).tag(tag_of(env))
    assert image_state(env, engine) == "broken"
    progress = SilentProgress()
    second = provide(env, progress, engine)
    assert any("is gone or was changed: it is built again" in note for note in progress.notes)
    assert image_state(env, engine) == "built"
    assert engine.client.images.get(tag_of(env)).id == second.image
    assert second.packages == first.packages


def test_an_image_moved_here_without_its_record_is_asked_not_built(engine, own, monkeypatch):
    env = own()
    first = provide(env, SilentProgress(), engine)
    record = read_record(env)
    image_build.record_folder(env).joinpath("record.json").unlink()
    assert image_state(env, engine) == "built"
    monkeypatch.setattr(image_build, "run_builder", None)
    again = provide(env, SilentProgress(), engine)
    assert again.image == first.image
    assert read_record(env)["probe"]["packages"] == record["probe"]["packages"]


def test_two_processes_at_once_build_it_once(engine, own, base):
    env = own()
    command = [sys.executable, "-c", PROVIDE, str(env.folder.path), base.python]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0][0] == said[1][0]
    assert sorted(line[1] for line in said) == ["0", "1"]


def test_a_lock_that_names_other_bytes_cannot_be_built(engine, own):
    def spoil(folder: Path) -> None:
        for lock in folder.glob("*.lock"):
            text = lock.read_text(encoding="utf-8")
            spoiled = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", text)
            lock.write_text(spoiled, encoding="utf-8")

    env = own(edit=spoil)
    with pytest.raises(ProvisionError, match="Hash mismatch"):
        provide(env, SilentProgress(), engine)
    assert image_state(env, engine) == "absent"


def test_a_build_that_fails_says_the_builders_last_lines_and_leaves_nothing(
    engine, own, monkeypatch
):
    def one_missing(env, wheels):
        missing.append(wheels[-1].name)
        return real(env, wheels[:-1])

    missing: list[str] = []
    real = image_build._context
    monkeypatch.setattr(image_build, "_context", one_missing)
    env = own("2.0", edit=_unlike)
    with pytest.raises(ProvisionError) as error:
        provide(env, SilentProgress(), engine)
    assert f"The image of {env.name} cannot be built (exit status" in error.value.message
    assert f"{missing[0]} was not found" in error.value.message
    assert image_state(env, engine) == "absent"


def _unlike(folder: Path) -> None:
    """Make the builder's cache of other tests of no use."""
    for lock in folder.glob("*.lock"):
        with lock.open("a", encoding="utf-8") as stream:
            stream.write(f"# {os.getpid()}\n")


def test_the_build_has_no_network(engine, own, monkeypatch):
    seen: list[list[str]] = []
    real = image_build.run_builder

    def watch(builder, arguments, name, task):
        seen.append(list(arguments))
        real(builder, arguments, name, task)

    monkeypatch.setattr(image_build, "run_builder", watch)
    provide(own(), SilentProgress(), engine)
    (arguments,) = seen
    assert arguments[arguments.index("--network") + 1] == "none"
    assert not [word for word in arguments if "secret" in word]
