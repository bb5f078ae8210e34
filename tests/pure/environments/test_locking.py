"""Requirements before they are locked."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environments.folders import Constraint
from harness.environments.locking import (
    compile_lock,
    extra_requirements,
    lock_folder,
    read_requirements,
    repin,
)
from harness.environments.uv import UvError, UvFailure
from harness.errors import EnvironmentSpecError
from harness.progress import SilentProgress

OLD = (Constraint(when="<1.19", requires=("numpy<2",)),)


def test_comments_and_blank_lines_are_left_out(tmp_path: Path):
    file = tmp_path / "requirements.in"
    file.write_text("# why\n\nonnx==1.2 # pinned\nnumpy\n", encoding="utf-8")
    assert read_requirements(file) == ("onnx==1.2", "numpy")


def test_an_option_is_no_requirement(tmp_path: Path):
    file = tmp_path / "requirements.in"
    file.write_text("--index-url https://host/simple\n", encoding="utf-8")
    with pytest.raises(EnvironmentSpecError, match="is not a requirement"):
        read_requirements(file)


def test_a_package_is_pinned_to_another_version():
    assert repin(("numpy", "AI_edge.litert==1.0"), "ai-edge-litert", "2.0") == (
        "ai-edge-litert==2.0",
        "numpy",
    )


def test_what_is_released_together_moves_together_and_extras_stay():
    before = ("numpy", "jax==0.10.2", "Jax_cuda13.plugin[with-cuda]==0.10.2")
    assert repin(before, "jax-cuda13-plugin", "0.9.2", ("jax",)) == (
        "jax-cuda13-plugin[with-cuda]==0.9.2",
        "jax==0.9.2",
        "numpy",
    )


def test_a_companion_that_is_pinned_to_another_version_is_refused(make_folder):
    folder = make_folder(extra='together = ["onnxruntime-runtime"]')
    requirements = folder.path / "requirements.in"
    for line, said in (("onnxruntime-runtime==9.8.0", r"to 9\.8\.0"), ("numpy", "to nothing")):
        requirements.write_text(f"onnxruntime[x]==9.9.0\n{line}\n", encoding="utf-8")
        with pytest.raises(
            EnvironmentSpecError, match=f"pins onnxruntime-runtime {said}, env.toml says 9.9.0"
        ):
            lock_folder(folder, ["3.11"], SilentProgress())


@pytest.mark.parametrize(
    ("version", "added"), [("1.17.0", ("numpy<2",)), ("1.19.0", ()), ("1.19.0rc1", ())]
)
def test_undeclared_needs_of_old_versions_are_added(version: str, added: tuple[str, ...]):
    assert extra_requirements(OLD, "onnxruntime", (f"onnxruntime=={version}", "numpy")) == added


def test_requirements_that_pin_another_version_than_env_toml_are_refused(make_folder):
    folder = make_folder()
    (folder.path / "requirements.in").write_text("onnxruntime==1.0\n", encoding="utf-8")
    with pytest.raises(EnvironmentSpecError, match=r"to 1\.0, env\.toml says 9\.9\.0"):
        lock_folder(folder, ["3.11"], SilentProgress())


def test_upstream_is_asked_only_for_what_the_configured_indexes_lack(monkeypatch):
    asked = []

    def uv(arguments, *, extra_index=(), **rest):
        asked.append(tuple(extra_index))
        if not extra_index:
            raise UvError(UvFailure("version", "there is no version of torch==1+cpu"))
        raise UvError(UvFailure("network", "dns error"))

    monkeypatch.setattr("harness.environments.locking.run_uv", uv)
    with pytest.raises(UvError) as error:
        compile_lock(["torch==1"], python="3.11", command="x", extra_index=["https://up/s"])
    assert asked == [(), ("https://up/s",)]
    assert error.value.failure == UvFailure(
        "network", "there is no version of torch==1+cpu, and https://up/s cannot be reached"
    )


def test_upstream_is_not_asked_when_the_configured_index_is_down(monkeypatch):
    asked = []

    def uv(arguments, **rest):
        asked.append(arguments)
        raise UvError(UvFailure("network", "dns error"))

    monkeypatch.setattr("harness.environments.locking.run_uv", uv)
    with pytest.raises(UvError):
        compile_lock(["torch==1"], python="3.11", command="x", extra_index=["https://up/s"])
    assert len(asked) == 1
