"""TensorFlow's backends over a made-up TensorFlow: what is set, refused and proven."""

from __future__ import annotations

import os
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.slow_device import SlowDevice

from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.support import native_threads

BATCH = np.array([[1.0, 2.0]], np.float32)
CPU, GPU = "/job:localhost/device:CPU:0", "/job:localhost/device:GPU:0"


class Tensor:
    """Numbers and a place."""

    def __init__(
        self, values: np.ndarray, device: str = CPU, gpu: SlowDevice | None = None
    ) -> None:
        self.values, self.device = values, device
        self.gpu = gpu or SlowDevice()
        self.dtype = SimpleNamespace(as_datatype_enum=1, name="float32")

    def numpy(self) -> np.ndarray:
        self.gpu.copy_out()
        return self.values.copy()


class Recorded:
    """TensorFlow's own record of a call: the nodes that it says ran."""

    def __init__(self, nodes: list[tuple[str, str]]) -> None:
        self.nodes = nodes

    def module(self) -> ModuleType:
        context = ModuleType("tensorflow.python.eager.context")
        attributes: Any = defaultdict(
            lambda: SimpleNamespace(type=0, list=SimpleNamespace(type=[]), b=False)
        )
        attributes["T"] = SimpleNamespace(type=1, list=SimpleNamespace(type=[]), b=False)
        graph = SimpleNamespace(
            node=[SimpleNamespace(op=op, device=at, attr=attributes) for op, at in self.nodes]
        )
        context.__dict__.update(
            enable_run_metadata=lambda: None,
            disable_run_metadata=lambda: None,
            export_run_metadata=lambda: SimpleNamespace(
                function_graphs=[SimpleNamespace(partition_graphs=[graph])]
            ),
        )
        return context


class FakeTensorFlow:
    """The part of TensorFlow that the backends touch, and what they told it."""

    def __init__(
        self, *, cuda: bool = False, gpus: int = 0, running: bool = False, output: str = CPU
    ) -> None:
        self.told: dict[str, Any] = {}
        self.output = output
        self.gpu = SlowDevice()
        module = ModuleType("tensorflow")

        def note(name: str) -> Callable[..., None]:
            def keep(*values: Any) -> None:
                if running and name in ("intra", "inter"):
                    raise RuntimeError("Intra op parallelism cannot be modified")
                self.told[name] = values[0] if len(values) == 1 else values

            return keep

        threading = SimpleNamespace(
            set_intra_op_parallelism_threads=note("intra"),
            set_inter_op_parallelism_threads=note("inter"),
            get_intra_op_parallelism_threads=lambda: self.told["intra"],
            get_inter_op_parallelism_threads=lambda: self.told["inter"],
        )
        self.told["tf32"] = True
        experimental = SimpleNamespace(
            set_memory_growth=lambda _, on: note("growth")(on),
            enable_tensor_float_32_execution=note("tf32"),
            tensor_float_32_execution_enabled=lambda: self.told["tf32"],
        )
        module.__dict__.update(
            __version__="2.21.0",
            config=SimpleNamespace(
                threading=threading,
                experimental=experimental,
                list_physical_devices=lambda _: [f"GPU:{i}" for i in range(gpus)],
                set_visible_devices=note("visible"),
                set_soft_device_placement=note("soft"),
                optimizer=SimpleNamespace(set_experimental_options=note("options")),
            ),
            test=SimpleNamespace(
                is_built_with_cuda=lambda: cuda,
                experimental=SimpleNamespace(sync_devices=self.gpu.wait),
            ),
            sysconfig=SimpleNamespace(get_build_info=lambda: {"cuda_version": "12.5.1"}),
            dtypes=SimpleNamespace(as_dtype=str),
            TensorSpec=lambda shape, dtype, name: (shape, dtype, name),
            device=lambda _: nullcontext(),
            constant=self._constant,
            function=self._function,
        )
        self.module = module

    def _constant(self, values: np.ndarray) -> Tensor:
        self.gpu.queue(self.gpu.IN)
        return Tensor(values, gpu=self.gpu)

    def _function(self, step: Any, **options: Any) -> Any:
        self.told["function"] = options
        return SimpleNamespace(get_concrete_function=lambda: step)

    def model(self, fed: Tensor, *, training: bool) -> Tensor:
        assert training is False
        self.gpu.queue(self.gpu.WORK)
        return Tensor(fed.values * 2, self.output, self.gpu)


def fake_keras(model: Any, dtypes: tuple[str, ...] = ("float32",)) -> ModuleType:
    keras = ModuleType("keras")

    class Model:
        inputs = (SimpleNamespace(name="x", dtype="float32", shape=(None, 2)),)
        outputs = (SimpleNamespace(name="y", dtype="float32", shape=(None, 2)),)
        layers = tuple(
            SimpleNamespace(name=f"layer{i}", compute_dtype=d, data_format="channels_last")
            for i, d in enumerate(dtypes)
        )

        def __call__(self, fed: Any, *, training: bool) -> Any:
            return model(fed, training=training)

    keras.__dict__["models"] = SimpleNamespace(load_model=lambda *_, **__: Model())
    return keras


Loader = Callable[..., Any]


@pytest.fixture
def load(
    with_framework: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Loader:
    """Load a model: `load(backend's module, a fake TensorFlow, nodes, **request)`."""
    for name in ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_DEFAULT_FPMATH_MODE", "KERAS_BACKEND"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("KERAS_HOME", "before")
    monkeypatch.setenv("TF_SET_ONEDNN_FPMATH_MODE", "BF16")
    monkeypatch.setattr(native_threads, "hold_to_cores", lambda _, threads: threads)
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')

    def begin(
        backend: str,
        tensorflow: FakeTensorFlow,
        nodes: list[tuple[str, str]] | None = None,
        dtypes: tuple[str, ...] = ("float32",),
        **changes: Any,
    ) -> Any:
        port = ModuleType("tensorflow.python.util._pywrap_util_port")
        port.__dict__["IsMklEnabled"] = lambda: os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
        freezing = ModuleType("tensorflow.python.framework.convert_to_constants")
        freezing.__dict__["convert_variables_to_constants_v2"] = lambda traced: traced
        recorded = Recorded(nodes or [("Conv2D", CPU), ("Relu", CPU)])
        module = with_framework(
            f"runner.backends.{backend}",
            tensorflow=tensorflow.module,
            tensorflow__python__eager__context=recorded.module(),
            keras=fake_keras(tensorflow.model, dtypes),
        )
        monkeypatch.setitem(sys.modules, port.__name__, port)
        monkeypatch.setitem(sys.modules, freezing.__name__, freezing)
        request = {
            "path": str(tmp_path / "m.keras"),
            "format": "keras",
            "settings": {},
            "precision": "f32",
            "device": "cpu",
            "threads": 2,
            "batch": 1,
            "item_shape": (2,),
            **changes,
        }
        made = module.create(LoadRequest(**request))
        made.load()
        made.compile()
        return made

    return begin


def test_threads_precision_and_devices_are_set_before_anything_runs(load: Loader) -> None:
    tensorflow = FakeTensorFlow()
    backend = load("tensorflow_graph", tensorflow)
    assert tensorflow.told["intra"] == 2
    assert tensorflow.told["inter"] == 1
    assert tensorflow.told["visible"] == ([], "GPU")
    assert tensorflow.told["soft"] is False
    assert tensorflow.told["tf32"] is False
    assert tensorflow.told["options"]["disable_meta_optimizer"] is False
    assert tensorflow.told["options"]["auto_mixed_precision_onednn_bfloat16"] is False
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    assert os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] == "STRICT"
    assert "TF_SET_ONEDNN_FPMATH_MODE" not in os.environ
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    ran = backend.describe().ran
    assert (ran["threads"], ran["inter_op_threads"], ran["cores"]) == (2, 1, 2)
    assert ran["onednn"] is True
    assert ran["saved_by_keras"] == "3.15.1"
    assert ran["data_format"] == "channels_last"
    assert ran["operators"] == {"Conv2D (CPU)": 1, "Relu (CPU)": 1}
    (output,) = backend.run(BATCH)
    np.testing.assert_array_equal(output, BATCH * 2)
    assert backend.prove(BATCH) == {}


def test_the_librarys_own_precision_changes_nothing(load: Loader) -> None:
    tensorflow = FakeTensorFlow()
    load("tensorflow_graph", tensorflow, precision="default")
    assert tensorflow.told["options"] == {"disable_meta_optimizer": False}
    assert tensorflow.told["tf32"] is True
    assert os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] == "before"
    assert os.environ["TF_SET_ONEDNN_FPMATH_MODE"] == "BF16"


def test_onednn_and_grappler_can_be_switched_off(load: Loader) -> None:
    tensorflow = FakeTensorFlow()
    backend = load("tensorflow_graph", tensorflow, settings={"onednn": False, "grappler": False})
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert tensorflow.told["options"]["disable_meta_optimizer"] is True
    assert backend.describe().ran["onednn"] is False


def test_a_tensorflow_that_runs_already_is_refused(load: Loader) -> None:
    with pytest.raises(RunnerError, match="can't be held to 2 threads") as caught:
        load("tensorflow_graph", FakeTensorFlow(running=True))
    assert caught.value.kind == "unsupported"


def test_a_model_with_narrow_layers_is_not_f32(load: Loader) -> None:
    dtypes = ("float32", "bfloat16")
    with pytest.raises(RunnerError, match="layer1 in bfloat16") as caught:
        load("tensorflow_graph", FakeTensorFlow(), dtypes=dtypes)
    assert caught.value.kind == "unsupported"
    load("tensorflow_graph", FakeTensorFlow(), dtypes=dtypes, precision="default")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"item_shape": (3,)}, "x"),
        ({"format": "onnx"}, "format 'onnx'"),
        ({"path": "/absent.keras"}, "no such model file"),
        ({"settings": {"freeze": "yes"}}, "value of freeze"),
        ({"device": "cuda", "settings": {"onednn": False}}, "onednn on the GPU"),
    ],
)
def test_what_can_not_be_done_is_refused(
    load: Loader, one_gpu: Any, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words):
        load("tensorflow_graph", FakeTensorFlow(cuda=True, gpus=1), **changes)


def test_a_file_that_is_no_archive_is_refused_with_what_it_should_be(
    load: Loader, tmp_path: Path
) -> None:
    (tmp_path / "text.keras").write_text("no")
    with pytest.raises(RunnerError, match=r"is no \.keras file") as caught:
        load("tensorflow_graph", FakeTensorFlow(), path=str(tmp_path / "text.keras"))
    assert caught.value.kind == "model"


def test_a_graph_that_is_wholly_on_the_gpu_is_proven(load: Loader, one_gpu: Any) -> None:
    tensorflow = FakeTensorFlow(cuda=True, gpus=1, output=GPU)
    nodes = [("Conv2D", GPU), ("Relu", GPU), ("_Arg", CPU)]
    backend = load("tensorflow_graph", tensorflow, nodes, device="cuda")
    assert tensorflow.told["growth"] is True
    assert tensorflow.told["visible"] == (["GPU:0"], "GPU")
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    assert backend.describe().ran["tf32"] is False
    assert "cores" not in backend.describe().ran
    proof = backend.prove(BATCH)["device_proof"]
    assert proof["uuid"] == "GPU-00000000-0000-0000-0000-000000000001"
    assert proof["operators"] == 2
    assert proof["device"] == GPU


def test_the_parts_of_a_query_are_told_once_the_gpu_is_waited_for(
    load: Loader, one_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorflow = FakeTensorFlow(cuda=True, gpus=1, output=GPU)
    backend = load("tensorflow_graph", tensorflow, [("Conv2D", GPU)], device="cuda")
    tensorflow.gpu.wait()
    monkeypatch.setattr("time.perf_counter_ns", tensorflow.gpu)
    (output,), stages = backend.run_in_stages(BATCH)
    np.testing.assert_array_equal(output, BATCH * 2)
    assert stages == SlowDevice.STAGES


def test_a_tensorflow_that_can_not_wait_for_a_gpu_says_so(load: Loader, one_gpu: Any) -> None:
    tensorflow = FakeTensorFlow(cuda=True, gpus=1, output=GPU)
    backend = load("tensorflow_graph", tensorflow, [("Conv2D", GPU)], device="cuda")
    del tensorflow.module.test.experimental
    with pytest.raises(RunnerError, match=r"2\.21\.0 has no way to wait for a GPU") as caught:
        backend.run_in_stages(BATCH)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("nodes", "output", "words"),
    [
        ([("Conv2D", GPU), ("LRN", CPU)], GPU, "LRN 1"),
        ([("Conv2D", CPU), ("Relu", CPU)], GPU, "ran 0 operators there"),
        ([("Conv2D", GPU), ("Relu", GPU)], CPU, "of its outputs came from"),
    ],
)
def test_a_graph_that_is_partly_elsewhere_is_refused(
    load: Loader, one_gpu: Any, nodes: list[tuple[str, str]], output: str, words: str
) -> None:
    tensorflow = FakeTensorFlow(cuda=True, gpus=1, output=output)
    backend = load("tensorflow_graph", tensorflow, nodes, device="cuda")
    with pytest.raises(RunnerError, match=words) as caught:
        backend.prove(BATCH)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("tensorflow", "words"),
    [
        (FakeTensorFlow(), "built for the CPU"),
        (FakeTensorFlow(cuda=True), r"lists 0 GPUs where NVIDIA Test is \(driver 570.133.20"),
    ],
)
def test_a_tensorflow_that_can_not_use_the_gpu_says_why(
    load: Loader, one_gpu: Any, tensorflow: FakeTensorFlow, words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        load("tensorflow_graph", tensorflow, device="cuda")
    assert caught.value.kind == "unsupported"


def test_without_a_gpu_the_request_is_refused(load: Loader, no_gpu: Any) -> None:
    with pytest.raises(RunnerError, match=r"libcuda\.so\.1") as caught:
        load("tensorflow_graph", FakeTensorFlow(cuda=True), device="cuda")
    assert caught.value.kind == "wrong-device"
