"""Operators that look at one element at a time: activations and arithmetic."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional

import numpy as np

from runner.support.keras_step import Operator, Step
from runner.support.keras_values import Flow, Folded, Value, broadcast

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)
_MERGES = {
    "add": "Add",
    "multiply": "Multiply",
    "subtract": "Subtract",
    "maximum": "Maximum",
    "minimum": "Minimum",
}
_KEEPS_SIGN = ("add", "multiply", "maximum", "minimum")
_NONNEGATIVE = ("sigmoid", "exp", "softplus", "sqrt", "square", "abs")


def _activation(name: str) -> Operator:
    """By `keras.activations`."""

    def activate(step: Step) -> List[Value]:
        flow = step.flow()
        tensor = step.layer("Activation", name)(flow.tensor)
        return [step.alike(tensor, flow, nonnegative=name in _NONNEGATIVE)]

    return activate


def _unary(name: str) -> Operator:
    """By `keras.ops`."""

    def apply(step: Step) -> List[Value]:
        flow = step.flow()
        tensor = step.op(name)(flow.tensor)
        return [step.alike(tensor, flow, nonnegative=name in _NONNEGATIVE)]

    return apply


def _pass(step: Step) -> List[Value]:
    """What does nothing when a model is only run."""
    if len([name for name in step.node.output if name]) > 1:
        raise step.refuse("its mask is asked for; export the model for inference")
    if step.has(2) and bool(step.constant(2)):
        raise step.refuse("it is in training mode; export the model for inference")
    return [step.flow()]


def _cast(step: Step) -> List[Value]:
    if step.attributes["to"] != 1:
        raise step.refuse("it casts what is computed to another dtype than float32")
    return [step.flow()]


def _relu(step: Step) -> List[Value]:
    flow = step.flow()
    return [step.alike(step.layer("ReLU")(flow.tensor), flow, nonnegative=True)]


def _clip(step: Step) -> List[Value]:
    low = _bound(step, "min", 1)
    high = _bound(step, "max", 2)
    flow = step.flow()
    if low == 0 and (high is None or high > 0):
        layer = step.layer("ReLU", max_value=high)
        return [step.alike(layer(flow.tensor), flow, nonnegative=True)]
    if low is not None and high is not None and low > high:
        # ONNX's text: where the limits cross, the upper one wins; engines differ.
        tensor = step.op("minimum")(step.op("maximum")(flow.tensor, low), high)
    elif low is not None and high is not None:
        tensor = step.op("clip")(flow.tensor, low, high)
    elif low is not None:
        tensor = step.op("maximum")(flow.tensor, low)
    elif high is not None:
        tensor = step.op("minimum")(flow.tensor, high)
    else:
        return [flow]
    sign = -1.0 if low is None else low if high is None else min(low, high)
    return [step.alike(tensor, flow, nonnegative=sign >= 0)]


def _bound(step: Step, name: str, index: int) -> Optional[float]:
    """A limit of Clip; None where there is none, also if it is the largest number there is."""
    value = step.attributes.get(name)
    if value is None and step.has(index):
        value = step.weights(index).reshape(())
    if value is None or abs(float(value)) >= float(np.finfo(np.float32).max):
        return None
    return float(value)


def _leaky_relu(step: Step) -> List[Value]:
    flow = step.flow()
    slope = float(step.attributes.get("alpha", 0.01))
    name = "negative_slope" if step.keras.major >= 3 else "alpha"
    settings: Dict[str, Any] = {name: slope}
    return [step.alike(step.layer("LeakyReLU", **settings)(flow.tensor), flow)]


def _prelu(step: Step) -> List[Value]:
    flow, slope = step.flow(), step.weights(1)
    full = slope.reshape((1,) * (flow.rank - slope.ndim) + slope.shape).transpose(flow.axes)
    if flow.axes[0] != 0 or full.shape[0] != 1:
        raise step.refuse("its slope differs along the batch")
    shared = [axis for axis in range(1, flow.rank) if full.shape[axis] == 1]
    layer = step.layer("PReLU", alpha_initializer="zeros", shared_axes=shared or None)
    return [step.alike(step.weighted(layer, flow.tensor, [full[0]]), flow)]


def _elu(step: Step) -> List[Value]:
    flow = step.flow()
    alpha = float(step.attributes.get("alpha", 1.0))
    return [step.alike(step.layer("ELU", alpha=alpha)(flow.tensor), flow)]


def _selu(step: Step) -> List[Value]:
    found = (step.attributes.get("alpha", _SELU[0]), step.attributes.get("gamma", _SELU[1]))
    if not np.allclose(found, _SELU, rtol=1e-6):
        raise step.refuse(f"alpha and gamma are {found}; Keras has {_SELU}")
    return _activation("selu")(step)


def _gelu(step: Step) -> List[Value]:
    flow = step.flow()
    if step.attributes.get("approximate", "none") == "none":
        return [step.alike(step.layer("Activation", "gelu")(flow.tensor), flow)]
    multiply, add, x = step.op("multiply"), step.op("add"), flow.tensor
    cubed = multiply(multiply(multiply(x, x), x), 0.044715)
    scaled = multiply(add(x, cubed), math.sqrt(2 / math.pi))
    gate = add(step.layer("Activation", "tanh")(scaled), 1.0)
    return [step.alike(multiply(multiply(x, 0.5), gate), flow)]


def _hard_sigmoid(step: Step) -> List[Value]:
    flow = step.flow()
    alpha = float(step.attributes.get("alpha", 0.2))
    beta = float(step.attributes.get("beta", 0.5))
    tensor = hard_sigmoid(step, flow.tensor, alpha, beta)
    return [step.alike(tensor, flow, nonnegative=True)]


def hard_sigmoid(step: Step, tensor: Any, alpha: float, beta: float) -> Any:
    """max(0, min(1, alpha x + beta)); as ReLU6(x + 3) / 6 where it is that, as MobileNetV3 does."""
    multiply, add = step.op("multiply"), step.op("add")
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and math.isclose(beta, 0.5, rel_tol=1e-6):
        clipped = step.layer("ReLU", max_value=6.0, role="gate")(add(tensor, 3.0))
        return multiply(clipped, 1 / 6)
    return step.layer("ReLU", max_value=1.0, role="gate")(add(multiply(tensor, alpha), beta))


def _hard_swish(step: Step) -> List[Value]:
    flow = step.flow()
    gate = hard_sigmoid(step, flow.tensor, 1 / 6, 0.5)
    return [step.alike(step.layer("Multiply")([flow.tensor, gate]), flow)]


def _swish(step: Step) -> List[Value]:
    if step.attributes.get("alpha", 1.0) != 1:
        raise step.refuse(f"its alpha is {step.attributes['alpha']}; Keras has 1")
    return _activation("swish")(step)


def _mish(step: Step) -> List[Value]:
    flow = step.flow()
    soft = step.layer("Activation", "softplus", role="softplus")(flow.tensor)
    gate = step.layer("Activation", "tanh", role="tanh")(soft)
    return [step.alike(step.layer("Multiply")([flow.tensor, gate]), flow)]


def _merge(name: str) -> Operator:
    """Two or more operands, broadcast to each other."""

    def merge(step: Step) -> List[Value]:
        values = [step.value(index) for index in range(len(step.inputs))]
        if len(values) > 2:
            values.sort(key=lambda value: isinstance(value, Folded))
        result = values[0]
        for value in values[1:]:
            result = combine(step, name, result, value)
        return [result]

    return merge


def combine(step: Step, name: str, first: Value, second: Value) -> Value:
    """An elementwise operation of two; a Keras layer where both are computed and of one shape."""
    for value in (first, second):
        if isinstance(value, Folded) and value.worlds[0].dtype.kind == "f":
            step.check_float32(value.worlds[0].dtype, "a constant operand")
    shapes = broadcast([first, second])
    operands, largest = step.tensors.partners([first, second])
    flows = isinstance(first, Flow) and isinstance(second, Flow)
    if flows and name in _MERGES and first.shapes == second.shapes:
        tensor = step.layer(_MERGES[name])(operands)
    else:
        tensor = step.op(name)(*operands)
    kept = name in _KEEPS_SIGN and all(
        isinstance(value, Flow) and value.nonnegative for value in (first, second)
    )
    return Flow(tensor, largest.axes, shapes, kept)


def _mean(step: Step) -> List[Value]:
    total = _merge("add")(step)[0]
    flow = total if isinstance(total, Flow) else step.flow()
    tensor = step.op("divide")(flow.tensor, float(len(step.inputs)))
    return [step.alike(tensor, flow)]


def _power(step: Step) -> List[Value]:
    exponent = step.value(1)
    if isinstance(exponent, Folded) and exponent.worlds[0].size == 1:
        known = {2.0: "square", 0.5: "sqrt", 1.0: None}
        value = float(exponent.array().reshape(()))
        if value in known and isinstance(step.value(0), Flow):
            name = known[value]
            return [step.flow()] if name is None else _unary(name)(step)
    return _merge("power")(step)


def _expand(step: Step) -> List[Value]:
    flow, value = step.flow(), step.value(1)
    if isinstance(value, Flow):
        raise step.refuse("its shape is computed from values of the input")
    shapes = tuple(
        tuple(np.broadcast_shapes(shape, tuple(int(size) for size in wanted)))
        for shape, wanted in zip(flow.shapes, value.worlds)
    )
    if shapes == flow.shapes:
        return [flow]
    ones = Folded(tuple(np.ones(shape, np.float32) for shape in shapes))
    return [combine(step, "multiply", flow, Folded((_grown(step, flow, ones),) * len(shapes)))]


def _grown(step: Step, flow: Flow, ones: Folded) -> np.ndarray:
    """Ones in the shape that a flow grows to; 1 along the batch, which it has already."""
    array = ones.array()
    extra = array.ndim - flow.rank
    for axis, size in enumerate(flow.shape):
        if size is None and array.shape[axis + extra] != 1:
            raise step.refuse("its shape depends on the batch in more than one axis")
    return array


OPERATORS: Dict[str, Operator] = {
    "Abs": _unary("abs"),
    "Add": _merge("add"),
    "Cast": _cast,
    "Ceil": _unary("ceil"),
    "Clip": _clip,
    "Cos": _unary("cos"),
    "Div": _merge("divide"),
    "Dropout": _pass,
    "Elu": _elu,
    "Erf": _unary("erf"),
    "Exp": _unary("exp"),
    "Expand": _expand,
    "Floor": _unary("floor"),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _pass,
    "LeakyRelu": _leaky_relu,
    "Log": _unary("log"),
    "Max": _merge("maximum"),
    "Mean": _mean,
    "Min": _merge("minimum"),
    "Mish": _mish,
    "Mul": _merge("multiply"),
    "Neg": _unary("negative"),
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _unary("reciprocal"),
    "Relu": _relu,
    "Round": _unary("round"),
    "Selu": _selu,
    "Sigmoid": _activation("sigmoid"),
    "Sign": _unary("sign"),
    "Silu": _activation("swish"),
    "Sin": _unary("sin"),
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "Sqrt": _unary("sqrt"),
    "Sub": _merge("subtract"),
    "Sum": _merge("add"),
    "Swish": _swish,
    "Tanh": _activation("tanh"),
}
"""The functions by the operators that they convert."""
