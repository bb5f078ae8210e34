"""The optimisers of ONNX files in their shipped environments, on a small network, pass by pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support.environment_python import run_inside

ENVIRONMENTS = {"onnxoptimizer": "onnxoptimizer-0.4", "onnxsim": "onnxsim-0.8"}
ROWS = np.random.Generator(np.random.PCG64(5)).standard_normal((4, 3, 8, 8)).astype(np.float32)

PROBE = """
import json
from runner import converters

names = ("onnx>onnx:onnxoptimizer", "onnx>onnx:onnxsim")
print(json.dumps({name: converters.probe(name) for name in names}))
"""


def network() -> onnx.ModelProto:
    """A normalised convolution, a factor of two constants, and what does nothing: [N, 6]."""
    generator = np.random.Generator(np.random.PCG64(3))

    def drawn(*shape: int) -> np.ndarray:
        values: np.ndarray = generator.standard_normal(shape).astype(np.float32)
        return values

    constants = {name: drawn(6) for name in ("scale", "shift", "mean")}
    constants |= {"w": drawn(6, 3, 3, 3), "var": np.abs(drawn(6)) + 1}
    constants |= {"half": np.asarray(0.5, np.float32), "three": np.asarray(3, np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["half", "three"], ["factor"]),
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"]),
            helper.make_node("Mul", ["b", "factor"], ["f"]),
            helper.make_node("Identity", ["f"], ["i"]),
            helper.make_node("GlobalAveragePool", ["i"], ["g"]),
            helper.make_node("Flatten", ["g"], ["y"]),
        ],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "optimised": ("onnxoptimizer", {}),
    "no_identity": ("onnxoptimizer", {"passes": ["eliminate_identity"]}),
    "all_but_norms": ("onnxoptimizer", {"disabled_passes": ["fuse_bn_into_conv"]}),
    "nothing_found": ("onnxoptimizer", {"passes": ["fuse_qkv"]}),
    "no_pass": ("onnxoptimizer", {"passes": []}),
    "renamed": ("onnxoptimizer", {"passes": ["rename_input_output"]}),
    "unresolved": ("onnxoptimizer", {"passes": ["lift_lexical_references"]}),
    "cut_off": ("onnxoptimizer", {"passes": ["split_init"]}),
    "misspelt": ("onnxoptimizer", {"passes": ["fuse_bn_in_conv"]}),
    "both": ("onnxoptimizer", {"passes": [], "disabled_passes": []}),
    "simplified": ("onnxsim", {}),
    "not_folded": ("onnxsim", {"disabled_passes": ["constant_folding"]}),
    "only_norms": ("onnxsim", {"passes": ["fuse_bn_into_conv"]}),
    "left_alone": ("onnxsim", {"passes": []}),
    "nothing_at_all": ("onnxsim", {"passes": ["nop"]}),
    "misspelt_too": ("onnxsim", {"disabled_passes": ["constant_foldin"]}),
}
CHANGED = {
    "optimised": True,
    "no_identity": True,
    "all_but_norms": True,
    "nothing_found": False,
    "no_pass": False,
    "renamed": False,
    "simplified": True,
    "not_folded": True,
    "only_norms": True,
    "left_alone": False,
    "nothing_at_all": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx_optimisers")


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Any]:
    """How each job ended; what they made lies in the folder."""
    onnx.save(network(), folder / "network.onnx")
    found: dict[str, Any] = {}
    for tool, environment in ENVIRONMENTS.items():
        names = [name for name, (by, _) in JOBS.items() if by == tool]
        documents = [
            {
                "schema_version": 1,
                "kind": "convert",
                "work": str(folder / "work"),
                "converter": f"onnx>onnx:{tool}",
                "source": {"path": str(folder / "network.onnx"), "format": "onnx"},
                "target": str(folder / f"{name}.onnx"),
                "options": JOBS[name][1],
            }
            for name in names
        ]
        (folder / "jobs.json").write_text(json.dumps(documents))
        program = Path(__file__).with_name("convert_documents.py")
        said = json.loads(run_inside(environment, program, folder / "jobs.json"))
        found |= dict(zip(names, said, strict=True))
    return found


def outputs(path: Path) -> np.ndarray:
    evaluator = ReferenceEvaluator(onnx.load(path))
    found: np.ndarray = evaluator.run(None, {evaluator.input_names[0]: ROWS})[0]
    return found


@pytest.mark.parametrize("name", CHANGED)
def test_what_was_made_answers_alike_and_says_whether_it_is_another(
    ended: dict[str, Any], folder: Path, name: str
) -> None:
    assert ended[name]["event"] == "converted", ended[name]
    assert ended[name]["graph"]["changed"] is CHANGED[name]
    assert ended[name]["probe_max_abs_diff"] < 1e-4
    np.testing.assert_allclose(
        outputs(folder / f"{name}.onnx"), outputs(folder / "network.onnx"), atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "norms", "identities", "products"),
    [
        ("optimised", 0, 0, None),
        ("no_identity", 1, 0, 2),
        ("all_but_norms", 1, 0, None),
        ("no_pass", 1, 1, 2),
        ("only_norms", 0, 1, 2),
        ("not_folded", 0, 0, None),
        ("left_alone", 1, 1, 2),
    ],
)
def test_a_pass_does_its_own_work_and_no_other(
    ended: dict[str, Any], name: str, norms: int, identities: int, products: int | None
) -> None:
    left = ended[name]["graph"]["operators_after"]
    assert left.get("BatchNormalization", 0) == norms
    assert left.get("Identity", 0) == identities
    if products is not None:
        assert left.get("Mul", 0) == products
    assert ended[name]["graph"]["operators_before"]["Mul"] == 2


def test_the_passes_that_ran_are_told_in_their_order(ended: dict[str, Any]) -> None:
    assert ended["no_identity"]["graph"]["passes"] == ["eliminate_identity"]
    every, but_one = (ended[name]["graph"]["passes"] for name in ("optimised", "all_but_norms"))
    assert [name for name in every if name != "fuse_bn_into_conv"] == but_one
    assert ended["left_alone"]["graph"]["passes"] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("misspelt", "passes has no 'fuse_bn_in_conv'; did you mean fuse_bn_into_conv"),
        ("misspelt_too", "disabled_passes has no 'constant_foldin'; did you mean constant_folding"),
        ("both", "give one of the two"),
    ],
)
def test_what_a_tool_would_not_do_is_refused_and_leaves_no_file(
    ended: dict[str, Any], folder: Path, name: str, words: str
) -> None:
    assert ended[name]["kind"] == "unsupported"
    assert words in ended[name]["message"]
    assert not (folder / f"{name}.onnx").exists()
    assert not list(folder.glob("*.part*"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unresolved", "it fails by the passes lift_lexical_references: RuntimeError: Unresolved"),
        ("cut_off", "what was made is no valid ONNX"),
    ],
)
def test_a_pass_that_breaks_a_model_is_a_conversion_that_failed_and_the_next_goes_on(
    ended: dict[str, Any], folder: Path, name: str, words: str
) -> None:
    assert ended[name]["kind"] == "conversion"
    assert words in ended[name]["message"]
    assert not (folder / f"{name}.onnx").exists()
    assert list(ended) == list(JOBS)


def test_the_probe_lists_every_pass_and_those_that_run_unasked(tmp_path: Path) -> None:
    program = tmp_path / "probe.py"
    program.write_text(PROBE)
    for tool, environment in ENVIRONMENTS.items():
        found = json.loads(run_inside(environment, program))[f"onnx>onnx:{tool}"]
        assert found["ok"], found["detail"]
        assert set(found["passes"]["unasked"]) <= set(found["passes"]["all"])
        assert "fuse_bn_into_conv" in found["passes"]["unasked"]
