"""Frameworks and a GPU that are made up, in place of those that this machine lacks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType

import pytest

from runner import gpus
from runner.gpus import Gpu, Seen

GPU = Gpu(0, "GPU-00000000-0000-0000-0000-000000000001", "NVIDIA Test", 24576, "8.9")
ONE_GPU = Seen((GPU,), "570.133.20", "12.8")
NO_GPU = Seen(detail="the NVIDIA driver's library libcuda.so.1 can't be loaded")


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """One GPU is visible, and the variable that CUDA's libraries read is put back."""
    monkeypatch.setattr(gpus, "seen", lambda: ONE_GPU)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    return ONE_GPU


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """There is no driver."""
    monkeypatch.setattr(gpus, "seen", lambda: NO_GPU)
    return NO_GPU


@pytest.fixture
def with_framework(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., ModuleType]]:
    """Import a backend's module with made-up modules: `with_framework(backend, **modules)`."""
    imported: list[str] = []

    def load(backend: str, **modules: ModuleType) -> ModuleType:
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name.replace("__", "."), module)
        monkeypatch.delitem(sys.modules, backend, raising=False)
        imported.append(backend)
        return import_module(backend)

    yield load
    for name in imported:
        sys.modules.pop(name, None)
