"""The importers of TVM, OpenVINO and IREE: what they make, run by the backend that reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from support.environment_python import interpreter, run_inside
from support.small_onnx import Node, Small

HERE = Path(__file__).parent
TVM, OPENVINO, IREE = "tvm-0.27", "openvino-2026.4", "iree-3.13"
IMPORTERS, JAX, TENSORFLOW = "torch-importers-2.13", "jax-0.10", "tensorflow-2.21"
NHWC = [0, 2, 3, 1]
WEIGHTS = np.random.Generator(np.random.PCG64(3)).standard_normal((4, 3, 3, 3)).astype(np.float32)

Infer = Callable[..., Any]


def network(operator: str = "Relu", weights: np.ndarray | None = None) -> onnx.ModelProto:
    """[N, 3, 5, 6] through a convolution and a mean: [N, 4]."""
    nodes: list[Node] = [
        ("Conv", "x w", "c", {"pads": [1, 1, 1, 1]}),
        (operator, "c", "r", {}),
        ("GlobalAveragePool", "r", "g", {}),
        ("Flatten", "g", "y", {}),
    ]
    model = Small(nodes, {"w": WEIGHTS if weights is None else weights}, ["N", 3, 5, 6]).model()
    kind = TensorProto.FLOAT
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", kind, ["N", 4]))
    return model


def reference(folder: Path, weights: np.ndarray | None = None) -> np.ndarray:
    """What ONNX's own evaluator gives for the rows: float32 [2, 4]."""
    evaluator = ReferenceEvaluator(network(weights=weights))
    answers: np.ndarray = evaluator.run(None, {"x": np.load(folder / "x.npy")})[0]
    return answers


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    drawn: np.ndarray = np.random.Generator(np.random.PCG64(5)).standard_normal((2, 3, 5, 6))
    return drawn.astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, rows: np.ndarray) -> Path:
    """Where the sources are, and all that is made of them."""
    made = tmp_path_factory.mktemp("importers")
    np.save(made / "x.npy", rows)
    onnx.save(network(), made / "net.onnx")
    onnx.save(network("NoSuchOperator"), made / "odd.onnx")
    (made / "damaged.onnx").write_bytes(b"damaged")
    return made


@pytest.fixture(scope="module")
def torch_folder(folder: Path) -> Path:
    """With programs exported by PyTorch."""
    run_inside(IMPORTERS, HERE / "sources_of_importers.py", "torch", folder)
    return folder


@pytest.fixture(scope="module")
def tensorflow_folder(folder: Path) -> Path:
    """With models of TensorFlow."""
    run_inside(TENSORFLOW, HERE / "sources_of_importers.py", "tensorflow", folder)
    return folder


def converted(
    environment: str, folder: Path, *jobs: tuple[str, str, str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """How each of `(converter, source, target, options)` ended."""
    formats = {".pt2": "pt2", ".jax": "jax", ".onnx": "onnx", ".tflite": "tflite"}
    documents = [
        {
            "schema_version": 1,
            "kind": "convert",
            "work": str(folder / "work"),
            "converter": converter,
            "source": {
                "path": str(folder / source),
                "format": formats.get(Path(source).suffix, Path(source).suffix[1:]),
            },
            "target": str(folder / target),
            "options": options,
        }
        for converter, source, target, options in jobs
    ]
    listed = folder / "jobs.json"
    listed.write_text(json.dumps(documents))
    said = run_inside(environment, HERE / "convert_documents.py", listed)
    ended: list[dict[str, Any]] = json.loads(said.splitlines()[-1])
    return ended


@pytest.fixture
def infer(start: Any, folder: Path) -> Infer:
    """The first output of a file for the rows, or why not: `infer(environment, backend, file)`."""

    def run(environment: str, backend: str, file: str, kind: str, **changes: Any) -> Any:
        worker = start(
            python=interpreter(environment),
            backend=backend,
            model={"path": str(folder / file), "format": kind},
            inputs={
                "kind": "array",
                "path": str(folder / "x.npy"),
                "count": len(np.load(folder / "x.npy")),
            },
            **changes,
        )
        event = worker.event()
        if event is None:
            worker.wait()
            error = worker.error()
            return (error["kind"], error["message"])
        assert worker.command("answers")["ok"]
        answers = worker.output()
        worker.command("finish")
        assert worker.wait() == 0
        return event, answers

    return run


def test_a_relax_file_answers_bit_for_bit_as_the_importer_in_the_cell(
    folder: Path, infer: Infer
) -> None:
    jobs = [("onnx>relax", "net.onnx", f"{batch}.relax", {"batch": batch}) for batch in (1, 2)]
    ended = converted(TVM, folder, *jobs)
    assert all(0 <= one["probe_max_abs_diff"] < 1e-5 for one in ended), ended
    assert ended[0]["versions"].keys() >= {"apache-tvm", "apache-tvm-ffi", "onnx"}
    for batch in (1, 2):
        event, answers = infer(TVM, "tvm", f"{batch}.relax", "relax", batch=batch)
        own, expected = infer(TVM, "tvm", "net.onnx", "onnx", batch=batch)
        assert answers.tobytes() == expected.tobytes()
        assert (event["input"], event["outputs"]) == (own["input"], own["outputs"])
        assert event["ran"]["operators"] == own["ran"]["operators"]
    assert own["outputs"][0]["name"] == "y"
    np.testing.assert_allclose(answers, reference(folder), atol=1e-5)


def test_what_is_no_relax_module_or_of_another_shape_is_refused(folder: Path, infer: Infer) -> None:
    converted(TVM, folder, ("onnx>relax", "net.onnx", "one.relax", {}))
    assert infer(TVM, "tvm", "one.relax", "relax", batch=2) == (
        "unsupported",
        "tvm: the module takes [1, 3, 5, 6] and [2, 3, 5, 6] is to be fed: convert the model for "
        "that batch and shape",
    )
    whole = (folder / "one.relax").read_text()
    (folder / "cut.relax").write_text(whole[: len(whole) // 2])
    kind, message = infer(TVM, "tvm", "cut.relax", "relax")
    assert kind == "model"
    assert "can't be read as a Relax module by TVM 0.27" in message
    assert "convert the model again" in message


def test_what_tvm_can_not_import_is_named(folder: Path) -> None:
    ended = converted(
        TVM,
        folder,
        ("onnx>relax", "odd.onnx", "no.relax", {}),
        ("onnx>relax", "damaged.onnx", "no.relax", {}),
        ("onnx>relax", "net.onnx", "no.relax", {"layout": "nhwc"}),
        ("onnx>relax", "net.onnx", "no.relax", {"item_shape": [3, 9, 9]}),
    )
    assert [one["kind"] for one in ended] == ["unsupported", "model", "unsupported", "unsupported"]
    assert "NoSuchOperator" in ended[0]["message"]
    assert "'layout'" in ended[2]["message"]
    assert "[1, 3, 9, 9] was asked for" in ended[3]["message"]
    assert not (folder / "no.relax").exists()


def test_tflite_files_become_relax_and_stay_quantised(
    tensorflow_folder: Path, infer: Infer
) -> None:
    folder = tensorflow_folder
    float32, int8, shaped = converted(
        TVM,
        folder,
        ("tflite>relax", "net.tflite", "lite.relax", {}),
        ("tflite>relax", "int8.tflite", "int8.relax", {}),
        ("tflite>relax", "net.tflite", "no.relax", {"item_shape": [9, 9, 3]}),
    )
    assert float32["versions"]["tflite"]
    event, answers = infer(TVM, "tvm", "lite.relax", "relax", input_axes=NHWC)
    assert event["ran"]["computes_in"][0] == "float32"
    np.testing.assert_allclose(answers, np.load(folder / "tensorflow.npy"), atol=1e-5)
    assert "[1, 9, 9, 3] was asked for" in shaped["message"]
    # Whatever TVM's importer makes of integers, it is the same in the cell and in a file.
    own = infer(TVM, "tvm", "int8.tflite", "tflite", input_axes=NHWC)
    if "kind" in int8:
        assert (int8["kind"], own[0]) == ("unsupported", "unsupported")
        assert int8["message"].partition(": ")[2] == own[1].partition(": ")[2]
        return
    event, answers = infer(TVM, "tvm", "int8.relax", "relax", input_axes=NHWC)
    assert (event["input"], event["outputs"]) == (own[0]["input"], own[0]["outputs"])
    assert event["input"]["dtype"] == "int8"
    assert event["input"]["scale"] > 0
    assert answers.tobytes() == own[1].tobytes()


def test_an_exported_program_goes_through_each_importer(torch_folder: Path, infer: Infer) -> None:
    folder, expected = torch_folder, np.load(torch_folder / "torch.npy")
    targets = {"relax": "tvm", "openvino": "openvino", "mlir": "iree"}
    jobs = [
        (f"torch>{kind}", f"{name}.pt2", f"{name}.{kind}", {"batch": batch})
        for kind in targets
        for name, batch in (("net", 1), ("open", 2))
    ]
    ended = converted(IMPORTERS, folder, *jobs)
    assert all(0 <= one["probe_max_abs_diff"] < 1e-5 for one in ended), ended
    for kind, environment in zip(targets, (TVM, OPENVINO, IREE), strict=True):
        event, answers = infer(environment, targets[kind], f"open.{kind}", kind, batch=2)
        np.testing.assert_allclose(answers, expected, atol=1e-5, err_msg=kind)
        assert event["input"]["shape"] == [2, 3, 5, 6]
        assert len(event["outputs"]) == 2
    assert ended[-1]["versions"].keys() >= {"iree-turbine", "iree-base-compiler", "torch"}


def test_operators_that_an_importer_of_programs_lacks_are_named(torch_folder: Path) -> None:
    kinds = ("relax", "openvino", "mlir")
    jobs = [(f"torch>{kind}", "odd.pt2", f"odd.{kind}", {}) for kind in kinds]
    late = [(f"torch>{kind}", "net.pt2", f"odd.{kind}", {"batch": 3}) for kind in kinds]
    ended = converted(IMPORTERS, torch_folder, *jobs, *late)
    assert [one["kind"] for one in ended] == ["unsupported"] * 6
    assert all("bessel_j0" in one["message"] for one in ended[:3]), ended
    assert all("[3, 3, 5, 6] was asked" in one["message"] for one in ended[3:]), ended
    assert not any((torch_folder / f"odd.{kind}").exists() for kind in kinds)


def test_halves_stay_halves_and_are_not_run_as_float32(torch_folder: Path, infer: Infer) -> None:
    jobs = [(f"torch>{kind}", "half.pt2", f"half.{kind}", {}) for kind in ("relax", "mlir")]
    assert all("files" in one for one in converted(IMPORTERS, torch_folder, *jobs))
    for environment, backend, kind in ((TVM, "tvm", "relax"), (IREE, "iree", "mlir")):
        refused = infer(environment, backend, f"half.{kind}", kind)
        assert refused[0] == "unsupported"
        assert "computes in float16" in refused[1]
        _, answers = infer(environment, backend, f"half.{kind}", kind, precision="default")
        rows = np.load(torch_folder / "x.npy")
        np.testing.assert_array_equal(answers, (rows.astype("f2") * 2).astype("f4"))


def test_openvino_writes_whole_float32_an_open_batch_and_the_layout_asked_for(
    folder: Path, infer: Infer
) -> None:
    options = {"plain": {}, "last": {"layout": "nhwc"}, "small": {"quantisation": "float16"}}
    jobs = [("onnx>openvino", "net.onnx", f"{n}.openvino", o) for n, o in options.items()]
    ended = dict(zip(options, converted(OPENVINO, folder, *jobs), strict=True))
    assert sorted(ended["plain"]["files"]) == [
        "plain.openvino/model.bin",
        "plain.openvino/model.xml",
    ]
    assert ended["plain"]["input_axes"] is None
    assert ended["last"]["input_axes"] == NHWC
    rounded = WEIGHTS.astype(np.float16).astype(np.float32)
    for name in options:
        axes = ended[name]["input_axes"]
        event, answers = infer(
            OPENVINO, "openvino", f"{name}.openvino", "openvino", batch=2, input_axes=axes
        )
        expected = reference(folder, rounded if name == "small" else None)
        np.testing.assert_allclose(answers, expected, atol=1e-5, err_msg=name)
        assert event["ran"]["computes_in"] == ["float32"]
    assert np.abs(reference(folder, rounded) - reference(folder)).max() > 5e-5
    assert event["input"]["shape"] == [2, 3, 5, 6]
    assert 'element_type="f16"' not in (folder / "plain.openvino" / "model.xml").read_text()
    assert 'element_type="f16"' in (folder / "small.openvino" / "model.xml").read_text()


def test_what_openvino_can_not_import_is_named(folder: Path, infer: Infer) -> None:
    ended = converted(
        OPENVINO,
        folder,
        ("onnx>openvino", "odd.onnx", "no.openvino", {}),
        ("onnx>openvino", "damaged.onnx", "no.openvino", {}),
        ("onnx>openvino", "net.onnx", "no.openvino", {"quantisation": "static"}),
        ("savedmodel>openvino", "net.onnx.savedmodel", "no.openvino", {}),
    )
    assert [one["kind"] for one in ended] == ["unsupported", "model", "unsupported", "model"]
    assert "NoSuchOperator" in ended[0]["message"]
    assert "give the folder that holds saved_model.pb" in ended[3]["message"]
    assert not (folder / "no.openvino").exists()
    kind, message = infer(OPENVINO, "openvino", "nothing.openvino", "openvino")
    assert (kind, "nothing.openvino/model.xml" in message) == ("model", True)


def test_openvino_reads_what_tensorflow_writes(tensorflow_folder: Path, infer: Infer) -> None:
    folder, expected = tensorflow_folder, np.load(tensorflow_folder / "tensorflow.npy")
    kinds = ("savedmodel", "graphdef", "tflite")
    jobs = [(f"{kind}>openvino", f"net.{kind}", f"{kind}.openvino", {}) for kind in kinds]
    quantised = ("tflite>openvino", "int8.tflite", "no.openvino", {})
    *ended, refused = converted(OPENVINO, folder, *jobs, quantised)
    assert all("files" in one for one in ended), ended
    assert refused["kind"] == "unsupported"
    assert "drops the scale and zero point" in refused["message"]
    for kind in kinds:
        for file, read_as in ((f"{kind}.openvino", "openvino"), (f"net.{kind}", kind)):
            _, answers = infer(OPENVINO, "openvino", file, read_as, input_axes=NHWC)
            np.testing.assert_allclose(answers, expected, atol=1e-5, err_msg=file)


@pytest.mark.parametrize("name", ["twelve.graphdef", "twelve.savedmodel", "unsorted.graphdef"])
def test_openvino_keeps_the_order_of_tensorflows_outputs(
    tensorflow_folder: Path, infer: Infer, name: str
) -> None:
    folder, kind = tensorflow_folder, name.partition(".")[2]
    (ended,) = converted(OPENVINO, folder, (f"{kind}>openvino", name, f"{name}.openvino", {}))
    assert "files" in ended, ended
    expected = np.load(folder / "x.npy").mean((1, 2, 3))[:, None]
    ends = [f"output_{n}" for n in range(12)] if "twelve" in name else ["zeta", "alpha", "mid"]
    for file, read_as in ((f"{name}.openvino", "openvino"), (name, kind)):
        event, answers = infer(OPENVINO, "openvino", file, read_as, batch=2, input_axes=NHWC)
        assert [one["shape"] for one in event["outputs"]] == [[2, n + 1] for n in range(len(ends))]
        assert [one["name"].partition(":")[0] for one in event["outputs"]] == ends
        np.testing.assert_allclose(answers, expected, atol=1e-6, err_msg=file)


def test_mlir_answers_bit_for_bit_as_the_importer_in_the_cell(folder: Path, infer: Infer) -> None:
    made, odd = converted(
        IREE,
        folder,
        ("onnx>mlir", "net.onnx", "net.mlir", {}),
        ("onnx>mlir", "odd.onnx", "no.mlir", {}),
    )
    assert 0 <= made["probe_max_abs_diff"] < 1e-5
    assert (odd["kind"], "NoSuchOperator" in odd["message"]) == ("unsupported", True)
    event, answers = infer(IREE, "iree", "net.mlir", "mlir")
    own, expected = infer(IREE, "iree", "net.onnx", "onnx")
    assert answers.tobytes() == expected.tobytes()
    assert event["ran"]["operators"] == own["ran"]["operators"]
    assert "opset" not in event["ran"]
    kind, message = infer(IREE, "iree", "net.mlir", "mlir", batch=2)
    assert (kind, "takes [1, 3, 5, 6] and [2, 3, 5, 6] is to be fed" in message) == (
        "unsupported",
        True,
    )
    (folder / "damaged.mlir").write_text("module { func.func }")
    assert infer(IREE, "iree", "damaged.mlir", "mlir")[0] == "model"


def test_mlir_of_an_old_opset_is_raised_and_what_iree_can_not_compile_is_named(
    folder: Path, infer: Infer
) -> None:
    pool: list[Node] = [("LpPool", "x", "y", {"kernel_shape": [2, 2], "p": 3})]
    nodes: list[Node] = [("GlobalAveragePool", "x", "g", {}), ("Flatten", "g", "f", {})]
    old = Small([*nodes, ("Softmax", "f", "y", {"axis": 1})], {}, ["N", 3, 5, 6], opset=9).model()
    onnx.save(old, folder / "old.onnx")
    onnx.save(Small(pool, {}, ["N", 3, 5, 6]).model(), folder / "pool.onnx")
    made, refused = converted(
        IREE,
        folder,
        ("onnx>mlir", "old.onnx", "old.mlir", {}),
        ("onnx>mlir", "pool.onnx", "pool.mlir", {}),
    )
    assert made["probe_max_abs_diff"] < 1e-6
    event, answers = infer(IREE, "iree", "old.onnx", "onnx")
    assert event["ran"]["opset"] == {"model": 9, "compiled": 17}
    _, kept = infer(IREE, "iree", "old.mlir", "mlir")
    assert kept.tobytes() == answers.tobytes()
    assert refused["kind"] == "unsupported"
    assert "can't compile the operator LpPool" in refused["message"]
    assert not list(folder.glob("pool.mlir*"))


def test_a_function_of_jax_is_compiled_by_iree(folder: Path, infer: Infer) -> None:
    # JAX reads its settings once, when it is imported: a process each, as the harness has it.
    (first,) = converted(JAX, folder, ("onnx>jax", "net.onnx", "net.jax", {}))
    (second,) = converted(JAX, folder, ("jax>mlir", "net.jax", "jax.mlir", {}))
    (late,) = converted(JAX, folder, ("jax>mlir", "net.jax", "no.mlir", {"batch": 2}))
    assert max(one["probe_max_abs_diff"] for one in (first, second)) < 1e-5
    assert (late["kind"], "[2, 3, 5, 6] was asked for" in late["message"]) == ("unsupported", True)
    event, answers = infer(IREE, "iree", "jax.mlir", "mlir")
    np.testing.assert_allclose(answers, reference(folder), atol=1e-5)
    assert event["outputs"][0]["shape"] == [1, 4]
