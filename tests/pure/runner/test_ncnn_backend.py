"""The backend `ncnn` and its file, with a made-up module in place of the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.support import native_threads, ncnn_file
from runner.support.ncnn_file import Tensor, Tensors

TENSORS = Tensors(Tensor("image", (1, 3), "in0"), (Tensor("scores", (1, 3), "out0"),))
PARAM = "7767517\n2 2\nInput in0 0 1 in0\nReLU y 1 1 in0 out0\n"
KNOWN = ("Input", "ReLU")


class Net:
    """Gives its input back; its layers are those of the file that it loaded."""

    def __init__(self) -> None:
        self.opt = SimpleNamespace(
            use_vulkan_compute=True,
            num_threads=64,
            use_winograd_convolution=True,
            use_sgemm_convolution=True,
            use_packing_layout=True,
            use_fp16_packed=True,
            use_fp16_storage=True,
            use_fp16_arithmetic=True,
            use_bf16_storage=False,
        )

    def load_param(self, path: str) -> int:
        self.types = ncnn_file.layer_types(Path(path).read_text())
        return 0 if set(self.types) <= set(KNOWN) else -1

    def load_model(self, path: str) -> int:
        return 0 if Path(path).read_bytes() == b"weights" else -1

    def layers(self) -> list[Any]:
        return [SimpleNamespace(type=one) for one in self.types]

    def input_names(self) -> list[str]:
        return ["in0"]

    def create_extractor(self) -> Any:
        given: dict[str, Any] = {}
        return SimpleNamespace(
            input=given.__setitem__,
            extract=lambda name: (0 if name == "out0" else -1, given["in0"]),
        )

    def clear(self) -> None:
        self.types = []


@pytest.fixture
def fake() -> ModuleType:
    module = ModuleType("ncnn")
    vars(module).update(
        Net=Net,
        Mat=lambda array: SimpleNamespace(clone=array.copy),
        layer_to_index=lambda kind: KNOWN.index(kind) if kind in KNOWN else -1,
        __version__="1.0.0",
        cpu_support_x86_avx2=lambda: 1,
        cpu_support_arm_neon=lambda: 0,
    )
    return module


@pytest.fixture
def backend(with_framework: Callable[..., ModuleType], fake: ModuleType) -> ModuleType:
    return with_framework("runner.backends.ncnn", ncnn=fake)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """Write a file of the format: `save(param, weights, tensors)`."""

    def write(param: str = PARAM, weights: bytes = b"weights", tensors: Tensors = TENSORS) -> str:
        (tmp_path / "p").write_text(param)
        (tmp_path / "w").write_bytes(weights)
        path = str(tmp_path / "m.ncnn")
        ncnn_file.write(path, str(tmp_path / "p"), str(tmp_path / "w"), tensors)
        return path

    return write


def request(path: str, **changes: Any) -> LoadRequest:
    asked: dict[str, Any] = {
        "path": path, "format": "ncnn", "settings": {}, "precision": "f32", "device": "cpu",
        "threads": 2, "batch": 1, "item_shape": (3,),
    }  # fmt: skip
    return LoadRequest(**{**asked, **changes})


def test_options_are_set_before_anything_is_loaded_and_are_told(
    backend: ModuleType, save: Callable[..., str]
) -> None:
    instance = backend.create(request(save(), settings={"winograd": False}))
    instance.load()
    instance.compile()
    about = instance.describe()
    option = instance._net.opt
    assert (option.num_threads, option.use_vulkan_compute) == (2, False)
    assert (option.use_winograd_convolution, option.use_sgemm_convolution) == (False, True)
    assert {option.use_fp16_packed, option.use_fp16_storage, option.use_fp16_arithmetic} == {False}
    assert (about.ran["precision"], about.ran["computes_in"]) == ("f32", ["float32"])
    assert about.ran["operators"] == {"Input": 1, "ReLU": 1}
    assert (about.input.name, about.input.shape) == ("image", (1, 3))
    assert about.outputs[0].name == "scores"


def test_the_default_precision_leaves_the_librarys_own_choice(
    backend: ModuleType, save: Callable[..., str]
) -> None:
    instance = backend.create(request(save(), precision="default"))
    instance.load()
    ran = instance.describe().ran
    assert ran["reduced_precision"] == ["fp16_packed", "fp16_storage", "fp16_arithmetic"]
    assert ran["precision"] == "default"
    assert "computes_in" not in ran


def test_a_run_gives_each_output_in_its_own_shape(
    backend: ModuleType, save: Callable[..., str]
) -> None:
    tensors = TENSORS._replace(outputs=(Tensor("scores", (1, 3, 1), "out0"),))
    instance = backend.create(request(save(tensors=tensors)))
    instance.load()
    fed = np.array([[1, 2, 3]], np.float32)
    (output,) = instance.run(fed)
    assert output.tolist() == [[[1.0], [2.0], [3.0]]]
    assert not np.shares_memory(output, fed)


def test_more_threads_than_asked_for_are_refused(
    backend: ModuleType, save: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = backend.create(request(save()))
    monkeypatch.setattr(native_threads, "started_since", lambda before: 1)  # noqa: ARG005
    assert instance.prove(np.zeros((1, 3))) == {"threads_started": 1}
    monkeypatch.setattr(native_threads, "started_since", lambda before: 3)  # noqa: ARG005
    with pytest.raises(RunnerError, match=r"number of threads 2 \(it supports: 4\)"):
        instance.prove(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 2}, r"batch 2 \(it supports: 1\)"),
        ({"device": "cuda"}, r"device 'cuda' \(it supports: cpu\)"),
        ({"format": "onnx"}, r"format 'onnx' \(it supports: ncnn\)"),
    ],
)
def test_what_ncnn_cannot_do_is_refused(
    backend: ModuleType, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as told:
        backend.create(request("m.ncnn", **changes))
    assert told.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("param", "weights", "kind", "words"),
    [
        (PARAM.replace("ReLU", "Tensor.to"), b"weights", "unsupported", "no layer for Tensor.to"),
        (PARAM, b"half", "model", "can't load the weights"),
    ],
)
def test_a_file_that_ncnn_cannot_load_is_told(
    backend: ModuleType, save: Callable[..., str], param: str, weights: bytes, kind: str, words: str
) -> None:
    instance = backend.create(request(save(param, weights)))
    with pytest.raises(RunnerError, match=words) as told:
        instance.load()
    assert told.value.kind == kind


def test_a_file_that_is_absent_or_no_zip_is_told(backend: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "m.ncnn"
    with pytest.raises(RunnerError, match="no such model file"):
        backend.create(request(str(path))).load()
    path.write_bytes(b"not a zip")
    with pytest.raises(RunnerError, match="is not what onnx>ncnn writes, or is truncated") as told:
        backend.create(request(str(path))).load()
    assert told.value.kind == "model"


def test_an_option_for_16_bits_that_is_gone_breaks_the_promise_of_f32(
    fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ncnn_file.reduced_options(fake)[0] == "use_fp16_packed"
    without = SimpleNamespace(opt=SimpleNamespace(use_fp16_packed=True))
    monkeypatch.setattr(fake, "Net", lambda: without)
    with pytest.raises(RunnerError, match="has no option use_fp16_storage"):
        ncnn_file.reduced_options(fake)


def test_equal_models_are_equal_files(save: Callable[..., str]) -> None:
    first = Path(save()).read_bytes()
    assert Path(save()).read_bytes() == first


def test_a_probe_says_which_processor_features_are_used(backend: ModuleType) -> None:
    assert backend.probe().cpu_used == {"ncnn": ("x86_avx2",)}


def test_one_form_has_one_fingerprint_and_weights_layers_and_options_another(
    backend: ModuleType, save: Callable[..., str], tmp_path: Path
) -> None:
    def found(*model: Any, **changes: Any) -> Any:
        instance = backend.create(request(save(*model), **changes))
        instance.load()
        return instance.fingerprint(str(tmp_path))

    usual = found()
    assert usual == found()
    assert (usual["form"], usual["operators"]) == ("ncnn", {"Input": 1, "ReLU": 1})
    others = [
        found(PARAM.replace("y 1 1", "z 1 1")),
        found(settings={"winograd": False}),
        found(precision="default"),
    ]
    assert len({one["sha256"] for one in [usual, *others]}) == 4


def test_other_weights_are_another_fingerprint(
    backend: ModuleType,
    save: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance = backend.create(request(save()))
    instance.load()
    usual = instance.fingerprint(str(tmp_path))
    monkeypatch.setattr(ncnn_file, "weights", lambda _: b"others")
    assert instance.fingerprint(str(tmp_path))["sha256"] != usual["sha256"]
