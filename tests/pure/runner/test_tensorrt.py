"""TensorRT without TensorRT and without a GPU: what it is told, by version, and every refusal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.fake_tensorrt import Dims, FakeTensorRt
from support.slow_device import SlowDevice

from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.support import cuda_memory, tensorrt_engine

BATCH = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
Loader = Callable[..., Any]


@pytest.fixture
def load(
    with_framework: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loader]:
    """Load and compile a model of two rows: `load(tensorrt, **changes to the request)`."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"model")
    opened = []

    def begin(trt: FakeTensorRt, **changes: Any) -> Any:
        module = with_framework("runner.backends.tensorrt", tensorrt=trt)
        monkeypatch.setattr(
            module, "CudaMemory", lambda: cuda_memory.CudaMemory(lambda _: trt.driver)
        )
        request = LoadRequest(str(path), "onnx", {}, "f32", "cuda", 2, 2, (3,))
        backend = module.create(LoadRequest(**{**vars(request), **changes}))
        opened.append(backend)
        backend.load()
        backend.compile()
        return backend

    yield begin
    for backend in opened:
        backend.close()


def test_a_model_runs_in_its_own_buffers_and_says_its_layers(load: Loader, one_gpu: Any) -> None:
    trt = FakeTensorRt()
    backend = load(trt)
    doubled, first = backend.run(BATCH)
    assert doubled.tolist() == (BATCH * 2).tolist()
    assert first.tolist() == [1, 4]
    again, _ = backend.run(BATCH + 1)
    assert doubled.tolist() == (BATCH * 2).tolist(), "an output is not written over by the next run"
    assert again.tolist() == ((BATCH + 1) * 2).tolist()
    about = backend.describe()
    assert (about.input.name, about.input.dtype, about.input.shape) == ("x", "float32", (None, 3))
    assert [(o.name, o.shape) for o in about.outputs] == [("double", (2, 3)), ("first", (2,))]
    assert about.ran["operators"] == {"CaskConvolution (sm80_xmma_fprop)": 2, "Reformat": 1}
    assert about.ran["version"] == "10.16.1.11"
    assert about.ran["tf32"] is False
    assert about.ran["settings"] == {
        "builder_optimization_level": 3,
        "typing": "strong",
        "workspace_mib": 0,
    }
    assert backend.prove(BATCH)["device_proof"]["name"] == "NVIDIA Test"
    backend.close()
    assert trt.driver.open == []
    assert trt.driver.memory == {}


def test_the_parts_of_a_query_are_told_by_events_that_are_freed(load: Loader, one_gpu: Any) -> None:
    trt = FakeTensorRt()
    backend = load(trt)
    for _ in range(2):
        (doubled, first), stages = backend.run_in_stages(BATCH)
        assert doubled.tolist() == (BATCH * 2).tolist()
        assert first.tolist() == [1, 4]
        # There are two outputs to be copied.
        assert stages == dict(SlowDevice.STAGES, device_to_host=2 * SlowDevice.OUT)
    assert len(trt.driver.events) == 4
    backend.close()
    assert trt.driver.events == {}


def test_f32_takes_tf32_away_and_the_batch_is_fixed_by_a_profile(
    load: Loader, one_gpu: Any
) -> None:
    trt = FakeTensorRt()
    load(trt, settings={"builder_optimization_level": 5, "workspace_mib": 256})
    assert ("clear", "TF32") in trt.calls
    assert ("set", "DISABLE_TIMING_CACHE") in trt.calls
    assert ("WORKSPACE", 256 * 1024**2) in trt.calls
    assert ("profile", {"x": ((2, 3), (2, 3), (2, 3))}) in trt.calls
    assert ("build", 5, 2) in trt.calls
    assert ("verbosity", "DETAILED") in trt.calls
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


def test_the_librarys_own_precision_leaves_tf32_alone(load: Loader, one_gpu: Any) -> None:
    trt = FakeTensorRt()
    backend = load(trt, precision="default")
    assert ("clear", "TF32") not in trt.calls
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"
    assert backend.describe().ran["tf32"] is True


def test_a_model_with_a_fixed_shape_needs_no_profile(load: Loader, one_gpu: Any) -> None:
    trt = FakeTensorRt(input_shape=Dims(2, 3))
    assert load(trt).describe().input.shape == (2, 3)
    assert not [call for call in trt.calls if call[0] == "profile"]


@pytest.mark.parametrize(
    ("version", "asked", "flags", "effective"),
    [
        ("8.6.1", "auto", 1, "weak"),
        ("10.0.1", "auto", 2, "strong"),
        ("10.16.1.11", "weak", 0, "weak"),
        ("11.4.0.106", "auto", 0, "strong"),
        ("11.4.0.106", "strong", 0, "strong"),
    ],
)
def test_each_version_is_told_the_kind_of_network_in_its_own_way(
    load: Loader, one_gpu: Any, version: str, asked: str, flags: int, effective: str
) -> None:
    trt = FakeTensorRt(version)
    backend = load(trt, settings={"typing": asked})
    assert ("network", flags) in trt.calls
    assert backend.describe().ran["settings"]["typing"] == effective


@pytest.mark.parametrize(
    ("version", "typing", "there"),
    [("8.6.1", "strong", "auto, weak"), ("11.4.0.106", "weak", "auto, strong")],
)
def test_a_typing_that_a_version_lacks_is_refused(
    load: Loader, one_gpu: Any, version: str, typing: str, there: str
) -> None:
    with pytest.raises(RunnerError, match=rf"{typing}.*supports: {there}.*{version}") as caught:
        load(FakeTensorRt(version), settings={"typing": typing})
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        ({"errors": [("ErrorCode.UNSUPPORTED_NODE", "no importer\nfor Foo")]}, "unsupported", "no importer for Foo"),
        ({"errors": [("ErrorCode.MODEL_DESERIALIZE_FAILED", "cut off")]}, "model", r"m\.onnx: cut off"),
        ({"inputs": ["x", "mask"]}, "unsupported", "2 inputs"),
        ({"build_fails": True}, "backend", "no tactic for node Conv_0"),
        ({"engine_fails": True}, "backend", "could not load the engine"),
        ({"context_fails": True}, "backend", "could not load the engine"),
        ({"shape_fails": True}, "model", r"x can't be fed \[2, 3\]"),
        ({"profile_fails": True}, "model", r"can't be fixed to \[2, 3\]"),
        ({"data_dependent": True}, "unsupported", "depends on the data"),
        ({"dtypes": {"double": "BF16"}}, "unsupported", "dtype of double 'BF16'"),
        ({"memory_fails": True}, "out-of-memory", "GPU's memory ran out"),
    ],
)  # fmt: skip
def test_what_fails_says_what_and_leaves_nothing_on_the_gpu(
    load: Loader, one_gpu: Any, behaviour: dict[str, Any], kind: str, words: str
) -> None:
    trt = FakeTensorRt(**behaviour)
    with pytest.raises(RunnerError, match=words) as caught:
        load(trt)
    assert caught.value.kind == kind
    assert trt.driver.open == []
    assert trt.driver.memory == {}


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"execution_fails": True}, "could not run the engine"),
        ({"synchronize": 700}, r"cuStreamSynchronize: an illegal memory access .* \(700\)"),
        ({"synchronize": 799}, "CUDA error 799"),
    ],
)
def test_a_run_that_fails_is_an_error_of_the_backend(
    load: Loader, one_gpu: Any, behaviour: dict[str, Any], words: str
) -> None:
    backend = load(FakeTensorRt(**behaviour))
    with pytest.raises(RunnerError, match=words) as caught:
        backend.run(BATCH)
    assert caught.value.kind == "backend"


def test_an_engine_on_another_gpu_is_refused(load: Loader, one_gpu: Any) -> None:
    backend = load(FakeTensorRt(ordinal=1))
    with pytest.raises(RunnerError, match=r"lie on the GPUs \[1\]") as caught:
        backend.prove(BATCH)
    assert caught.value.kind == "wrong-device"


def test_without_a_gpu_nothing_is_imported(load: Loader, no_gpu: Any) -> None:
    with pytest.raises(RunnerError, match=r"libcuda\.so\.1 can't be loaded") as caught:
        load(FakeTensorRt())
    assert caught.value.kind == "wrong-device"


def test_the_cpu_is_refused(load: Loader, no_gpu: Any) -> None:
    with pytest.raises(RunnerError, match=r"device 'cpu' \(it supports: cuda\)") as caught:
        load(FakeTensorRt(), device="cpu")
    assert caught.value.kind == "unsupported"


def test_an_inspector_that_tells_only_names_gives_no_operators(load: Loader, one_gpu: Any) -> None:
    assert "operators" not in load(FakeTensorRt(layers=["conv", "relu"])).describe().ran
    assert "operators" not in load(FakeTensorRt(layers="not json")).describe().ran


def test_a_shape_of_unknown_rank_is_what_is_fed() -> None:
    assert tensorrt_engine.shape_of(Dims(unknown=True)) is None
    assert tensorrt_engine.fixed(None, (2, 3)) == (2, 3)
    assert tensorrt_engine.fixed((None, 5), (2, 3)) == (2, 5)


def test_a_driver_that_is_absent_is_said() -> None:
    def absent(_name: str) -> Any:
        raise OSError("no such file")

    with pytest.raises(RunnerError, match="can't be loaded: no such file") as caught:
        cuda_memory.CudaMemory(absent)
    assert caught.value.kind == "wrong-device"


def test_a_probe_says_why_it_does_not_start(
    with_framework: Callable[..., ModuleType], no_gpu: Any
) -> None:
    module = with_framework("runner.backends.tensorrt", tensorrt=FakeTensorRt())
    found = module.probe()
    assert (found.ok, found.version, found.providers) == (True, "10.16.1.11", ("cuda",))
    assert found.started == ()
    assert "no GPU is here" in found.refused["cuda"]


def test_a_probe_builds_and_runs_a_tiny_model(
    with_framework: Callable[..., ModuleType], one_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = FakeTensorRt(input_shape=Dims(1, 4))
    module = with_framework("runner.backends.tensorrt", tensorrt=trt)
    monkeypatch.setattr(module, "CudaMemory", lambda: cuda_memory.CudaMemory(lambda _: trt.driver))
    found = module.probe()
    # The made-up engine doubles, which is not what the tiny model gives.
    assert found.started == ()
    assert found.refused["cuda"].startswith("a tiny model gave")
    assert trt.driver.open == []


def test_where_tensorrt_is_not_installed_the_request_is_refused(
    with_framework: Callable[..., ModuleType], one_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = with_framework("runner.backends.tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ImportError):
        module.create(LoadRequest("m.onnx", "onnx", {}, "f32", "cuda", 1, 1, (3,)))


def test_measured_times_are_kept_in_the_cells_cache_and_found_again(
    load: Loader, one_gpu: Any, tmp_path: Path
) -> None:
    first = FakeTensorRt()
    assert load(first, cache=str(tmp_path)).describe().ran["timing_cache"] == "cold"
    assert ("timings", b"") in first.calls
    assert ("set", "DISABLE_TIMING_CACHE") not in first.calls
    assert (tmp_path / "timing.cache").read_bytes() == b"measured"
    again = FakeTensorRt()
    assert load(again, cache=str(tmp_path)).describe().ran["timing_cache"] == "warm"
    assert ("timings", b"measured") in again.calls


def test_times_of_another_gpu_are_refused_with_the_remedy(
    load: Loader, one_gpu: Any, tmp_path: Path
) -> None:
    with pytest.raises(RunnerError, match=r"refuses the timing cache .*: remove it"):
        load(FakeTensorRt(other_timings=True), cache=str(tmp_path))


def test_a_build_that_fails_leaves_no_cache(load: Loader, one_gpu: Any, tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="could not build"):
        load(FakeTensorRt(build_fails=True), cache=str(tmp_path))
    assert list(tmp_path.glob("timing*")) == []


def test_one_form_has_one_fingerprint_and_another_kernel_another(
    load: Loader, one_gpu: Any, tmp_path: Path
) -> None:
    def found(**behaviour: Any) -> Any:
        return load(FakeTensorRt(**behaviour)).fingerprint(str(tmp_path))

    usual = found()
    assert usual == found()
    assert usual["form"] == "engine"
    assert usual["operators"] == {"CaskConvolution (sm80_xmma_fprop)": 2, "Reformat": 1}
    assert usual["code_bytes"] == len(b"plan")
    other = found(layers=[{"LayerType": "CaskConvolution", "TacticName": "sm90_wgmma"}])
    assert other["sha256"] != usual["sha256"]


def test_other_weights_are_another_fingerprint(load: Loader, one_gpu: Any, tmp_path: Path) -> None:
    usual = load(FakeTensorRt()).fingerprint(str(tmp_path))
    (tmp_path / "m.onnx").write_bytes(b"other weights")
    assert load(FakeTensorRt()).fingerprint(str(tmp_path))["sha256"] != usual["sha256"]


def test_an_inspector_that_tells_nothing_gives_no_fingerprint(
    load: Loader, one_gpu: Any, tmp_path: Path
) -> None:
    with pytest.raises(RunnerError, match="does not tell an engine's layers"):
        load(FakeTensorRt(layers="no JSON")).fingerprint(str(tmp_path))


@pytest.mark.parametrize(("asked", "mask"), [([], 0), (["CUDNN"], 4), (["CUDNN", "CUBLAS"], 5)])
def test_kernels_come_from_the_libraries_asked_for(
    load: Loader, one_gpu: Any, asked: list[str], mask: int
) -> None:
    trt = FakeTensorRt()
    load(trt, settings={"tactic_sources": asked})
    assert ("sources", mask) in trt.calls


def test_a_library_that_this_version_does_not_know_is_refused_with_near_names(
    load: Loader, one_gpu: Any
) -> None:
    with pytest.raises(RunnerError, match="did you mean CUDNN") as caught:
        load(FakeTensorRt(), settings={"tactic_sources": ["CUDDN"]})
    assert caught.value.kind == "unsupported"
    with pytest.raises(RunnerError, match="this version has none"):
        load(FakeTensorRt("11.0.0"), settings={"tactic_sources": ["CUDNN"]})
