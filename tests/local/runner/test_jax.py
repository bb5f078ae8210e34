"""JAX in its shipped environment: the converter from ONNX, the backend, and Keras on its engine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support.installed import cannot_install

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress
from tests.support.runtime_answers import runtime_answers
from tests.support.small_onnx import AS_RUNTIME, BEYOND_KERAS, CASES, WHOLE_AS_RUNTIME, Small, one

REPOSITORY = Path(__file__).resolve().parents[3]
CASE_COUNT_AT_LEAST = 200
NO_REFERENCE = {"pad_negative": "NumPy's pad takes no negative widths"}
OWN_REFERENCE = ("lrn", "lrn_even", "softmax_opset_11")
"""Where ONNX's evaluator departs from ONNX's text: LRN's window, and softmax before opset 13."""
BY_RUNTIME = {**AS_RUNTIME, **WHOLE_AS_RUNTIME}
REFUSED = {
    "Dropout 'Dropout_0': it is in training mode": Small(
        one("Dropout", "x r t"), {"r": np.float32(0.5), "t": np.array(True)}
    ),
    "it is not in inference mode over channels": Small(
        one("BatchNormalization", "x s s s s", spatial=0),
        {"s": np.ones((4, 7, 6), np.float32)},
        opset=8,
    ),
    "the model is of opset 6 and 7 is the oldest": Small(
        one("Add", "x c", broadcast=1, axis=1), {"c": np.ones(4, np.float32)}, opset=6
    ),
}

Load = Callable[..., Any]


@cache
def interpreter() -> str:
    """The Python of the shipped environment; skips where it can't be installed."""
    try:
        return str(provision(resolve("jax-0.10"), SilentProgress()).python)
    except HarnessError as error:
        cannot_install("jax-0.10", error)


def network() -> onnx.ModelProto:
    """[N, 3, 8, 8] through two convolutions, a pool and a product: [N, 5] and its best class."""
    generator = np.random.Generator(np.random.PCG64(3))

    def weights(*shape: int) -> np.ndarray:
        drawn: np.ndarray = generator.standard_normal(shape).astype(np.float32)
        return drawn

    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[0, 0, 1, 1], strides=[2, 2]),
            helper.make_node("Clip", ["c", "low", "high"], ["r"]),
            helper.make_node("Conv", ["r", "d"], ["e"], group=16, pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", ["e"], ["g"]),
            helper.make_node("Flatten", ["g"], ["f"]),
            helper.make_node("Gemm", ["f", "m", "b"], ["y"], transB=1),
            helper.make_node("ArgMax", ["y"], ["best"], axis=1, keepdims=0),
        ],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5]),
            helper.make_tensor_value_info("best", TensorProto.INT64, ["N"]),
        ],
        [
            numpy_helper.from_array(weights(16, 3, 3, 3), "w"),
            numpy_helper.from_array(weights(16, 1, 3, 3), "d"),
            numpy_helper.from_array(weights(5, 16), "m"),
            numpy_helper.from_array(weights(5), "b"),
            numpy_helper.from_array(np.float32(0), "low"),
            numpy_helper.from_array(np.float32(6), "high"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run_job(job: dict[str, Any], folder: Path) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Exit status, last event and error of a job without a conversation."""
    job = {"schema_version": 1, "work": str(folder / "work"), **job}
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [interpreter(), "-m", "runner", str(folder / "job.json")],
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY), PYTHONWARNINGS="error"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    error = folder / "work" / "error.json"
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return (
        done.returncode,
        json.loads(lines[-1]) if lines else {},
        json.loads(error.read_text()) if error.exists() else {},
    )


def convert(source: Path, target: Path, folder: Path, **options: Any) -> Any:
    """A conversion's exit status, event and error."""
    folder.mkdir(exist_ok=True)
    job = {
        "kind": "convert",
        "converter": "onnx>jax",
        "source": {"path": str(source), "format": "onnx"},
        "target": str(target),
        "options": options,
    }
    return run_job(job, folder)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(5))
    drawn: np.ndarray = generator.standard_normal((6, 3, 8, 8)).astype(np.float32)
    return drawn


@pytest.fixture(scope="module")
def expected(rows: np.ndarray) -> list[np.ndarray]:
    """By ONNX's reference evaluator: float32 [6, 5] and int64 [6]."""
    outputs: list[np.ndarray] = ReferenceEvaluator(network()).run(None, {"x": rows})
    return outputs


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, Any]]:
    """The network converted for the batches 1 and 3, each with its event."""
    folder = tmp_path_factory.mktemp("artifacts")
    onnx.save(network(), folder / "network.onnx")
    made = {}
    for batch in (1, 3):
        target = folder / f"network-{batch}.jax"
        status, event, error = convert(
            folder / "network.onnx", target, folder / f"job{batch}", batch=batch
        )
        assert status == 0, error
        made[batch] = (target, event)
    return made


@pytest.fixture
def load(
    start: Any, tmp_path: Path, rows: np.ndarray, artifacts: dict[int, tuple[Path, Any]]
) -> Load:
    """Start a worker on a converted network: `load(**job)`."""

    def begin(batch: int = 1, converted_for: int | None = None, **changes: Any) -> Any:
        np.save(tmp_path / "x.npy", rows)
        return start(
            python=interpreter(),
            backend="jax",
            model={"path": str(artifacts[converted_for or batch][0]), "format": "jax"},
            inputs={"kind": "array", "path": str(tmp_path / "x.npy"), "count": len(rows)},
            batch=batch,
            **changes,
        )

    return begin


def answers(worker: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The event `loaded` and both outputs."""
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    reply = worker.command("answers")
    assert reply["ok"], reply
    outputs = [worker.output(0), worker.output(1)]
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    return event, outputs


def test_a_conversion_says_what_it_made_and_how_far_it_is_from_onnx(
    artifacts: dict[int, tuple[Path, Any]],
) -> None:
    path, event = artifacts[3]
    assert event["files"].keys() == {path.name}
    assert event["versions"].keys() == {"jax", "jaxlib", "onnx", "numpy"}
    assert event["probe_max_abs_diff"] < 1e-4
    assert event["input_axes"] is None
    assert event["output_axes"] is None


@pytest.mark.parametrize("batch", [1, 3])
def test_the_answers_are_onnxs_and_what_ran_is_told(
    load: Load, expected: list[np.ndarray], batch: int
) -> None:
    event, (scores, best) = answers(load(batch=batch))
    np.testing.assert_allclose(scores, expected[0], atol=1e-4)
    assert best.dtype == np.int64
    np.testing.assert_array_equal(best, expected[1])
    assert [output["name"] for output in event["outputs"]] == ["y", "best"]
    ran = event["ran"]
    assert (ran["platform"], ran["threads"], ran["pool_threads"], ran["cores"]) == ("cpu", 1, 1, 1)
    assert ran["matmul_precision"] == "highest"
    assert "--xla_cpu_multi_thread_eigen=false" in ran["xla_flags"]
    assert 0 < sum(ran["operators"].values()) <= 60
    assert any("convolution" in kind for kind in ran["operators"])
    assert ran["cost"]["flops"] > 1000


@pytest.mark.parametrize(
    "settings",
    [
        {"weights": "constants"},
        {"ynnpack": False},
        {"optimization_level": 0},
    ],
)
def test_no_setting_changes_what_is_computed(
    load: Load, expected: list[np.ndarray], settings: dict[str, Any]
) -> None:
    event, (scores, _) = answers(load(settings=settings))
    np.testing.assert_allclose(scores, expected[0], atol=1e-4)
    assert settings.items() <= event["ran"]["settings"].items()
    if settings.get("ynnpack") is False:
        assert not any("YNNPACK" in kind for kind in event["ran"]["operators"])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="only one core may be used")
def test_two_threads_are_a_pool_of_two(load: Load, expected: list[np.ndarray]) -> None:
    event, (scores, _) = answers(load(threads=2))
    np.testing.assert_allclose(scores, expected[0], atol=1e-4)
    assert (event["ran"]["pool_threads"], event["ran"]["cores"]) == (2, 2)


def test_the_librarys_own_precision_is_another_function(load: Load) -> None:
    event, _ = answers(load(precision="default"))
    assert event["ran"]["matmul_precision"] == "default"


def test_a_batch_that_it_was_not_converted_for_is_unsupported(load: Load) -> None:
    worker = load(batch=1, converted_for=3)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "convert the model for that batch" in worker.error()["message"]


@pytest.mark.parametrize(
    ("operator", "kind", "shape", "said"),
    [
        ("Det", TensorProto.FLOAT, ["N"], "does not know the operators Det"),
        ("NonZero", TensorProto.INT64, [3, "K"], "NonZero is known only where its result"),
    ],
)
def test_an_operator_that_cannot_be_written_is_unsupported_and_named(
    tmp_path: Path, operator: str, kind: int, shape: list[int | str], said: str
) -> None:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 4])],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "one.onnx")
    status, _, error = convert(tmp_path / "one.onnx", tmp_path / "one.jax", tmp_path)
    assert status == 1
    assert error["kind"] == "unsupported"
    assert said in error["message"]
    assert not (tmp_path / "one.jax").exists()


def test_a_shape_that_is_known_only_at_run_time_is_refused_and_named(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["s"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["c", "s"], ["y"], name="reshape_7"),
        ],
        "shape",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros((4, 6), np.float32), "c")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    status, _, error = convert(tmp_path / "m.onnx", tmp_path / "m.jax", tmp_path, batch=2)
    assert status == 1
    assert error["kind"] == "unsupported"
    assert "Reshape 'reshape_7': its shape is known only when the model runs" in error["message"]


def compiled(worker: Any) -> dict[str, Any]:
    """The fingerprint of a worker that was asked for one, which ends then."""
    event, _ = answers(worker)
    found: dict[str, Any] = event["compiled"]
    assert "absent" not in found, found
    return found


@pytest.fixture(scope="module")
def looked() -> dict[str, Any]:
    """Holds the form without settings, once a test has asked for it."""
    return {}


@pytest.fixture
def usual(load: Load, looked: dict[str, Any]) -> dict[str, Any]:
    """What the model is compiled to without settings."""
    if not looked:
        looked.update(compiled(load(fingerprint=True)))
    return looked


def test_the_fingerprint_is_the_same_in_every_process_and_tells_the_passes(
    load: Load, usual: dict[str, Any]
) -> None:
    first = compiled(load(fingerprint=True))
    assert first == usual
    assert first["form"] == "hlo"
    assert {"algsimp", "fusion", "layout-assignment"} <= set(first["passes"])
    assert first["code_bytes"] > 1000
    assert any("convolution" in kind for kind in first["operators"])


@pytest.mark.parametrize(
    "settings",
    [
        {"disabled_passes": ["fusion"]},
        {"passes": []},
        {"weights": "constants"},
        {"optimization_level": 0},
        {"xla_flags": {"xla_cpu_prefer_vector_width": 128}},
    ],
)
def test_what_a_setting_changes_changes_the_fingerprint_and_no_answer(
    load: Load, expected: list[np.ndarray], usual: dict[str, Any], settings: dict[str, Any]
) -> None:
    event, (scores, best) = answers(load(settings=settings, fingerprint=True))
    np.testing.assert_allclose(scores, expected[0], atol=1e-4)
    np.testing.assert_array_equal(best, expected[1])
    assert event["compiled"]["sha256"] != usual["sha256"]
    if "disabled_passes" in settings:
        assert "fusion" not in event["compiled"]["passes"]


def test_a_pass_without_work_to_do_leaves_the_fingerprint_as_it_is(
    load: Load, usual: dict[str, Any]
) -> None:
    settings = {"disabled_passes": ["simplify-while-loops", "simplify-sorts"]}
    assert compiled(load(settings=settings, fingerprint=True)) == usual


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"disabled_passes": ["algsip"]}, "did you mean algsimp"),
        ({"passes": ["layout-assignment"]}, "passes has no 'layout-assignment'"),
        ({"xla_flags": {"xla_cpu_enable_fastmath": True}}, "xla_cpu_enable_fast_math"),
        ({"xla_flags": {"xla_cpu_enable_fast_math": "true"}}, "XLA refuses the value of a flag"),
        ({"xla_flags": {"xla_backend_optimization_level": 1}}, "by optimization_level"),
        ({"disabled_passes": [], "passes": []}, "give one of them"),
    ],
)
def test_what_xla_would_ignore_or_die_of_is_refused_by_name(
    load: Load, settings: dict[str, Any], said: str
) -> None:
    worker = load(settings=settings)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert said in worker.error()["message"]


def test_a_compilation_is_kept_in_the_cells_cache_and_found_again(
    load: Load, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cold, (scores, _) = answers(load(cache=str(cache), fingerprint=True))
    warm, (again, _) = answers(load(cache=str(cache), fingerprint=True))
    assert (cold["compile_cache"], cold["ran"]["compilation_cache"]) == ("cold", "miss")
    assert (warm["compile_cache"], warm["ran"]["compilation_cache"]) == ("warm", "hit")
    assert warm["compiled"] == cold["compiled"]
    np.testing.assert_array_equal(again, scores)


FLAGS = """
from runner.support import jax_runtime, xla_library
jax_runtime.prepare("cpu", 1)
import jax
lowered = jax.jit(lambda x: x + 1).lower(1.0)
unknown = []
for name in xla_library.flags("jaxlib"):
    try:
        lowered.compile(compiler_options={name: "no value of it"})
    except Exception as error:
        if "No such compile option" in str(error):
            unknown.append(name)
print(len(xla_library.flags("jaxlib")), unknown)
"""


def test_every_flag_that_is_offered_is_one_of_xlas(tmp_path: Path) -> None:
    done = subprocess.run(
        [interpreter(), "-c", FLAGS],
        cwd=tmp_path,  # One of them names a folder to write to.
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, unknown = done.stdout.splitlines()[-1].split(" ", 1)
    assert int(count) > 200
    assert unknown == "[]"


EVERY_CASE = """
import json, sys
from runner.support import jax_runtime
jax_runtime.prepare("cpu", 1)
import jax, numpy as np, onnx
from onnx.reference import ReferenceEvaluator
from runner.support.jax_graph import translate
from tests.support.small_onnx import AS_RUNTIME, BEYOND_KERAS, CASES, WHOLE_AS_RUNTIME
no_reference, folder = json.loads(sys.argv[1]), sys.argv[2]
jax.config.update("jax_default_matmul_precision", "highest")
found = {}
for name, case in {**CASES, **BEYOND_KERAS, **AS_RUNTIME, **WHOLE_AS_RUNTIME}.items():
    model, fed = case.model(), case.fed(3 if case.shape[0] == 3 else 2)
    try:
        program = translate(model, fed.shape)
        got = [np.asarray(v) for v in jax.jit(program.function)(fed, *program.weights)]
        if name in no_reference:
            np.save(f"{folder}/{name}.npy", got[0])
            continue
        wanted = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: fed})
        assert len(got) == len(wanted)
        for a, b in zip(wanted, got):
            assert (a.shape, a.dtype) == (b.shape, b.dtype), (a.shape, a.dtype, b.shape, b.dtype)
            np.testing.assert_allclose(b, a, atol=1e-4, rtol=1e-4)
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """The cases whose outputs are not those of ONNX's reference, and where the rest's are."""
    folder = tmp_path_factory.mktemp("cases")
    apart = json.dumps([*NO_REFERENCE, *OWN_REFERENCE, *BY_RUNTIME])
    done = subprocess.run(
        [interpreter(), "-c", EVERY_CASE, apart, str(folder)],
        env=dict(
            os.environ,
            PYTHONPATH=str(REPOSITORY),
            # Their answers are what is looked at; XLA compiles each faster so.
            XLA_FLAGS="--xla_backend_optimization_level=0",
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), folder


def test_each_operator_computes_what_onnx_says(cases: tuple[dict[str, str], Path]) -> None:
    assert len(CASES) + len(BEYOND_KERAS) >= CASE_COUNT_AT_LEAST
    assert cases[0] == {}


@pytest.fixture(scope="module")
def by_runtime(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[np.ndarray]]:
    """What ONNX Runtime makes of the cases where ONNX's evaluator departs from it."""
    models = {name: (case.model(), case.fed()) for name, case in BY_RUNTIME.items()}
    return runtime_answers(tmp_path_factory.mktemp("runtime"), models)


@pytest.mark.parametrize("name", list(BY_RUNTIME))
def test_where_the_evaluator_departs_the_answers_are_onnx_runtimes(
    cases: tuple[dict[str, str], Path], by_runtime: dict[str, list[np.ndarray]], name: str
) -> None:
    got, (wanted,) = np.load(cases[1] / f"{name}.npy"), by_runtime[name]
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(got, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("message", list(REFUSED))
def test_what_would_be_computed_wrongly_is_refused_by_name(tmp_path: Path, message: str) -> None:
    onnx.save(REFUSED[message].model(), tmp_path / "m.onnx")
    status, _, error = convert(tmp_path / "m.onnx", tmp_path / "m.jax", tmp_path)
    assert (status, error["kind"]) == (1, "unsupported")
    assert message in error["message"]


def test_a_function_of_the_models_own_is_written_out(tmp_path: Path) -> None:
    model = Small([("Twice", "x", "y", {})], {}, ["N", 3]).model()
    model.graph.node[0].domain = "own"
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, tmp_path / "m.onnx")
    status, event, error = convert(tmp_path / "m.onnx", tmp_path / "m.jax", tmp_path)
    assert status == 0, error
    assert event["probe_max_abs_diff"] == 0


def test_a_model_that_computes_in_half_precision_is_not_called_float32(
    start: Any, tmp_path: Path
) -> None:
    nodes = [
        ("Cast", "x", "h", {"to": TensorProto.FLOAT16}),
        ("MatMul", "h w", "m", {}),
        ("Cast", "m", "y", {"to": TensorProto.FLOAT}),
    ]
    small = Small(nodes, {"w": np.eye(3, dtype=np.float16)}, ["N", 3])
    onnx.save(small.model(), tmp_path / "m.onnx")
    status, _, error = convert(tmp_path / "m.onnx", tmp_path / "m.jax", tmp_path / "job", batch=2)
    assert status == 0, error
    np.save(tmp_path / "x.npy", small.fed())
    job = {
        "python": interpreter(),
        "backend": "jax",
        "model": {"path": str(tmp_path / "m.jax"), "format": "jax"},
        "inputs": {"kind": "array", "path": str(tmp_path / "x.npy"), "count": 2},
        "batch": 2,
    }
    worker = start(**job)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "the model computes in float16" in worker.error()["message"]


@pytest.mark.parametrize("name", ["lrn", "lrn_even"])
def test_lrn_sums_over_onnxs_window(cases: tuple[dict[str, str], Path], name: str) -> None:
    given, x = CASES[name].nodes[0][3], CASES[name].fed().astype(np.float64)
    before = (given["size"] - 1) // 2
    after = given["size"] - 1 - before
    sums = [(x[:, max(0, c - before) : c + after + 1] ** 2).sum(axis=1) for c in range(x.shape[1])]
    scale = given["bias"] + given["alpha"] / given["size"] * np.stack(sums, axis=1)
    np.testing.assert_allclose(np.load(cases[1] / f"{name}.npy"), x / scale ** given["beta"], 1e-5)


def test_softmax_before_opset_13_is_over_all_that_follows(
    cases: tuple[dict[str, str], Path],
) -> None:
    x = CASES["softmax_opset_11"].fed().astype(np.float64)
    rows = np.exp(x.reshape(len(x), -1))
    wanted = (rows / rows.sum(axis=1, keepdims=True)).reshape(x.shape)
    np.testing.assert_allclose(np.load(cases[1] / "softmax_opset_11.npy"), wanted, 1e-5)


def test_negative_padding_cuts_off(cases: tuple[dict[str, str], Path]) -> None:
    x = CASES["pad_negative"].fed()
    wanted = np.pad(x[:, :, 1:, :-2], ((0, 0), (0, 0), (0, 1), (2, 0)))
    np.testing.assert_array_equal(np.load(cases[1] / "pad_negative.npy"), wanted)


def test_the_probe_computes_on_the_cpu_and_knows_the_converter() -> None:
    probed = provision(resolve("jax-0.10"), SilentProgress()).probe
    found = probed["backends"]["jax"]
    assert found["started"] == ["cpu"]
    assert found["version"].startswith("0.10.")
    assert probed["builds"]["jax"]["jaxlib"] == found["version"]
