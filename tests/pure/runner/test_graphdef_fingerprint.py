"""The hash of TensorFlow's graphs: what it does not depend on, and what it does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from runner.support.graphdef_fingerprint import lines, operators


class Value:
    """An attribute: bytes, or the name of a function."""

    def __init__(self, content: bytes = b"", function: str | None = None) -> None:
        self.content, self.func = content, SimpleNamespace(name=function)

    def HasField(self, name: str) -> bool:  # noqa: N802 (the name is protobuf's)
        return name == "func" and self.func.name is not None

    def SerializeToString(self, *, deterministic: bool) -> bytes:  # noqa: N802
        assert deterministic
        return self.content


def node(op: str, name: str, *inputs: str, device: str = "", **attributes: Value) -> Any:
    return SimpleNamespace(op=op, name=name, input=inputs, device=device, attr=attributes)


def graph(*nodes: Any, functions: tuple[Any, ...] = ()) -> Any:
    return SimpleNamespace(node=nodes, library=SimpleNamespace(function=functions))


def function(name: str, *nodes: Any) -> Any:
    return SimpleNamespace(signature=SimpleNamespace(name=name), node_def=nodes)


def hashed(*graphs: Any) -> list[str]:
    return list(lines(graphs))


USUAL = (
    node("_Arg", "fed", index=Value(b"0")),
    node("Const", "weights", value=Value(b"one")),
    node("MatMul", "product", "fed", "weights"),
    node("_Retval", "out", "product"),
)


def test_names_and_order_of_nodes_do_not_matter() -> None:
    other = (
        node("_Retval", "out_7", "layer/MatMul"),
        node(
            "MatMul", "layer/MatMul", "x", "w", _class=Value(b"loc:@x"), _output_shapes=Value(b"")
        ),
        node("Const", "w", value=Value(b"one")),
        node("_Arg", "x", index=Value(b"0")),
    )
    assert hashed(graph(*USUAL)) == hashed(graph(*other))


def test_the_bytes_of_a_constant_an_attribute_and_a_place_matter() -> None:
    usual = hashed(graph(*USUAL))
    changed = node("Const", "weights", value=Value(b"two"))
    assert hashed(graph(USUAL[0], changed, *USUAL[2:])) != usual
    transposed = node("MatMul", "product", "fed", "weights", transpose_b=Value(b"1"))
    assert hashed(graph(*USUAL[:2], transposed, USUAL[3])) != usual
    elsewhere = node("MatMul", "product", "fed", "weights", device="/job:a/device:GPU:0")
    assert hashed(graph(*USUAL[:2], elsewhere, USUAL[3])) != usual


def test_which_output_and_which_place_among_the_inputs_matter() -> None:
    def fed(*inputs: str) -> list[str]:
        return hashed(graph(*USUAL[:2], node("MatMul", "product", *inputs), USUAL[3]))

    assert fed("fed", "weights") == fed("fed:0", "weights")
    assert fed("fed", "weights") != fed("weights", "fed")
    assert fed("fed", "weights") != fed("fed:1", "weights")


def test_one_node_used_twice_is_not_two_alike() -> None:
    once = graph(*USUAL[:3], node("AddV2", "sum", "product", "product"))
    twice = graph(
        *USUAL[:3],
        node("MatMul", "again", "fed", "weights"),
        node("AddV2", "sum", "product", "again"),
    )
    assert hashed(once) != hashed(twice)


def test_the_order_of_what_is_waited_for_does_not_matter() -> None:
    def waiting(*inputs: str) -> list[str]:
        return hashed(graph(*USUAL[:3], node("_Retval", "out", "product", *inputs)))

    assert waiting("^fed", "^weights") == waiting("^weights", "^fed")
    assert waiting("^fed", "^weights") != waiting("^fed")


def test_numbers_of_functions_do_not_matter_and_their_bodies_do() -> None:
    def calling(name: str, kind: str) -> Any:
        called = node("PartitionedCall", "call", "fed", f=Value(function=name))
        return graph(USUAL[0], called, functions=(function(name, node(kind, "y", "x")),))

    assert hashed(calling("__inference_f_12", "Relu")) == hashed(calling("__inference_f_7", "Relu"))
    assert hashed(calling("__inference_f_12", "Relu")) != hashed(calling("__inference_f_12", "Elu"))


def test_a_loop_ends_and_a_long_chain_does_not_overflow() -> None:
    loop = (node("Merge", "merge", "fed", "next"), node("NextIteration", "next", "merge"))
    assert len(hashed(graph(USUAL[0], *loop))) == 4
    chain = [node("Relu", f"n{i}", f"n{i - 1}") for i in range(1, 5000)]
    assert len(hashed(graph(node("_Arg", "n0"), *chain))) == 5001


def test_operators_are_counted_without_plumbing_and_with_functions() -> None:
    whole = graph(*USUAL, functions=(function("f", node("Relu", "y"), node("Const", "c")),))
    assert operators([whole]) == {"MatMul": 1, "Relu": 1}
