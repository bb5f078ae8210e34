"""Virtual environments are really made: once, whole, and repaired; every failure is one clear line.

A folder with NumPy alone (the runner's `null` backend) keeps most of this in seconds.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import paths
from harness.cli.env import app
from harness.environments import adhoc
from harness.environments import provision as provisioning
from harness.environments.environment import Environment
from harness.environments.interpreters import running
from harness.environments.provision import provision, remove, remove_all, state, venv_path
from harness.environments.registry import resolve
from harness.errors import EnvironmentSpecError, ProvisionError, StoreError
from harness.progress import SilentProgress

PROVISION = """
import sys
from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.progress import SilentProgress
progress = SilentProgress()
done = provision(resolve(sys.argv[1]), progress)
print(done.python, bool(progress.notes))
"""

STOPPED_IN_THE_MIDDLE = f"import time; import harness.environments.provision as p; \
p.probe = lambda *_: time.sleep(600){PROVISION}"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person's own caches and environments is used; uv's own cache is shared."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    paths.runner_tree.cache_clear()


def numpy_lock() -> str:
    """The part of a shipped lock that pins NumPy."""
    lock = resolve("onnxruntime-1.31").lock_path.read_text(encoding="utf-8")
    found = re.search(r"^numpy==.*?(?=^\S)", lock, re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Environment]:
    """Makes the environment of a folder with NumPy alone, or with another lock."""

    def make(lock: str = "", backend: str = "null") -> Environment:
        folder = tmp_path / "images" / "small-1.0"
        folder.mkdir(parents=True)
        python = running().minor
        (folder / "env.toml").write_text(
            f'stack = "small"\nversion = "1.0"\npackage = "numpy"\npython = ["{python}"]\n'
            f'[backends]\n"{backend}" = ["json"]\n',
            encoding="utf-8",
        )
        (folder / "requirements.lock").write_text(lock or numpy_lock(), encoding="utf-8")
        return resolve(str(folder))

    return make


def nothing_half_built(env: Environment) -> bool:
    venvs = venv_path(env).parent
    return not venvs.is_dir() or not list(venvs.iterdir())


def test_an_environment_is_installed_once_and_answers_a_probe():
    env = resolve("onnxruntime-1.31")
    assert state(env) == "absent"
    first = provision(env, SilentProgress())
    assert state(env) == "built"
    assert first.packages["onnxruntime"] == "1.31.1"
    assert first.probe["backends"]["onnxruntime"]["ok"]
    assert first.probe["python"] == env.python
    assert first.size_bytes > 50e6
    said = subprocess.run(
        [first.python, "-c", "import onnxruntime, sys; print(onnxruntime.__version__, sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.split() == ["1.31.1", str(venv_path(env))]
    made = venv_path(env).stat()
    assert provision(env, SilentProgress()) == first
    again = venv_path(env).stat()
    assert (again.st_ino, again.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert remove(env) > 50e6
    assert state(env) == "absent"
    assert remove(env) == 0


def test_a_version_without_a_folder_is_resolved_locked_installed_and_kept():
    env = resolve("onnxruntime==1.25.1")
    assert env.name == "onnxruntime-1.25.1"
    assert provision(env, SilentProgress()).packages["onnxruntime"] == "1.25.1"
    text = env.lock_path.read_text(encoding="utf-8")
    assert "--hash=sha256:" in text
    assert "://" not in text
    assert resolve("onnxruntime-1.25.1").identity == env.identity


def test_a_version_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(EnvironmentSpecError) as error:
        resolve("onnxruntime==1.21.7")
    assert "there is no version of onnxruntime==1.21.7" in str(error.value)
    assert "1.21.1" in str(error.value)
    assert "1.22.0" in str(error.value)
    assert not (adhoc.home() / "onnxruntime-1.21.7").exists()


def test_two_processes_at_once_install_it_once(small):
    env = small()
    command = [sys.executable, "-c", PROVISION, str(env.folder.path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0][0] == said[1][0] == str(provision(env, SilentProgress()).python)
    assert sorted(line[1] for line in said) == ["False", "True"]


def test_a_killed_installation_is_repaired_by_the_next(small):
    env = small()
    command = [sys.executable, "-c", STOPPED_IN_THE_MIDDLE, str(env.folder.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    while process.poll() is None and not list(venv_path(env).parent.glob(".*.staged/lib")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert state(env) == "absent"
    assert provision(env, SilentProgress()).packages["numpy"]
    assert [path.name for path in venv_path(env).parent.iterdir()] == [venv_path(env).name]


@pytest.mark.parametrize("damage", ["marker", "python"])
def test_a_damaged_environment_is_made_again(small, damage: str):
    env = small()
    done = provision(env, SilentProgress())
    if damage == "marker":
        (venv_path(env) / provisioning.READY_FILE).write_text("{", encoding="utf-8")
    else:
        done.python.unlink()
        done.python.symlink_to("/nowhere/python")
    assert state(env) == "broken"
    assert provision(env, SilentProgress()).python.exists()
    assert state(env) == "built"


def test_another_runner_probes_again_without_installing(small, monkeypatch):
    env = small()
    done = provision(env, SilentProgress())
    parent, _ = paths.runner_tree()
    for module in ("harness.environments.provision", "harness.environments.probe"):
        monkeypatch.setattr(f"{module}.runner_tree", lambda: (parent, "f" * 64))
    before = done.python.lstat().st_mtime_ns
    again = provision(env, SilentProgress())
    assert again.probe["backends"] == done.probe["backends"]
    assert again.python.lstat().st_mtime_ns == before


def test_a_package_with_another_hash_is_refused(small):
    env = small(re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", numpy_lock()))
    with pytest.raises(ProvisionError) as error:
        provision(env, SilentProgress())
    assert "small-1.0 cannot be installed" in str(error.value)
    assert "numpy" in str(error.value)
    assert nothing_half_built(env)


def test_a_backend_that_does_not_work_is_refused(small):
    env = small(backend="onnxruntime")
    with pytest.raises(ProvisionError, match="its backend onnxruntime does not work"):
        provision(env, SilentProgress())
    assert nothing_half_built(env)


def test_an_unreachable_index_is_told_without_its_password(small, tmp_path: Path, monkeypatch):
    env = small()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:hunter2@127.0.0.1:9/simple")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(ProvisionError) as error:
        provision(env, SilentProgress())
    assert "127.0.0.1:9" in str(error.value)
    assert "PIP_INDEX_URL" in str(error.value)
    with pytest.raises(ProvisionError) as pinned:
        resolve("onnxruntime==1.25.1")
    assert "cannot be reached" in str(pinned.value)
    assert "hunter2" not in f"{error.value}{pinned.value}"
    assert nothing_half_built(env)


def test_without_a_connection_what_was_downloaded_before_is_installed(small, monkeypatch):
    env = small()
    provision(env, SilentProgress())
    remove(env)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    assert provision(env, SilentProgress()).packages["numpy"]


def test_a_folder_is_locked_for_a_maintainer(small):
    env = small()
    (env.folder.path / "requirements.in").write_text("numpy==1.0\n", encoding="utf-8")
    text = (env.folder.path / "env.toml").read_text(encoding="utf-8")
    version = env.lock_path.read_text(encoding="utf-8").split("==")[1].split()[0]
    (env.folder.path / "env.toml").write_text(text.replace('"1.0"', f'"{version}"'), "utf-8")
    arguments = ["lock", str(env.folder.path)]
    with pytest.raises(EnvironmentSpecError, match=f"numpy to 1.0, env.toml says {version}"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    (env.folder.path / "requirements.in").write_text(f"numpy=={version}\n", encoding="utf-8")
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    written = env.folder.path / f"requirements-{running().minor}.lock"
    assert result.stdout.strip() == str(written)
    lock = written.read_text(encoding="utf-8")
    assert f"harness env lock small-1.0 --python {running().minor}" in lock
    assert "://" not in lock


def test_pips_no_index_and_links_are_obeyed(small, tmp_path: Path, monkeypatch):
    env = small()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ProvisionError, match="not found in the provided package locations"):
        provision(env, SilentProgress())


def test_a_cache_that_cannot_be_written_is_named(small, tmp_path: Path, monkeypatch):
    env = small()
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StoreError, match="HARNESS_CACHE"):
        provision(env, SilentProgress())


def test_removing_by_name_takes_what_killed_installations_left(small):
    env = small()
    provision(env, SilentProgress())
    left = venv_path(env).with_name(f".{venv_path(env).name}.01234567.staged")
    left.mkdir()
    assert remove_all("small-1.0") > 0
    assert nothing_half_built(env)
