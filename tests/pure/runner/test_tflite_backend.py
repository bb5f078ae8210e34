"""The backend `tflite` with a made-up interpreter: what it refuses, and the threads it counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from runner.backends import base
from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.support import native_threads

ROW = np.zeros((1, 2), np.float32)
DETAILS = {"name": "x", "index": 0, "shape": np.array([1, 2]), "dtype": np.float32}


class Interpreter:
    """Copies its input; says what it was made with."""

    delegates = True

    def __init__(self, **made_with: Any) -> None:
        self.made_with = made_with

    def get_input_details(self) -> list[dict[str, Any]]:
        return [DETAILS]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [dict(DETAILS, name="y", index=1)]

    def get_tensor_details(self) -> list[dict[str, Any]]:
        return [*self.get_input_details(), *self.get_output_details()]

    def allocate_tensors(self) -> None:
        pass

    def _get_ops_details(self) -> list[dict[str, Any]]:
        own = {"op_name": "COPY", "inputs": [0], "outputs": [1]}
        taken = {"op_name": "DELEGATE", "inputs": [0], "outputs": [1]}
        automatic = self.made_with["experimental_op_resolver_type"] == "auto"
        return [own, taken] if automatic and self.delegates else [own]


@pytest.fixture
def backend(
    with_framework: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """The module, with a package that is made up."""
    made = ModuleType("ai_edge_litert.interpreter")
    made.Interpreter = Interpreter  # type: ignore[attr-defined]

    class OpResolverType:
        AUTO, BUILTIN_WITHOUT_DEFAULT_DELEGATES, BUILTIN_REF = "auto", "builtin", "reference"

    made.OpResolverType = OpResolverType  # type: ignore[attr-defined]
    installed = {"ai-edge-litert": "9.9", "numpy": "2"}
    found = lambda package: installed.get(package, "")  # noqa: E731
    monkeypatch.setattr(base, "installed_version", found)
    monkeypatch.setattr("runner.support.tflite_interpreter.installed_version", found)
    return with_framework(
        "runner.backends.tflite",
        ai_edge_litert=ModuleType("ai_edge_litert"),
        ai_edge_litert__interpreter=made,
    )


@pytest.fixture
def loaded(backend: ModuleType, tmp_path: Path) -> Callable[..., Any]:
    """Load and compile: `loaded(kernels, threads)`."""

    def make(kernels: str, threads: int = 1) -> Any:
        path = tmp_path / "m.tflite"
        path.write_bytes(b"")
        settings = {"kernels": kernels}
        request = LoadRequest(str(path), "tflite", settings, "f32", "cpu", threads, 1, (2,))
        instance = backend.create(request)
        instance.load()
        instance.compile()
        return instance

    return make


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin", "reference"])
def test_what_ran_names_package_and_kernels(loaded: Callable[..., Any], kernels: str) -> None:
    ran = loaded(kernels).describe().ran
    assert ran["package"] == "ai-edge-litert"
    assert ran["settings"] == {"kernels": kernels}
    assert ran["operators"] == {f"COPY ({kernels})": 1}
    assert ran["delegated_operators"] == int(kernels == "xnnpack")
    assert ran["computes_in"] == ["float32"]
    assert ran.get("delegate_proven") == (True if kernels == "xnnpack" else None)


def test_a_delegate_of_which_the_package_does_not_tell_is_not_proven(
    loaded: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Interpreter, "_get_ops_details")
    ran = loaded("xnnpack").describe().ran
    assert ran["delegate_proven"] is False
    assert "operators" not in ran
    assert "delegate_proven" not in loaded("builtin").describe().ran


def test_a_model_that_xnnpack_leaves_alone_is_refused(
    loaded: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Interpreter, "delegates", False)
    with pytest.raises(RunnerError, match="takes none of the model's 1 operators") as told:
        loaded("xnnpack")
    assert told.value.kind == "unsupported"
    assert loaded("builtin").describe().ran["delegated_partitions"] == 0


def test_reference_kernels_run_on_one_thread_and_nothing_else_is_promised(
    loaded: Callable[..., Any],
) -> None:
    with pytest.raises(RunnerError, match=r"threads 2 \(it supports: 1\)"):
        loaded("reference", threads=2)


@pytest.mark.parametrize(
    ("kernels", "threads", "started", "refused"),
    [
        ("xnnpack", 1, 0, False),
        ("xnnpack", 3, 2, False),
        ("xnnpack", 3, 3, False),  # operators that it leaves have threads of their own
        ("xnnpack", 3, 1, True),
        ("builtin", 3, 0, False),
        ("builtin", 1, 1, True),
    ],
)
def test_threads_are_counted_by_the_kernel(
    loaded: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    kernels: str,
    threads: int,
    started: int,
    *,
    refused: bool,
) -> None:
    instance = loaded(kernels, threads)
    monkeypatch.setattr(native_threads, "started_since", lambda before: started)  # noqa: ARG005
    if refused:
        with pytest.raises(RunnerError, match="number of threads"):
            instance.prove(ROW)
    else:
        assert instance.prove(ROW) == {"threads_started": started}


def test_where_the_kernel_does_not_say_nothing_is_claimed(
    loaded: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_threads, "started_since", lambda before: None)  # noqa: ARG005
    assert loaded("xnnpack").prove(ROW) == {}
