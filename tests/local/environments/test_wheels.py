"""Wheels are really fetched, once and by hash; a failure says what is to blame."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.canonical import sha256_file
from harness.environments.environment import Base, Environment, image_environment_of
from harness.environments.folders import read_folder
from harness.environments.registry import find
from harness.environments.wheels import Secrets, fetch_wheels
from harness.errors import ProvisionError, StoreError
from harness.progress import SilentProgress

BASE = Base("local:bookworm", f"sha256:{'1' * 64}", "3.11", "local", "2.36")
SMALL = "packaging"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person's own caches is used, but pip's."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def env_of(tmp_path: Path) -> Callable[..., Environment]:
    """Makes an image environment of some packages of a shipped lock."""

    def make(*packages: str, change: tuple[str, str] | None = None) -> Environment:
        text = find("onnxruntime-1.31").lock_path("3.11").read_text(encoding="utf-8")
        lock = "".join(
            found[0]
            for name in packages
            if (found := re.search(rf"^{name}==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL))
        )
        folder = tmp_path / "images" / "small-1.0"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "env.toml").write_text(
            'stack = "small"\nversion = "1.0"\npackage = "numpy"\npython = ["3.11"]\n'
            '[backends]\n"null" = ["json"]\n',
            encoding="utf-8",
        )
        (folder / "requirements-3.11.lock").write_text(
            re.sub(*change, lock) if change else lock, encoding="utf-8"
        )
        return image_environment_of(read_folder(folder), BASE, "2" * 64)

    return make


def test_wheels_are_fetched_once_and_then_without_any_index(env_of, tmp_path: Path, monkeypatch):
    env = env_of("numpy", "packaging")
    wheels = fetch_wheels(env, SilentProgress())
    assert [wheel.name for wheel in wheels] == ["numpy", "packaging"]
    for wheel in wheels:
        assert wheel.path == tmp_path / "cache" / "wheels" / wheel.sha256 / wheel.filename
        assert sha256_file(wheel.path) == wheel.sha256
    assert re.search(r"-cp311-cp311-manylinux.*_x86_64\.whl$", wheels[0].filename)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    assert fetch_wheels(env, SilentProgress()) == wheels


def test_a_wheel_that_is_kept_is_not_fetched_again_for_another_lock(env_of):
    (kept,) = fetch_wheels(env_of(SMALL), SilentProgress())
    before = kept.path.stat()
    assert kept in fetch_wheels(env_of("numpy", SMALL), SilentProgress())
    after = kept.path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("damage", ["shorter", "same size"])
def test_a_kept_wheel_that_was_damaged_is_fetched_again(env_of, damage: str):
    env = env_of(SMALL)
    (kept,) = fetch_wheels(env, SilentProgress())
    size = kept.path.stat().st_size
    kept.path.write_bytes(b"" if damage == "shorter" else bytes(size))
    assert fetch_wheels(env, SilentProgress()) == (kept,)
    assert sha256_file(kept.path) == kept.sha256
    kept.path.write_bytes(bytes(size))
    assert kept in fetch_wheels(env_of("numpy", SMALL), SilentProgress())
    assert sha256_file(kept.path) == kept.sha256


def test_other_bytes_than_the_lock_says_are_refused(env_of, tmp_path: Path):
    env = env_of(SMALL, change=(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}"))
    with pytest.raises(ProvisionError) as error:
        fetch_wheels(env, SilentProgress())
    assert "wheels of small-1.0 cannot be fetched: Hash mismatch" in error.value.message
    assert "packaging==" in error.value.message
    assert "harness env lock" in error.value.remedy
    assert list((tmp_path / "cache" / "wheels").glob("*")) == []


def test_a_package_that_no_index_has_is_named(env_of):
    env = env_of(SMALL, change=(r"^packaging==\S+", "packaging==999.9"))
    with pytest.raises(ProvisionError, match=r"packaging==999\.9"):
        fetch_wheels(env, SilentProgress())


def test_a_configuration_named_for_the_build_is_the_one_used(env_of, tmp_path: Path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    conf = tmp_path / "pip.conf"
    conf.write_text(
        "[global]\nindex-url = http://me:secret@127.0.0.1:9/simple\nextra-index-url =\n"
        "find-links =\ntimeout = 1\n",
        encoding="utf-8",
    )
    with pytest.raises(ProvisionError) as error:
        fetch_wheels(env_of(SMALL), SilentProgress(), Secrets(pip_conf=conf))
    assert "Connection refused" in error.value.message
    assert "secret" not in str(error.value)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted only by root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_named_and_leaves_nothing(env_of, full_disk: Path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(full_disk / "cache"))
    with pytest.raises(StoreError) as error:
        fetch_wheels(env_of("numpy"), SilentProgress())
    assert "No space left on device" in str(error.value)
    assert "HARNESS_CACHE" in error.value.remedy
    assert list((full_disk / "cache" / "wheels").glob(".fetching*")) == []
