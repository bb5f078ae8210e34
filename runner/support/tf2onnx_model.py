"""What tf2onnx made, looked at: names that a person chose, operators that exist, one file that runs.

tf2onnx goes on where it can't convert an operator: it logs that, and writes TensorFlow's operator
into the file. An exit without an exception proves little.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np
import onnx

from runner.errors import RunnerError, classify
from runner.support import conversion, onnx_model, tf2onnx_request

QUANTISATION = "quantisation"
"""The property of a model's metadata that says what its integers mean."""

_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_REFERENCE_QUANTISES_FROM = 19
_MOST_WORDS = 3


@dataclass(frozen=True)
class Looked:
    """What is known of a model's source when the ONNX model is looked at.

    Attributes:
        name: the converter's, for messages.
        said: what tf2onnx complained of.
        names: of the one input and of the outputs, as the source has them.
        fed: a seeded input as the source takes it.
        expected: what the source answers to it.
        batch: of `fed`.
        scales: for those of `names` that are quantised, scale and zero point.
    """

    name: str
    said: Sequence[str]
    names: Sequence[str]
    fed: np.ndarray
    expected: Sequence[np.ndarray]
    batch: int
    scales: Mapping[str, Tuple[float, int]] = field(default_factory=dict)


class _Complaints(logging.Handler):
    """Keeps the first line of what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.words: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage().strip().partition("\n")[0]
        if said and said not in self.words:
            self.words.append(said[:400])


@contextlib.contextmanager
def complaints() -> Iterator[List[str]]:
    """The errors that tf2onnx logs inside the block, in its own words."""
    handler = _Complaints()
    logger = logging.getLogger("tf2onnx")
    logger.addHandler(handler)
    try:
        yield handler.words
    finally:
        logger.removeHandler(handler)


@contextlib.contextmanager
def memory_given_back() -> Iterator[None]:
    """Collect what each pass of tf2onnx's optimiser leaves behind, inside the block.

    It copies the whole graph for each, in cycles that hold the weights. They are few objects, so
    that Python seldom looks for them: InceptionV3 grew to 5 GB without this, and to 2.6 GB with it.
    """
    passes = import_module("tf2onnx.optimizer.optimizer_base").GraphOptimizerBase
    optimise = passes.optimize

    def lean(self: Any, graph: Any, iteration: int) -> Any:
        done = optimise(self, graph, iteration)
        gc.collect()
        return done

    # What is there already is no garbage: it need not be looked at again and again.
    gc.freeze()
    passes.optimize = lean
    try:
        yield
    finally:
        passes.optimize = optimise
        gc.unfreeze()


def failure(name: str, tool: str, error: BaseException, said: Sequence[str]) -> RunnerError:
    """A conversion that failed, in the tool's own words."""
    failed = classify(error, "conversion")
    message = f"{name}: {tool} can't convert the model: {failed.message}{_quoted(said)}"
    return RunnerError(failed.kind, message, failed.detail)


def write(
    model: Any, path: str, looked: Looked, input_axes: Optional[Sequence[int]]
) -> Optional[float]:
    """Check a model, give it the source's names, write it to `path`, read it back and run it.

    Returns:
        The largest difference to the source; None where ONNX's reference evaluator can't run it.

    Raises:
        RunnerError: `unsupported` for operators that ONNX has not got; `conversion` if the model
            is not valid, has lost an input or output, or answers what is of another rank or not
            finite.
    """
    require_valid(model, looked.name, looked.said)
    ends = [value.name for value in (*onnx_model.inputs(model), *model.graph.output)]
    if len(ends) != len(looked.names):
        raise RunnerError(
            "conversion",
            f"{looked.name}: the source has one input and {len(looked.names) - 1} outputs, and the "
            f"ONNX model {', '.join(ends)}{_quoted(looked.said)}",
        )
    names = distinct([plain(name) for name in looked.names])
    rename(model, dict(zip(ends, names)))
    note_scales(model, dict(zip(names, map(looked.scales.get, looked.names))))
    name_open_batch(model, looked.expected, looked.batch)
    onnx.save(model, path)
    fed = looked.fed if input_axes is None else looked.fed.transpose(input_axes)
    got = answers(onnx.load(path), np.ascontiguousarray(fed))
    if got is None:
        return None
    conversion.check_finite(got)
    conversion.require_alike(looked.expected, got, sizes=False)
    return conversion.largest_difference(looked.expected, got)


def require_valid(model: Any, name: str, said: Sequence[str]) -> None:
    """Refuse a model with operators that ONNX has not got, or that breaks ONNX's rules.

    Raises:
        RunnerError: kind `unsupported`, naming the operators; `conversion`, for another fault.
    """
    unknown = sorted(_unknown(model.graph, onnx_model.opset(model)))
    if unknown:
        opset, newest = onnx_model.opset(model), tf2onnx_request.OPSETS[-1]
        newer = f"ask for opset {newest}, or " if opset < newest else ""
        raise RunnerError(
            "unsupported",
            f"{name}: tf2onnx found nothing in opset {opset} of ONNX for {', '.join(unknown)}: "
            f"{newer}make the model without it, or run it by another stack{_quoted(said)}",
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        failed = classify(error, "conversion")
        raise RunnerError(
            failed.kind,
            f"{name}: tf2onnx wrote a model that breaks ONNX's rules: {failed.message}"
            f"{_quoted(said)}",
            failed.detail,
        ) from error


def rename(model: Any, wanted: Mapping[str, str]) -> None:
    """Give tensors of the main graph other names, in place; who has such a name already gives way.

    Args:
        model: to change.
        wanted: new names by old ones; the new ones are distinct.
    """
    names = {old: new for old, new in wanted.items() if old != new}
    used = _names(model.graph)
    for taken in sorted((set(names.values()) & used) - set(names)):
        number = 1
        while f"{taken}__{number}" in used | set(names.values()):
            number += 1
        names[taken] = f"{taken}__{number}"
    _rename(model.graph, names)


def note_scales(model: Any, scales: Mapping[str, Optional[Tuple[float, int]]]) -> None:
    """Say in the model's metadata what the integers of its input and outputs mean.

    ONNX has a place for that which no engine reads; the metadata every engine gives back. The
    property `quantisation` is JSON: by name of a tensor its `scale` and `zero_point`.
    """
    told = {name: dict(zip(("scale", "zero_point"), both)) for name, both in scales.items() if both}
    if told:
        model.metadata_props.add(key=QUANTISATION, value=json.dumps(told, sort_keys=True))


def name_open_batch(model: Any, outputs: Sequence[np.ndarray], batch: int) -> None:
    """Name the open first dimension of the input `N`, and that of outputs which have a row each.

    tf2onnx numbers each open dimension by itself (`unk__28`), as if they had nothing to do with
    each other.
    """
    values = [*onnx_model.inputs(model)]
    for value, output in zip(model.graph.output, outputs):
        if output.ndim and len(output) == batch:
            values.append(value)
    for value in values:
        dims = value.type.tensor_type.shape.dim
        if len(dims) and dims[0].dim_param:
            dims[0].dim_param = "N"


def answers(model: Any, fed: np.ndarray) -> Optional[List[np.ndarray]]:
    """What ONNX's reference evaluator gives; None where it can't run the model.

    It knows the integers of quantisation from opset 19 only, which says the same of them.
    """
    operators = {node.op_type for node in model.graph.node}
    if operators & set(_QUANTISED) and onnx_model.opset(model) < _REFERENCE_QUANTISES_FROM:
        try:
            model = onnx.version_converter.convert_version(model, _REFERENCE_QUANTISES_FROM)
        except Exception as error:
            print(f"runner: ONNX can't raise the model's opset: {error!r}", flush=True)
            return None
    return conversion.reference_outputs(model, fed)


def plain(name: str) -> str:
    """TensorFlow's name of a tensor without what TensorFlow puts around it."""
    kept = name.partition(":")[0]
    served = kept[len("serving_default_") :] if kept.startswith("serving_default_") else kept
    return served or name


def distinct(names: Sequence[str]) -> List[str]:
    """The names, each that was there before with a number."""
    given: List[str] = []
    for name in names:
        number, new = 0, name
        while new in given or (number and new in names):
            number += 1
            new = f"{name}_{number}"
        given.append(new)
    return given


def _quoted(said: Sequence[str]) -> str:
    return f". tf2onnx said: {'; '.join(said[:_MOST_WORDS])}" if said else ""


def _unknown(graph: Any, opset: int) -> Set[str]:
    found: Set[str] = set()
    for node in graph.node:
        if node.domain in onnx_model.STANDARD and not _is_known(node.op_type, opset):
            found.add(node.op_type)
        for inner in _subgraphs(node):
            found |= _unknown(inner, opset)
    return found


def _is_known(operator: str, opset: int) -> bool:
    try:
        return not onnx.defs.get_schema(operator, opset, "").deprecated
    except onnx.defs.SchemaError:
        return False


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _names(graph: Any) -> Set[str]:
    found = {tensor.name for tensor in (*graph.initializer, *graph.input, *graph.output)}
    for node in graph.node:
        found.update((*node.input, *node.output))
        for inner in _subgraphs(node):
            found |= _names(inner)
    return found


def _rename(graph: Any, names: Dict[str, str]) -> None:
    for value in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for tensors in (node.input, node.output):
            for place, tensor in enumerate(tensors):
                tensors[place] = names.get(tensor, tensor)
        for inner in _subgraphs(node):
            _rename(inner, names)
