"""Matrix products, reductions over axes, and what is computed along one axis."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import numpy as np

from runner.support.keras_layers_elementwise import combine
from runner.support.keras_layers_window import global_average
from runner.support.keras_layout import Axes, plain, positive_axes, relabelled, without
from runner.support.keras_step import Operator, Step
from runner.support.keras_values import Flow, Folded, Value, permuted

_LAST_AXIS_OPSET = 13
"""Since then Softmax is about one axis; before, about all from `axis` on."""


def _dense(step: Step, flow: Flow, kernel: np.ndarray, bias: Optional[np.ndarray]) -> Flow:
    """A Dense layer along ONNX's last axis, which must be the tensor's last as well."""
    if flow.axes[-1] != flow.rank - 1:
        flow = step.tensors.to_layout(flow, plain(flow.rank))
    layer = step.layer(
        "Dense", kernel.shape[1], use_bias=bias is not None, kernel_initializer="zeros"
    )
    return step.result(step.weighted(layer, flow.tensor, [kernel, bias]), flow.axes, flow)


def _gemm(step: Step) -> List[Value]:
    alpha = np.float32(step.attributes.get("alpha", 1.0))
    beta = np.float32(step.attributes.get("beta", 1.0))
    flow = step.flow(rank=2)
    if step.attributes.get("transA", 0):
        flow = _swapped(flow)
    kernel = step.weights(1)
    kernel = kernel.T if step.attributes.get("transB", 0) else kernel
    kernel = kernel if alpha == 1 else kernel * alpha
    if not step.has(2):
        return [_dense(step, flow, kernel, None)]
    added = step.value(2)
    if isinstance(added, Folded):
        bias = step.weights(2) if beta == 1 else step.weights(2) * beta
        if bias.size in (1, kernel.shape[1]) and bias.ndim <= 1 + (bias.shape[:1] == (1,)):
            vector = np.broadcast_to(bias.reshape(-1), kernel.shape[1:])
            return [_dense(step, flow, kernel, vector)]
        return [combine(step, "add", _dense(step, flow, kernel, None), Folded((bias,)))]
    if beta != 1:
        raise step.refuse(f"beta is {beta} for a matrix that is computed")
    return [combine(step, "add", _dense(step, flow, kernel, None), added)]


def _swapped(flow: Flow) -> Flow:
    return Flow(flow.tensor, relabelled(flow.axes, (1, 0)), permuted(flow.shapes, (1, 0)))


def _matmul(step: Step) -> List[Value]:
    first, second = step.value(0), step.value(1)
    if isinstance(first, Flow) and isinstance(second, Folded) and second.worlds[0].ndim == 2:
        return [_dense(step, first, step.weights(1), None)]
    shapes = []
    for a, b in zip(first.shapes, second.shapes):
        if len(a) < 2 or len(b) < 2:
            raise step.refuse(f"a product of shapes {list(a)} and {list(b)}")
        shapes.append((*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]))
    operands = [_in_order(step, index) for index in range(2)]
    tensor = step.op("matmul")(*operands)
    return [Flow(tensor, plain(len(shapes[0])), tuple(shapes))]


def _in_order(step: Step, index: int) -> Any:
    value = step.value(index)
    if isinstance(value, Folded):
        return step.weights(index)
    return step.tensors.to_layout(value, plain(value.rank)).tensor


def _linear(step: Step) -> List[Value]:
    return [_dense(step, step.flow(), step.weights(1), step.weights(2))]


def _softmax(kind: str) -> Operator:
    def apply(step: Step) -> List[Value]:
        flow = step.flow()
        newer = step.opset >= _LAST_AXIS_OPSET
        axis = positive_axes([step.attributes.get("axis", -1 if newer else 1)], flow.rank)[0]
        solid = [a for a in range(axis, flow.rank) if any(s[a] != 1 for s in flow.shapes)]
        if newer or solid in ([], [axis]):
            return [_along(step, kind, flow, axis)]
        if len(solid) == 1:
            return [_along(step, kind, flow, solid[0])]
        flat = step.tensors.reshaped(
            flow, tuple((*s[:axis], int(np.prod(s[axis:], dtype=np.int64))) for s in flow.shapes)
        )
        return [step.tensors.reshaped(_along(step, kind, flat, axis), flow.shapes)]

    return apply


def _along(step: Step, kind: str, flow: Flow, axis: int) -> Flow:
    place = flow.axes.index(axis)
    place = -1 if place == flow.rank - 1 else place
    if kind == "softmax":
        return step.alike(step.layer("Softmax", axis=place)(flow.tensor), flow, nonnegative=True)
    return step.alike(step.op(kind)(flow.tensor, axis=place), flow)


def _reduce(name: str, before: str = "", after: str = "") -> Operator:
    """A reduction, with elementwise operations before and after it."""

    def apply(step: Step) -> List[Value]:
        flow = step.flow()
        axes = _reduced_axes(step, flow)
        if axes is None:
            tensor = flow.tensor
            for each in filter(None, (before, after)):
                tensor = step.op(each)(tensor)
            kept = flow.nonnegative or bool(before)
            return [step.alike(tensor, flow, nonnegative=kept)]
        keepdims = bool(step.attributes.get("keepdims", 1))
        tensor = None
        if name == "mean" and axes == (2, 3) and flow.rank == 4:
            tensor = global_average(step, flow, keepdims=keepdims)
        if tensor is None:
            tensor = step.op(before)(flow.tensor) if before else flow.tensor
            places = tuple(sorted(flow.axes.index(axis) for axis in axes))
            tensor = step.op(name)(tensor, axis=places, keepdims=keepdims)
            tensor = step.op(after)(tensor) if after else tensor
        layout = flow.axes if keepdims else without(flow.axes, axes)
        return [step.result(tensor, layout, flow, nonnegative=flow.nonnegative and not after)]

    return apply


def _reduced_axes(step: Step, flow: Flow) -> Optional[Axes]:
    """The axes to reduce over; None if none are, and only what is done elementwise is left."""
    asked = step.integers("axes", 1)
    if not asked:
        if step.attributes.get("noop_with_empty_axes", 0):
            return None
        asked = list(range(flow.rank))
    axes = positive_axes(asked, flow.rank)
    if any(flow.shape[axis] is None or flow.axes.index(axis) == 0 for axis in axes):
        raise step.refuse("it reduces over the batch")
    return axes


OPERATORS: Dict[str, Operator] = {
    "Gemm": _gemm,
    "Linear": _linear,
    "LogSoftmax": _softmax("log_softmax"),
    "MatMul": _matmul,
    "ReduceL1": _reduce("sum", before="abs"),
    "ReduceL2": _reduce("sum", before="square", after="sqrt"),
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("mean"),
    "ReduceMin": _reduce("min"),
    "ReduceProd": _reduce("prod"),
    "ReduceSum": _reduce("sum"),
    "ReduceSumSquare": _reduce("sum", before="square"),
    "Softmax": _softmax("softmax"),
}
"""The functions by the operators that they convert."""
