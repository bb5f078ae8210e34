"""DeltaNN's twelve conversions (arXiv 2306.06208), and what is known of its findings."""

from __future__ import annotations

from collections.abc import Sequence

FRAMEWORKS = ("Keras", "PyTorch", "TensorFlow", "TFLite")
"""The four frameworks between which DeltaNN converts, in its order."""

_FRAMEWORK_OF = {
    "keras": "Keras",
    "torch": "PyTorch",
    "pt2": "PyTorch",
    "savedmodel": "TensorFlow",
    "graphdef": "TensorFlow",
    "tflite": "TFLite",
}
# Backends by which a framework runs its own models; what ends in a point stands for several.
_OWN_BACKENDS = {
    "Keras": ("keras.predict",),
    "PyTorch": ("torch.",),
    "TensorFlow": ("tensorflow.",),
    "TFLite": ("tflite",),
}
# Arrays without a network: which framework's form is the source is for the route to say.
_ARRAYS = frozenset({"weights", "keras_weights"})
# What a compiler makes of a model to run it, as the paper's TVM did with every model.
_COMPILED = frozenset({"relax", "mlir"})

_FINDING = (
    "DeltaNN reports label differences of up to 57 %, later 72 %, across frameworks and of up to "
    "100 % across conversions; no number is known here for any one pair."
)
_BY_ACCIDENT = (
    "Its conversions to TFLite were quantised by accident (Optimize.DEFAULT), so it compared "
    "another precision."
)
_BY_PATH = (
    "It decided by the file's path whether a model has 1000 or 1001 classes, so that even equal "
    "outputs of TensorFlow and its TFLite conversion counted as different."
)


def paper_pair(nodes: Sequence[str]) -> tuple[str, str, int] | None:
    """The paper's pair that a chain of conversions is.

    A file of a framework's own is where its chain begins. Of weights, which every framework takes,
    the chain makes its source first: `weights>keras>savedmodel>onnx>torch` is TensorFlow's model,
    made by way of Keras, in PyTorch.

    Args:
        nodes: the formats of a route in order, each with its tool (`onnx:tf2onnx`).

    Returns:
        The frameworks it leads from and to, and the place of the first in the route; None where
        the chain stays in one framework, or ends in a format that is none of the four's.
    """
    formats = [node.partition(":")[0] for node in nodes]
    while formats and formats[-1] in _COMPILED:
        formats.pop()
    places = [place for place, name in enumerate(formats) if name in _FRAMEWORK_OF]
    if not places or places[-1] != len(formats) - 1:
        return None
    end = _FRAMEWORK_OF[formats[-1]]
    begin = places[0]
    if formats[0] in _ARRAYS:
        others = [place for place in places if _FRAMEWORK_OF[formats[place]] != end]
        begin = others[-1] if others else begin
    start = _FRAMEWORK_OF[formats[begin]]
    return None if start == end else (start, end, begin)


def runs_itself(framework: str, backend: object) -> bool:
    """Whether a backend is one of the framework's own, not another reader of its files."""
    called = str(backend)
    return any(
        called.startswith(own) if own.endswith(".") else called == own
        for own in _OWN_BACKENDS[framework]
    )


def paper_findings(start: str, end: str) -> tuple[str, ...]:
    """What DeltaNN found for a pair, as far as that is known: a sentence each."""
    said = [_FINDING]
    if end == "TFLite":
        said.append(_BY_ACCIDENT)
        if start == "TensorFlow":
            said.append(_BY_PATH)
    return tuple(said)
