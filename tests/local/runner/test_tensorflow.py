"""TensorFlow and Keras in their shipped environment, on a model small enough to compute by hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.installed import cannot_install

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

COUNT = 5
PROGRAM = """
import sys
import keras
import numpy as np
folder, seed = sys.argv[1], np.random.Generator(np.random.PCG64(3))
x = keras.Input((8, 8, 3), name="image")
y = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(x)
y = keras.layers.BatchNormalization(name="norm")(y)
y = keras.layers.ReLU(6.0)(y)
y = keras.layers.DepthwiseConv2D(3, name="depthwise")(y)
y = keras.layers.GlobalAveragePooling2D()(y)
model = keras.Model(x, keras.layers.Dense(3, name="dense")(y))
for layer in model.layers:
    drawn = [seed.normal(size=w.shape).astype("f4") for w in layer.get_weights()]
    if layer.name == "norm":
        drawn[3] = np.abs(drawn[3]) + 0.5
    layer.set_weights(drawn)
model.save(folder + "/model.keras")
model.export(folder + "/saved")
kept = model.get_weights()
last = model.layers[-1].get_weights()
model.layers[-1].set_weights([last[0], last[1] + np.float32(0.5)])
model.save(folder + "/shifted.keras")
model.set_weights(kept)
scaled = keras.layers.Lambda(lambda t: t * 2)(model.output)
keras.Model(x, scaled).save(folder + "/lambda.keras")
narrow = keras.layers.Dense(2, dtype="mixed_bfloat16")(keras.layers.Flatten()(x))
keras.Model(x, keras.layers.Activation("linear", dtype="float32")(narrow)).save(
    folder + "/narrow.keras"
)
import tensorflow as tf
module = tf.Module()
module.f = tf.function(
    lambda image: {"y": tf.cast(image, tf.bfloat16) * 2},
    input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32, name="image")],
)
tf.saved_model.save(module, folder + "/bfloat16", signatures=module.f)
def writing(image):
    with tf.control_dependencies([tf.io.write_file(folder + "/written", "x")]):
        return {"y": tf.identity(image)}
module = tf.Module()
module.f = tf.function(
    writing, input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32, name="image")]
)
tf.saved_model.save(module, folder + "/writes", signatures=module.f)
frozen = module.f.get_concrete_function().graph.as_graph_def()
open(folder + "/writes.pb", "wb").write(frozen.SerializeToString())
rows = np.load(folder + "/rows.npy")
np.save(folder + "/expected.npy", model(rows, training=False).numpy())
"""

Model = Callable[[str], Path]


@cache
def interpreter(environment: str) -> str:
    """The Python of a shipped environment, installed if it is not yet; skips where it can't be."""
    try:
        return str(provision(resolve(environment), SilentProgress()).python)
    except HarnessError as error:
        cannot_install(environment, error)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The folder of an environment's models, rows, and what the model gives for them."""

    @cache
    def make(environment: str) -> Path:
        folder = tmp_path_factory.mktemp(environment)
        generator = np.random.Generator(np.random.PCG64(7))
        rows = generator.normal(size=(COUNT, 8, 8, 3)).astype(np.float32)
        np.save(folder / "rows.npy", rows)
        subprocess.run(
            [interpreter(environment), "-c", PROGRAM, str(folder)],
            check=True,
            capture_output=True,
            env=dict(os.environ, KERAS_HOME=str(folder / "home")),
        )
        return folder

    return make


@pytest.fixture
def infer(start: Any, model: Model) -> Callable[..., Any]:
    """Start a worker: `infer(environment, backend, file of the model, **job)`."""

    def begin(environment: str, backend: str, name: str = "model.keras", **changes: Any) -> Any:
        folder = model(environment)
        inputs = {"kind": "array", "path": str(folder / "rows.npy"), "count": COUNT}
        form = {".keras": "keras", ".pb": "graphdef"}.get(Path(name).suffix, "savedmodel")
        return start(
            python=interpreter(environment),
            backend=backend,
            model={"path": str(folder / name), "format": form},
            inputs=inputs,
            **changes,
        )

    return begin


def answered(worker: Any) -> tuple[dict[str, Any], np.ndarray]:
    """The event `loaded`, and the answers."""
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    reply = worker.command("answers")
    assert reply["ok"], reply
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    return event, worker.output()


@pytest.mark.parametrize(
    ("backend", "name", "changes", "operator"),
    [
        ("tensorflow.graph", "model.keras", {"batch": 2}, "_MklNative"),
        ("tensorflow.graph", "saved", {"settings": {"freeze": False}}, "ReadVariableOp (CPU)"),
        (
            "tensorflow.graph",
            "model.keras",
            {"settings": {"onednn": False, "grappler": False}},
            "Conv2D (CPU)",
        ),
        ("tensorflow.eager", "model.keras", {}, "Conv2D (CPU)"),
        ("tensorflow.xla", "saved", {"settings": {"freeze": True}, "batch": 2}, "(XLA)"),
        ("keras.predict", "model.keras", {"batch": 2}, "_MklNative"),
        ("keras.predict", "model.keras", {"settings": {"jit_compile": True}}, "XLA program (CPU)"),
    ],
)
def test_every_way_gives_the_models_answers_and_says_what_ran(
    infer: Callable[..., Any],
    model: Model,
    backend: str,
    name: str,
    changes: dict[str, Any],
    operator: str,
) -> None:
    event, got = answered(infer("tensorflow-2.21", backend, name, **changes))
    expected = np.load(model("tensorflow-2.21") / "expected.npy")
    np.testing.assert_allclose(got, expected, atol=1e-5)
    ran = event["ran"]
    assert any(operator in kind for kind in ran["operators"]), ran["operators"]
    onednn = changes.get("settings", {}).get("onednn", True)
    assert onednn or not any("Mkl" in kind for kind in ran["operators"])
    assert (ran["threads"], ran["inter_op_threads"], ran["cores"]) == (1, 1, 1)
    assert ran["onednn"] is onednn
    assert ran["runs_in_compile"] == (0 if backend == "tensorflow.eager" else 1)
    assert ran["versions"]["tensorflow-cpu"].startswith("2.21")


@pytest.mark.parametrize("backend", ["tensorflow.graph", "keras.predict"])
def test_keras_2_gives_the_same_answers(
    infer: Callable[..., Any], model: Model, backend: str
) -> None:
    event, got = answered(infer("tensorflow-2.15", backend))
    expected = np.load(model("tensorflow-2.15") / "expected.npy")
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert event["ran"]["versions"]["keras"].startswith("2.15")
    # The two environments draw the same weights, so two Kerases must agree on the answers.
    other = np.load(model("tensorflow-2.21") / "expected.npy")
    np.testing.assert_allclose(got, other, atol=1e-5)


@pytest.mark.parametrize(
    ("backend", "name", "words"),
    [
        ("tensorflow.graph", "lambda.keras", "a Lambda or custom layer"),
        ("keras.predict", "narrow.keras", "in bfloat16"),
        ("tensorflow.graph", "bfloat16", "dtype of y 'bfloat16'"),
    ],
)
def test_models_that_need_code_or_less_than_float32_are_refused(
    infer: Callable[..., Any], backend: str, name: str, words: str
) -> None:
    worker = infer("tensorflow-2.21", backend, name)
    assert worker.event() is None
    worker.wait()
    error = worker.error()
    assert error["kind"] == "unsupported"
    assert words in error["message"]


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ("tensorflow-2.21", "writes"),
        ("tensorflow-2.15", "writes"),
        ("tensorflow-2.21", "writes.pb"),
    ],
)
def test_a_graph_that_would_write_a_file_is_refused_before_it_runs(
    infer: Callable[..., Any], model: Model, environment: str, name: str
) -> None:
    worker = infer(environment, "tensorflow.graph", name)
    assert worker.event() is None
    worker.wait()
    error = worker.error()
    assert error["kind"] == "model"
    assert "WriteFile (WriteFile) would" in error["message"]
    assert not (model(environment) / "written").exists()


PROBES = """
import os
from runner import backends, converters
before = dict(os.environ)
for name in ("tensorflow.graph", "keras.predict", "tensorflow.xla"):
    found = backends.probe(name)
    print(name, *found.started)
print("onnx>keras", converters.probe("onnx>keras"))
changed = {name for name in {**before, **os.environ} if os.environ.get(name) != before.get(name)}
print(sorted(changed & {"KERAS_BACKEND", "KERAS_HOME", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"}))
"""


def test_a_probe_does_not_change_what_the_next_one_finds() -> None:
    """TensorFlow is not in this environment: asking for it must not ask the next for it."""
    done = subprocess.run(
        [interpreter("jax-0.10"), "-c", PROBES],
        check=True,
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(Path(__file__).resolve().parents[3])),
    )
    assert done.stdout.splitlines() == [
        "tensorflow.graph",
        "keras.predict jax",
        "tensorflow.xla",
        "onnx>keras {'ok': True, 'detail': '', 'options': []}",
        "[]",
    ]


@pytest.mark.parametrize("environment", ["tensorflow-2.21", "tensorflow-2.15"])
def test_the_probe_says_what_starts(environment: str) -> None:
    interpreter(environment)
    probed = provision(resolve(environment), SilentProgress()).probe
    found = probed["backends"]
    ways = ("tensorflow.graph", "tensorflow.eager", "tensorflow.xla")
    assert [found[name]["started"] for name in ways] == [["cpu"]] * 3
    assert found["keras.predict"]["started"] == ["tensorflow"]
    assert found["keras.predict"]["stack"] == "keras"
    assert probed["builds"]["tensorflow"]


def compiled(worker: Any) -> dict[str, Any]:
    """The fingerprint, once the worker has ended well."""
    event, _ = answered(worker)
    found: dict[str, Any] = event["compiled"]
    assert "absent" not in found, found
    return found


Form = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, Any]]:
    """Compiled forms that one process made, so that several tests can ask for one of them."""
    return {}


@pytest.fixture
def form_of(infer: Callable[..., Any], seen: dict[str, dict[str, Any]]) -> Form:
    """The compiled form: `form_of(backend, environment="tensorflow-2.21", **settings)`."""

    def made(backend: str, environment: str = "tensorflow-2.21", **settings: Any) -> dict[str, Any]:
        asked = repr((environment, backend, sorted(settings.items())))
        if asked not in seen:
            worker = infer(environment, backend, settings=settings, fingerprint=True)
            seen[asked] = compiled(worker)
        return seen[asked]

    return made


@pytest.mark.parametrize(
    ("environment", "backend", "settings", "form", "operator"),
    [
        ("tensorflow-2.21", "tensorflow.graph", {}, "graphdef", "_MklNativeFusedConv2D"),
        ("tensorflow-2.15", "tensorflow.graph", {}, "graphdef", "_MklNativeFusedConv2D"),
        ("tensorflow-2.21", "tensorflow.eager", {}, "graphdef", "Conv2D"),
        ("tensorflow-2.21", "tensorflow.xla", {}, "hlo", "convolution (XLA)"),
        (
            "tensorflow-2.21",
            "keras.predict",
            {"jit_compile": False},
            "graphdef",
            "_MklNativeConv2D",
        ),
        ("tensorflow-2.21", "keras.predict", {"run_eagerly": True}, "graphdef", "Conv2D"),
    ],
)
def test_two_processes_make_one_compiled_form(
    infer: Callable[..., Any],
    form_of: Form,
    environment: str,
    backend: str,
    settings: dict[str, Any],
    form: str,
    operator: str,
) -> None:
    first = form_of(backend, environment, **settings)
    second = compiled(infer(environment, backend, settings=settings, fingerprint=True))
    assert first == second
    assert first["form"] == form
    assert operator in first["operators"], first["operators"]


@pytest.mark.parametrize("backend", ["tensorflow.graph", "tensorflow.xla"])
def test_another_constant_is_another_compiled_form_of_the_same_operators(
    infer: Callable[..., Any], form_of: Form, backend: str
) -> None:
    usual = form_of(backend)
    other = compiled(infer("tensorflow-2.21", backend, "shifted.keras", fingerprint=True))
    assert other["operators"] == usual["operators"]
    assert other["sha256"] != usual["sha256"]


def test_grapplers_optimizers_that_ran_are_told_and_can_be_left_out_by_name(form_of: Form) -> None:
    usual = form_of("tensorflow.graph")
    assert {"remapper", "constant_folding", "memory_optimizer"} <= set(usual["passes"])
    left_out = ["constant_folding", "tfg_optimizer", "memory_optimizer"]
    without = form_of("tensorflow.graph", disabled_passes=left_out)
    assert set(usual["passes"]) - set(without["passes"]) == set(left_out)
    assert without["sha256"] != usual["sha256"]
    assert form_of("tensorflow.graph", passes=["layout"])["passes"] == ["layout"]
    inert = form_of("tensorflow.graph", disabled_passes=["loop_optimizer"])
    assert inert["sha256"] == usual["sha256"]
    assert form_of("tensorflow.graph", grappler=False)["passes"] is None


def test_xlas_passes_and_flags_make_another_program_or_say_that_they_do_not(form_of: Form) -> None:
    usual = form_of("tensorflow.xla")
    assert "fusion" in usual["passes"]
    without = form_of("tensorflow.xla", disabled_passes=["fusion"])
    assert without["sha256"] != usual["sha256"]
    assert "fusion" not in without["passes"]
    inert = form_of("tensorflow.xla", disabled_passes=["topk-rewriter"])
    assert inert["sha256"] == usual["sha256"]
    unoptimised = form_of("tensorflow.xla", xla_flags={"xla_backend_optimization_level": 0})
    assert unoptimised["sha256"] != usual["sha256"]


@pytest.mark.parametrize(
    ("backend", "settings", "variables", "words"),
    [
        ("tensorflow.graph", {"passes": ["remaper"]}, {}, "did you mean remapper"),
        ("tensorflow.xla", {"disabled_passes": ["algsim"]}, {}, "did you mean algsimp"),
        ("tensorflow.xla", {"xla_flags": {"xla_nonsense": 1}}, {}, "no 'xla_nonsense'"),
        ("keras.predict", {}, {"XLA_FLAGS": "--xla_disable_hlo_passes=no-pass"}, "no 'no-pass'"),
    ],
)
def test_a_name_that_would_be_ignored_in_silence_is_refused(
    infer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    settings: dict[str, Any],
    variables: dict[str, str],
    words: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    worker = infer("tensorflow-2.21", backend, settings=settings)
    assert worker.event() is None
    worker.wait()
    error = worker.error()
    assert error["kind"] == "unsupported"
    assert words in error["message"]
