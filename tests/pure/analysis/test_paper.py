"""Which of DeltaNN's twelve conversions a route is."""

from __future__ import annotations

import pytest

from harness.analysis.paper import FRAMEWORKS, paper_findings, paper_pair, runs_itself


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("weights>keras>onnx:tf2onnx>torch", ("Keras", "PyTorch", 1)),
        # Of weights, the last form before is what the source was made as.
        ("weights>keras>savedmodel>onnx>torch", ("TensorFlow", "PyTorch", 2)),
        ("weights>keras>savedmodel>onnx>keras", ("TensorFlow", "Keras", 2)),
        ("weights>keras>tflite>onnx>savedmodel", ("TFLite", "TensorFlow", 2)),
        ("weights>keras>savedmodel>tflite", ("TensorFlow", "TFLite", 2)),
        ("keras_weights>keras>savedmodel>graphdef", ("Keras", "TensorFlow", 1)),
        ("keras>savedmodel>onnx>keras", None),
        ("torch>onnx:dynamo>savedmodel:onnx2tf>tflite", ("PyTorch", "TFLite", 0)),
        ("keras>savedmodel>tflite", ("Keras", "TFLite", 0)),
        ("graphdef>onnx>torch", ("TensorFlow", "PyTorch", 0)),
        ("pt2>tflite", ("PyTorch", "TFLite", 0)),
        # What a compiler reads is how the model runs, as TVM did in the paper.
        ("keras>onnx>torch>relax", ("Keras", "PyTorch", 0)),
        ("keras>tflite>onnx", None),
        ("weights>keras>onnx", None),
        ("weights>keras", None),
        ("savedmodel>graphdef", None),
        ("onnx", None),
    ],
)
def test_a_chain_leads_from_where_it_begins_to_where_it_ends(
    route: str, expected: tuple[str, str, int] | None
) -> None:
    assert paper_pair(route.split(">")) == expected


def test_only_what_is_known_is_said_of_a_pair() -> None:
    (common,) = paper_findings("Keras", "PyTorch")
    assert "100 %" in common
    assert "no number is known here for any one pair" in common
    assert "Optimize.DEFAULT" in paper_findings("PyTorch", "TFLite")[1]
    assert len(paper_findings("TensorFlow", "TFLite")) == 3


def test_a_framework_runs_itself_by_its_own_backends() -> None:
    ran = {
        backend: [framework for framework in FRAMEWORKS if runs_itself(framework, backend)]
        for backend in ("keras.predict", "torch.compile", "tensorflow.xla", "tflite", "openvino")
    }
    assert list(ran.values()) == [["Keras"], ["PyTorch"], ["TensorFlow"], ["TFLite"], []]
