"""Names and order of the outputs that OpenVINO read from TensorFlow's files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.support import openvino_outputs


def port(own: str, *names: str) -> Any:
    return SimpleNamespace(names=set(names), node=SimpleNamespace(friendly_name=own))


def message(*fields: tuple[int, bytes]) -> bytes:
    """Fields with a length, of a message of Protocol Buffers."""
    return b"".join(bytes([tag]) + varint(len(value)) + value for tag, value in fields)


def varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


@pytest.fixture
def graph(tmp_path: Path) -> str:
    """A frozen graph of four operations, between fields of every kind."""
    weights = (0x2A, b"\x0a\x03not" * 100)
    nodes = [
        message((0x0A, name.encode()), (0x12, b"Const"), weights)
        for name in ("x", "zeta", "alpha", "mid")
    ]
    other = b"\x18\x96\x01" + b"\x25abcd" + b"\x29abcdefgh" + message((0x12, b"\x0a\x07library"))
    path = tmp_path / "graph.pb"
    path.write_bytes(message((0x0A, nodes[0])) + other + message(*((0x0A, n) for n in nodes[1:])))
    return str(path)


class Model:
    """As much of OpenVINO's model as has an order."""

    def __init__(self, *names: str) -> None:
        self.results = [SimpleNamespace(friendly_name=name) for name in names]

    def get_results(self) -> list[Any]:
        return list(self.results)

    def remove_result(self, result: Any) -> None:
        self.results.remove(result)

    def add_results(self, results: list[Any]) -> None:
        self.results += results

    def names(self) -> list[str]:
        return [result.friendly_name for result in self.results]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (port("output_8", "output_6", "output_8"), "output_8"),
        (port("output_0:0", "mul:0", "output_0:0"), "output_0:0"),
        (port("input", "input:0", "aside:0"), "input:0"),
        (port("Result_7", "mul:0", "output_0:0"), "output_0:0"),
        (port("y/sink_port_0", "y", "z"), "y"),
        (port("Result_7"), "output_3"),
    ],
)
def test_an_output_is_called_as_the_operation_at_its_end(given: Any, name: str) -> None:
    assert openvino_outputs.name(given, "output_3") == name


@pytest.mark.parametrize("after", ["", ":0"])
def test_outputs_of_tensorflow_are_ordered_by_number(graph: str, after: str) -> None:
    numbered = [f"output_{number}{after}" for number in range(12)]
    for source_format in ("savedmodel", "graphdef"):
        model = Model(*sorted(numbered))
        openvino_outputs.put_in_order(model, source_format, graph)
        assert model.names() == numbered
    model = Model(*sorted(numbered))
    openvino_outputs.put_in_order(model, "onnx", graph)
    assert model.names() == sorted(numbered)


def test_outputs_of_a_signature_are_ordered_by_name_and_number(graph: str) -> None:
    model = Model("Beta_10", "Beta_2", "zeta", "alpha")
    openvino_outputs.put_in_order(model, "savedmodel", graph)
    assert model.names() == ["Beta_2", "Beta_10", "alpha", "zeta"]


def test_outputs_of_a_graph_without_numbers_keep_the_order_of_the_file(graph: str) -> None:
    assert openvino_outputs.operations(graph) == ["x", "zeta", "alpha", "mid"]
    model = Model("alpha:0", "mid:1", "mid:0", "other", "zeta:0")
    openvino_outputs.put_in_order(model, "graphdef", graph)
    assert model.names() == ["zeta:0", "alpha:0", "mid:0", "mid:1", "other"]
