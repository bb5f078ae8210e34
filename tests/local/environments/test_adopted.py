"""Interpreters that are really here: used as they are, told apart by what is in them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

import pytest
from support.installed import cannot_install

from harness import paths
from harness.environments.adopted import resolve_adopted
from harness.environments.interpreters import find_installed
from harness.environments.provide import provide
from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import EnvironmentSpecError, HarnessError, ProvisionError
from harness.progress import SilentProgress


@pytest.fixture(autouse=True)
def own_runner() -> None:
    """Another test may have made a snapshot of the runner in a cache that is gone."""
    paths.runner_tree.cache_clear()


@cache
def interpreter(environment: str) -> Path:
    """The Python of a shipped environment: somebody's interpreter, as far as these tests go."""
    try:
        return Path(provision(resolve(environment), SilentProgress()).python)
    except HarnessError as error:
        cannot_install(environment, error)


def moved(python: Path, folder: Path) -> Path:
    """The interpreter in a copy of its environment at another path."""
    shutil.copytree(python.parents[1], folder, symlinks=True)
    return folder / "bin" / "python"


def test_an_interpreter_is_used_as_it_is() -> None:
    python = interpreter("onnxruntime-1.31")
    done = resolve_adopted(f"python:{python}", SilentProgress())
    assert (done.env.stack, done.env.version) == ("onnxruntime", "1.31.1")
    assert done.env.backends == ("onnxruntime",)
    assert done.env.formats == {"onnxruntime": ("onnx",)}
    assert (done.env.executor, done.env.kind) == ("venv", "python")
    assert done.env.name == done.env.reference == f"python:{python}"
    assert (done.python, done.image) == (python, None)
    assert done.packages["onnxruntime"] == "1.31.1"
    assert provide(resolve(f"python:{python}"), SilentProgress()).env == done.env


def test_identity_is_what_is_in_it_and_not_where_it_is(tmp_path: Path) -> None:
    python = interpreter("onnxruntime-1.31")
    first = resolve_adopted(f"python:{python}", SilentProgress()).env.identity
    copy = moved(python, tmp_path / "elsewhere")
    assert resolve_adopted(f"python:{copy}", SilentProgress()).env.identity == first
    other = resolve_adopted(f"python:{interpreter('onnxruntime-1.20')}", SilentProgress())
    assert other.env.identity != first
    (file,) = copy.parents[1].glob("lib/python*/site-packages/onnxruntime/__init__.py")
    before = file.stat()
    file.write_text(file.read_text().replace("ONNX", "onnx", 1))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert resolve_adopted(f"python:{copy}", SilentProgress()).env.identity != first


def test_an_interpreter_is_asked_under_the_variables_of_its_cells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = interpreter("onnxruntime-1.31")
    first = resolve_adopted(f"python:{python}", SilentProgress()).env.identity
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "AVX2 AVX512F")
    found = resolve_adopted(f"python:{python}", SilentProgress())
    assert found.env.identity == first
    monkeypatch.undo()
    plain = resolve_adopted(f"python:{python}", SilentProgress())
    assert found.probe["cpu"]["used"] == plain.probe["cpu"]["used"]


def test_an_environment_that_changed_between_two_looks_is_refused(tmp_path: Path) -> None:
    copy = moved(interpreter("onnxruntime-1.31"), tmp_path / "copy")
    env = resolve(f"python:{copy}")
    (folder,) = copy.parents[1].glob("lib/python*/site-packages/flatbuffers-*.dist-info")
    shutil.rmtree(folder)
    with pytest.raises(ProvisionError, match="was changed while it was used"):
        provide(env, SilentProgress())


def test_without_numpy_it_is_refused_and_told_what_it_lacks(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    with pytest.raises(ProvisionError, match="without NumPy") as caught:
        resolve_adopted(f"python:{python}", SilentProgress())
    assert "install NumPy there" in caught.value.remedy


def test_with_numpy_and_no_framework_every_reason_is_told() -> None:
    with pytest.raises(ProvisionError, match="runs a model") as caught:
        resolve_adopted(f"python:{sys.executable}", SilentProgress())
    _, _, absent = caught.value.message.partition("not installed: ")
    assert {"onnxruntime", "torch.eager", "tensorflow.graph", "jax", "tvm"} <= set(
        absent.rstrip(").").split(", ")
    )


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_path_that_is_no_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").write_text("")
    quiet = program(tmp_path / "quiet", "#!/bin/sh\nexit 0\n")
    broken = program(tmp_path / "broken", "#!/bin/sh\necho 'libpython is missing' >&2\nexit 127\n")
    for path, says in [
        (tmp_path / "absent", "there is no file"),
        (tmp_path / "text", "does not start: Permission denied"),
        (tmp_path / "env", f"Did you mean python:{tmp_path / 'env' / 'bin' / 'python'}"),
        (quiet, "is no Python interpreter"),
        (broken, "it says: libpython is missing"),
    ]:
        with pytest.raises(EnvironmentSpecError) as caught:
            resolve_adopted(f"python:{path}", SilentProgress())
        assert says in str(caught.value)


@pytest.mark.parametrize("python", ["3.8", "3.7"])
def test_the_oldest_python_that_the_runner_supports_is_asked_and_an_older_one_refused(
    python: str,
) -> None:
    found = find_installed(python)
    if found is None:
        pytest.skip(f"no Python {python} is here")
    # Neither has NumPy here; that the question itself runs there is what is shown.
    with pytest.raises(ProvisionError) as caught:
        resolve_adopted(f"python:{found.path}", SilentProgress())
    assert f"(Python {found.version}" in caught.value.message


def test_the_runner_compiles_and_probes_on_python_3_8(tmp_path: Path) -> None:
    found = find_installed("3.8")
    if found is None:
        pytest.skip("no Python 3.8 is here")
    job = '{"schema_version": 1, "kind": "probe", "work": "%s", "backends": null}'
    (tmp_path / "job.json").write_text(job % tmp_path)
    parent, _ = paths.runner_tree()
    command = [found.path, "-W", "error", "-m", "runner", tmp_path / "job.json"]
    done = subprocess.run(
        command,
        env=dict(os.environ, PYTHONPATH=str(parent)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f'"python":"{found.version}"' in done.stdout


def test_an_editable_install_is_told_apart_by_its_source(tmp_path: Path) -> None:
    copy = moved(interpreter("onnxruntime-1.31"), tmp_path / "copy")
    (site,) = copy.parents[1].glob("lib/python*/site-packages")
    (about,) = site.glob("flatbuffers-*.dist-info")
    source = tmp_path / "checkout"
    source.mkdir()
    shutil.move(site / "flatbuffers", source / "flatbuffers")
    (site / "__editable__.flatbuffers.pth").write_text(f"{source}\n")
    (about / "RECORD").write_text("__editable__.flatbuffers.pth,,\n")
    (about / "direct_url.json").write_text(
        f'{{"url": "{source.as_uri()}", "dir_info": {{"editable": true}}}}'
    )
    first = resolve_adopted(f"python:{copy}", SilentProgress())
    assert "flatbuffers" in first.probe["contents"]
    with (source / "flatbuffers" / "__init__.py").open("a") as file:
        file.write("# changed\n")
    second = resolve_adopted(f"python:{copy}", SilentProgress())
    assert second.packages == first.packages
    assert second.env.identity != first.env.identity
