"""What is set before JAX is imported, and the threads that it is held to."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from runner.errors import RunnerError
from runner.support import jax_runtime, native_threads

VARIABLES = (
    "JAX_PLATFORMS",
    "JAX_ENABLE_X64",
    "XLA_FLAGS",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "PJRT_NPROC",
    "NPROC",
)


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Cores 2 to 5 may be used; what the process is held to is noted."""
    held: list[list[int]] = []
    monkeypatch.delitem(sys.modules, "jaxlib", raising=False)
    for name in VARIABLES:
        # Set first, so that what the code sets is taken back afterwards.
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x --xla_cpu_multi_thread_eigen=true")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 4, 5}, raising=False)
    monkeypatch.setattr(
        os, "sched_setaffinity", lambda _, given: held.append(list(given)), raising=False
    )
    return held


@pytest.mark.parametrize(("threads", "eigen", "held"), [(1, "false", [5]), (2, "true", [4, 5])])
def test_the_cpu_gets_its_threads_its_cores_and_no_gpu(
    cores: list[list[int]], threads: int, eigen: str, held: list[int]
) -> None:
    told = jax_runtime.prepare("cpu", threads)
    flags = f"--xla_dump_to=/tmp/x --xla_cpu_multi_thread_eigen={eigen}"
    assert told == {"xla_flags": flags, "cores": threads}
    assert {name: os.environ[name] for name in VARIABLES} == {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "XLA_FLAGS": flags,
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PJRT_NPROC": str(threads),
        "NPROC": str(threads),
    }
    assert cores == [held]


def test_the_gpu_is_asked_for_by_name_so_that_jax_does_not_fall_back(
    cores: list[list[int]],
) -> None:
    assert "cores" not in jax_runtime.prepare("cuda", 1)
    assert os.environ["JAX_PLATFORMS"] == "cuda,cpu"
    assert cores == []


def test_once_jax_is_imported_it_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jaxlib", ModuleType("jaxlib"))
    with pytest.raises(RunnerError, match="imported before its number of threads was set"):
        jax_runtime.prepare("cpu", 1)


def test_without_affinity_the_threads_can_not_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(RunnerError, match="only by processor affinity") as caught:
        jax_runtime.prepare("cpu", 2)
    assert caught.value.kind == "unsupported"


def test_a_pool_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"tf_XLAEigen": 2}
    monkeypatch.setattr(native_threads, "named", lambda name: named[name])
    assert jax_runtime.proven_threads(2, started=11) == 2
    with pytest.raises(RunnerError, match="asked to use 1 threads and XLA's pool has 2") as caught:
        jax_runtime.proven_threads(1, started=11)
    assert caught.value.kind == "unsupported"
    named["tf_XLAEigen"] = 0
    assert jax_runtime.proven_threads(3, started=6) == 3
    for started in (4, None):
        with pytest.raises(RunnerError, match="pool has an unknown number"):
            jax_runtime.proven_threads(3, started=started)


def test_threads_are_counted_by_the_beginning_of_their_names() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        Path(f"/proc/self/task/{thread.native_id}/comm").write_text("pool-7-worker")
        assert native_threads.named("pool-7") == 1
        assert native_threads.named("pool-8") == 0
    finally:
        release.set()
        thread.join()
