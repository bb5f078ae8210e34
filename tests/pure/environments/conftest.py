"""Environment folders made in a temporary place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.environments.folders import EnvironmentFolder, read_folder

HASH = f"sha256:{'0' * 64}"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person's own caches and environments is read or written."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HARNESS_IMAGES", raising=False)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., EnvironmentFolder]:
    """Writes an environment folder with locks, and reads it."""

    def make(
        name: str = "onnxruntime-9.9",
        *,
        place: Path = tmp_path / "images",
        package: str = "onnxruntime",
        version: str = "9.9.0",
        pythons: tuple[str, ...] = ("3.11", "3.12", "3.13"),
        extra: str = "",
    ) -> EnvironmentFolder:
        path = place / name
        path.mkdir(parents=True)
        quoted = ", ".join(f'"{python}"' for python in pythons)
        (path / "env.toml").write_text(
            f'stack = "{name.rpartition("-")[0]}"\nversion = "{version}"\npackage = "{package}"\n'
            f'python = [{quoted}]\n{extra}\n[backends]\nonnxruntime = ["onnx"]\n',
            encoding="utf-8",
        )
        (path / "requirements.in").write_text(f"{package}=={version}\nnumpy\n", encoding="utf-8")
        for python in pythons:
            (path / f"requirements-{python}.lock").write_text(
                f"{package}=={version} --hash={HASH}\nnumpy==2.4.6 --hash={HASH}\n",
                encoding="utf-8",
            )
        return read_folder(path)

    return make
