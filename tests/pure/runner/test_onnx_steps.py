"""What steps from ONNX to ONNX refuse and drop, without a framework that runs anything."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from runner.errors import RunnerError
from runner.support import onnx_steps


def model(*domains: str, imported: tuple[str, ...] = ()) -> onnx.ModelProto:
    """A chain of operators, one of each domain; further domains are imported and not used."""
    nodes = [
        helper.make_node("Neg", [f"t{i}"], [f"t{i + 1}"], domain=domain)
        for i, domain in enumerate(domains)
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info(f"t{len(domains)}", TensorProto.FLOAT, [1])],
    )
    versions = dict.fromkeys(("", *domains, *imported), 1)
    versions[""] = 17
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid(d, v) for d, v in versions.items()]
    )


def test_domains_that_nothing_uses_are_dropped() -> None:
    made = model("", "com.mine", imported=("com.microsoft", "ai.onnx.ml"))
    onnx_steps.make_portable(made, model("com.mine"), "step")
    assert {o.domain: o.version for o in made.opset_import} == {"": 17, "com.mine": 1}


def test_an_operator_of_a_vendor_that_the_source_did_not_have_is_refused() -> None:
    with pytest.raises(RunnerError, match=r"operators of com\.microsoft \(Neg\)") as refused:
        onnx_steps.make_portable(model("", "com.microsoft"), model(""), "step")
    assert refused.value.kind == "conversion"


def test_nodes_inside_of_nodes_count() -> None:
    inner = model("", "")
    branch = helper.make_graph(inner.graph.node, "branch", [], inner.graph.output)
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    outer = helper.make_model(helper.make_graph([node], "outer", [], []))
    assert onnx_steps.count(outer, "Neg") == 4
    assert onnx_steps.count(outer, "If", "Neg") == 5
    assert onnx_steps.kinds_of(outer) == {"If": 1, "Neg": 4}


def test_what_is_no_valid_onnx_is_not_kept(tmp_path: pytest.TempPathFactory) -> None:
    broken = model("")
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(RunnerError, match=r"no valid ONNX.*NoSuchOperator") as refused:
        onnx_steps.save(broken, f"{tmp_path}/m.onnx", "step")
    assert refused.value.kind == "conversion"


@pytest.mark.parametrize(
    ("names", "told"), [([], "none"), (["x", "a", "b", "c", "d"], "x, a, b, c, …")]
)
def test_what_asks_for_more_than_its_source_or_for_nothing_does_not_run(
    monkeypatch: pytest.MonkeyPatch, names: list[str], told: str
) -> None:
    session = SimpleNamespace(get_inputs=lambda: [SimpleNamespace(name=name) for name in names])
    monkeypatch.setattr(onnx_steps, "import_onnxruntime", SimpleNamespace)
    monkeypatch.setattr(onnx_steps, "_options", lambda *_: None)
    monkeypatch.setattr(onnx_steps, "open_session", lambda *_: session)
    with pytest.raises(RunnerError) as refused:
        onnx_steps.run("m.onnx", np.zeros(1), 1)
    assert f"{len(names)} inputs are to be fed ({told})" in refused.value.message
