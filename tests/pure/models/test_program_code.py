"""What an exported program may say, and what would run when it is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from harness.models.program_code import foreign_code

SIZE = "Symbol('s31', positive=True, integer=True)"
SPEC = '[1, {"type": "builtins.tuple", "context": "null", "children_spec": []}]'


def _program(**parts: Any) -> dict[str, Any]:
    node = {
        "target": parts.get("target", "torch.ops.aten.relu.default"),
        "inputs": [{"arg": {"as_operator": parts.get("as_operator", "_operator.add")}}],
    }
    return {
        "graph_module": {
            "graph": {
                "nodes": [node],
                "sym_int_values": {"s": {"as_expr": {"expr_str": parts.get("size", SIZE)}}},
            },
            "module_call_graph": [{"signature": {"in_spec": parts.get("spec", SPEC)}}],
        },
        "guards_code": parts.get("guards", ["L['args'][0][0].size()[0] % 2 == 0"]),
    }


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"target": "torch.sym_size", "as_operator": "math.floor"},
        {"target": "torch.ops.higher_order.wrap_with_set_grad_enabled"},
        {"target": "call_me"},  # not looked up in any module
        {"size": "And(GreaterThan(Add(Symbol('u10', integer=True), Integer(-1)), Integer(0)))"},
        {"size": "Mul(Integer(2), FloorDiv(Symbol('s0', integer=True), Integer(3)))"},
        {"guards": ["2 <= L['x'].size()[2] and L['x'].size()[2] <= 64", "not math.isnan(L['y'])"]},
        {"spec": '[1, {"type": "collections.OrderedDict", "children_spec": [{"type": null}]}]'},
    ],
)
def test_what_exporters_write_is_let_through(parts: dict[str, Any]) -> None:
    assert list(foreign_code(_program(**parts))) == []


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"target": "torch.os.system"}, "the operator 'torch.os.system'"),
        ({"target": "torch.hub.load"}, "the operator 'torch.hub.load'"),
        ({"as_operator": "torch.serialization.os.remove"}, "the operator"),
        ({"target": "#extension.thing"}, "the operator '#extension.thing'"),
        ({"size": "__import__('os').system('x')"}, "the size"),
        ({"size": "Symbol('s0').__class__"}, "the size"),
        ({"size": "Symbol('__import__(1)')"}, "the size"),
        ({"size": "sympify('x')"}, "the size"),
        ({"size": "[Symbol('a')][0]"}, "the size"),
        ({"size": "(lambda: 1)()"}, "the size"),
        ({"size": "Symbol(" * 3000}, "the size"),
        ({"size": "1 +" * 60_000 + "1"}, "the size"),
        ({"guards": ["L.__class__"]}, "the guard 'L.__class__'"),
        ({"guards": ["(x := 1)"]}, "the guard"),
        ({"guards": ["torch.load('a')"]}, "the guard"),
        ({"guards": ["1\nimport os"]}, "the guard"),
        ({"guards": [7]}, "the guard '7'"),
        ({"spec": '[1, {"type": "collections.defaultdict"}]'}, "'collections.defaultdict'"),
        ({"spec": "not json"}, "the container 'not json'"),
    ],
)
def test_what_would_run_is_named(parts: dict[str, Any], named: str) -> None:
    found = list(foreign_code(_program(**parts)))
    assert len(found) == 1
    assert named in found[0]
    assert len(found[0]) < 90
