"""Small ONNX models, one operator or idiom each, for converters to prove themselves on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Node = tuple[str, str, str, dict[str, Any]]
"""Operator, inputs and outputs (names parted by a space; "-" leaves an optional one out), attributes."""

IMAGE = ["N", 4, 7, 6]


@dataclass(frozen=True)
class Small:
    """A model from `x` to `y`: its nodes, constants and the shape of its input.

    With `positive`, what the nodes get is made positive first. Input and outputs are of `dtype`.
    """

    nodes: list[Node]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    shape: list[Any] = field(default_factory=lambda: list(IMAGE))
    opset: int = 17
    outputs: tuple[str, ...] = ("y",)
    positive: bool = False
    dtype: str = "float32"

    def model(self) -> onnx.ModelProto:
        """As ONNX."""
        entry, constants = "x", dict(self.constants)
        before: list[Node] = []
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        if self.positive:
            entry, constants["tenth"] = "raw", number(0.1)
            before = [("Abs", "raw", "size", {}), ("Add", "size tenth", "x", {})]
        nodes = [
            helper.make_node(
                operator,
                ["" if name == "-" else name for name in inputs.split()],
                ["" if name == "-" else name for name in outputs.split()],
                name=f"{operator}_{index}",
                **attributes,
            )
            for index, (operator, inputs, outputs, attributes) in enumerate([*before, *self.nodes])
        ]
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info(entry, kind, self.shape)],
            [helper.make_empty_tensor_value_info(name) for name in self.outputs],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        for output in graph.output:
            output.type.tensor_type.elem_type = kind
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def fed(self, batch: int = 2) -> np.ndarray:
        """A seeded input."""
        sizes = [batch if size == "N" else size for size in self.shape]
        generator, dtype = np.random.Generator(np.random.PCG64(11)), np.dtype(self.dtype)
        if dtype.kind in "iu":
            least = 0 if dtype.kind == "u" else -100
            return generator.integers(least, 100, sizes).astype(dtype)
        return generator.standard_normal(sizes).astype(dtype)


def floats(*shape: int, seed: int = 3) -> np.ndarray:
    """Seeded numbers of float32."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    """A vector of int64."""
    return np.array(values, np.int64)


def number(value: float) -> np.ndarray:
    """A scalar of float32."""
    return np.array(value, np.float32)


def one(operator: str, inputs: str = "x", **attributes: Any) -> list[Node]:
    """A graph of one node."""
    return [(operator, inputs, "y", attributes)]


def conv(
    channels: int = 4, filters: int = 5, kernel: tuple[int, int] = (3, 3), **attributes: Any
) -> Small:
    """A convolution with a bias."""
    each = channels // attributes.get("group", 1)
    shape = ["N", channels, *attributes.pop("size", (9, 8))]
    constants = {"w": floats(filters, each, *kernel), "b": floats(filters, seed=4)}
    return Small(one("Conv", "x w b", **attributes), constants, shape)


def transposed(kernel: int, **attributes: Any) -> Small:
    """A transposed convolution."""
    constants = {"w": floats(4, 3, kernel, kernel), "b": floats(3, seed=4)}
    return Small(one("ConvTranspose", "x w b", **attributes), constants, ["N", 4, 5, 6])


def pool(operator: str, size: tuple[int, int] = (9, 8), **attributes: Any) -> Small:
    """A pooling with a kernel of 3 by 3 unless told."""
    attributes.setdefault("kernel_shape", [3, 3])
    # The reference evaluator counts padding under ceil_mode as ONNX says it since opset 19.
    return Small(one(operator, **attributes), {}, ["N", 4, *size], opset=19)


def _windows() -> dict[str, Small]:
    return {
        "conv": conv(),
        "conv_without_bias": Small(one("Conv", "x w"), {"w": floats(5, 4, 3, 3)}),
        "conv_1x1": conv(kernel=(1, 1)),
        "conv_same": conv(pads=[1, 1, 1, 1]),
        "conv_stride_2_even_size_torch_pads": conv(size=(8, 8), strides=[2, 2], pads=[1, 1, 1, 1]),
        "conv_stride_2_tensorflow_pads": conv(size=(8, 8), strides=[2, 2], pads=[0, 0, 1, 1]),
        "conv_asymmetric_pads": conv(pads=[0, 2, 1, 3]),
        "conv_same_upper": conv(size=(8, 7), strides=[2, 2], auto_pad="SAME_UPPER"),
        "conv_same_lower": conv(size=(8, 7), strides=[2, 2], auto_pad="SAME_LOWER"),
        "conv_valid": conv(auto_pad="VALID"),
        "conv_dilated": conv(dilations=[2, 2], pads=[2, 2, 2, 2]),
        "conv_unequal_strides": conv(strides=[2, 1], kernel=(3, 2)),
        "conv_1x7": conv(kernel=(1, 7), pads=[0, 3, 0, 3]),
        "conv_grouped": conv(filters=6, group=2, pads=[1, 1, 1, 1]),
        "conv_depthwise": conv(filters=4, group=4, pads=[1, 1, 1, 1]),
        "conv_depthwise_multiplier": conv(filters=12, group=4),
        "conv_depthwise_stride_2": conv(
            filters=4, group=4, size=(8, 8), strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        "conv_depthwise_dilated": conv(filters=4, group=4, dilations=[2, 2]),
        "conv_depthwise_unequal_strides": conv(filters=4, group=4, strides=[1, 2]),
        "conv_one_channel": conv(channels=1, filters=3),
        "conv_transpose": transposed(3),
        "conv_transpose_stride_2": transposed(4, strides=[2, 2], pads=[1, 1, 1, 1]),
        "conv_transpose_output_padding": transposed(
            3, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
        ),
        "conv_transpose_asymmetric": transposed(3, strides=[2, 2], pads=[0, 1, 1, 0]),
        "conv_transpose_kernel_below_stride": transposed(2, strides=[3, 3], output_padding=[1, 1]),
        "conv_transpose_same": transposed(3, strides=[2, 2], auto_pad="SAME_UPPER"),
        "max_pool": pool("MaxPool", strides=[2, 2]),
        "max_pool_of_negative_numbers_with_pads": pool(
            "MaxPool", strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        "max_pool_same": pool("MaxPool", strides=[2, 2], auto_pad="SAME_UPPER"),
        "max_pool_stride_1_pads": pool("MaxPool", pads=[1, 1, 1, 1]),
        "max_pool_ceil": pool("MaxPool", size=(10, 8), strides=[2, 2], ceil_mode=1),
        "max_pool_ceil_pads": pool(
            "MaxPool", size=(7, 10), strides=[2, 3], ceil_mode=1, pads=[1, 1, 1, 1]
        ),
        "max_pool_after_relu": Small(
            [
                ("Relu", "x", "r", {}),
                ("MaxPool", "r", "y", {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]}),
            ]
        ),
        "average_pool": pool("AveragePool", strides=[2, 2]),
        "average_pool_pads": pool("AveragePool", pads=[1, 1, 1, 1]),
        "average_pool_pads_counted": pool("AveragePool", pads=[1, 1, 1, 1], count_include_pad=1),
        "average_pool_same": pool("AveragePool", strides=[2, 2], auto_pad="SAME_UPPER"),
        "average_pool_ceil": pool("AveragePool", size=(10, 8), strides=[2, 2], ceil_mode=1),
        "average_pool_asymmetric": pool("AveragePool", strides=[2, 2], pads=[0, 1, 1, 0]),
        "global_average_pool": Small(one("GlobalAveragePool")),
        "global_max_pool": Small(one("GlobalMaxPool")),
    }


def _activations() -> dict[str, Small]:
    plain = (
        "Relu Sigmoid Tanh Softplus Softsign Elu Selu LeakyRelu HardSigmoid HardSwish Erf Exp Abs "
        "Neg Floor Ceil Sin Cos Sign Identity Round"
    )
    cases = {f"unary_{name.lower()}": Small(one(name)) for name in plain.split()}
    positive = ["Sqrt", "Log", "Reciprocal"]
    cases.update({f"unary_{n.lower()}": Small(one(n), positive=True) for n in positive})
    limits = {"low": number(-0.5), "high": number(0.75)}
    inner = {"half": number(0.5), "root": number(math.sqrt(2)), "one": number(1)}
    return {
        **cases,
        "clip": Small(one("Clip", "x low high"), limits),
        "clip_relu6": Small(one("Clip", "x low high"), {"low": number(0), "high": number(6)}),
        "clip_low_only": Small(one("Clip", "x low"), limits),
        "clip_high_only": Small(one("Clip", "x - high"), limits),
        "clip_crossing_below_zero": Small(
            one("Clip", "x low high"), {"low": number(0), "high": number(-0.5)}
        ),
        "clip_crossing": Small(
            one("Clip", "x low high"), {"low": number(0.5), "high": number(-0.25)}
        ),
        "clip_to_zero": Small(one("Clip", "x low high"), {"low": number(0), "high": number(0)}),
        "clip_opset_6": Small(one("Clip", min=-0.5, max=0.5), opset=9),
        "elu_alpha": Small(one("Elu", alpha=0.3)),
        "leaky_relu_alpha": Small(one("LeakyRelu", alpha=0.3)),
        "hard_sigmoid_torch": Small(one("HardSigmoid", alpha=1 / 6, beta=0.5)),
        "prelu_per_channel": Small(one("PRelu", "x s"), {"s": floats(4, 1, 1)}),
        "prelu_one_slope": Small(one("PRelu", "x s"), {"s": floats(1)}),
        "prelu_full": Small(one("PRelu", "x s"), {"s": floats(4, 7, 6)}),
        "gelu": Small(one("Gelu"), opset=20),
        "gelu_tanh": Small(one("Gelu", approximate="tanh"), opset=20),
        "mish": Small(one("Mish"), opset=18),
        "dropout": Small(one("Dropout"), opset=11),
        "cast_to_same": Small(one("Cast", to=1)),
        "gelu_from_erf": Small(
            [
                ("Div", "x root", "a", {}),
                ("Erf", "a", "b", {}),
                ("Add", "b one", "c", {}),
                ("Mul", "x c", "d", {}),
                ("Mul", "d half", "y", {}),
            ],
            inner,
        ),
        "silu_from_sigmoid": Small([("Sigmoid", "x", "s", {}), ("Mul", "x s", "y", {})]),
        "mish_from_softplus": Small(
            [("Softplus", "x", "a", {}), ("Tanh", "a", "b", {}), ("Mul", "x b", "y", {})]
        ),
        "hardswish_from_hard_sigmoid": Small(
            [("HardSigmoid", "x", "a", {"alpha": 1 / 6}), ("Mul", "a x", "y", {})]
        ),
    }


def _arithmetic() -> dict[str, Small]:
    channel, image, matrix = floats(4, 1, 1), floats(1, 4, 7, 6), floats(7, 6)
    cases = {}
    for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        name = operator.lower()
        cases[f"{name}_channel"] = Small(one(operator, "x c"), {"c": channel})
        cases[f"{name}_reversed"] = Small(one(operator, "c x"), {"c": channel}, positive=True)
        cases[f"{name}_number"] = Small(one(operator, "x c"), {"c": number(0.7)})
        cases[f"{name}_two"] = Small([("Relu", "x", "r", {}), (operator, "x r", "y", {})])
    del cases["div_two"]
    return {
        **cases,
        "add_image": Small(one("Add", "x c"), {"c": image}),
        "add_matrix": Small(one("Add", "x c"), {"c": matrix}),
        "add_of_rank_2": Small(one("Add", "x c"), {"c": floats(5)}, ["N", 5]),
        "add_of_higher_rank": Small(one("Add", "x c"), {"c": floats(3, 1, 5)}, ["N", 5]),
        "squeeze_and_excite": Small(
            [
                ("GlobalAveragePool", "x", "p", {}),
                ("Sigmoid", "p", "s", {}),
                ("Mul", "s x", "y", {}),
            ]
        ),
        "mean_broadcast_from_rank_3": Small(
            [
                ("ReduceMax", "x", "m", {"axes": [0 + 1], "keepdims": 0}),
                ("Unsqueeze", "m a", "u", {}),
                ("Sub", "x u", "y", {}),
            ],
            {"a": ints(1)},
        ),
        "sum_of_three": Small([("Relu", "x", "r", {}), ("Sum", "c x r", "y", {})], {"c": channel}),
        "mean_of_two": Small([("Relu", "x", "r", {}), ("Mean", "x r", "y", {})]),
        "pow_2": Small(one("Pow", "x c"), {"c": number(2)}),
        "pow_half": Small(one("Pow", "x c"), {"c": number(0.5)}, positive=True),
        "pow_1_7": Small(one("Pow", "x c"), {"c": number(1.7)}, positive=True),
        "pow_of_number": Small(one("Pow", "c x"), {"c": number(1.7)}),
        "expand": Small(
            [("GlobalAveragePool", "x", "p", {}), ("Expand", "p s", "y", {})],
            {"s": ints(1, 1, 3, 2)},
        ),
    }


def _linear() -> dict[str, Small]:
    flat = ["N", 6]
    return {
        "gemm": Small(one("Gemm", "x w b"), {"w": floats(6, 5), "b": floats(5)}, flat),
        "gemm_transposed": Small(
            one("Gemm", "x w b", transB=1), {"w": floats(5, 6), "b": floats(5)}, flat
        ),
        "gemm_alpha_beta": Small(
            one("Gemm", "x w b", alpha=0.5, beta=2.0), {"w": floats(6, 5), "b": floats(5)}, flat
        ),
        "gemm_scalar_bias": Small(
            one("Gemm", "x w b"), {"w": floats(6, 5), "b": number(0.3)}, flat
        ),
        "gemm_without_bias": Small(one("Gemm", "x w"), {"w": floats(6, 5)}, flat),
        "gemm_after_flatten": Small(
            [("Flatten", "x", "f", {}), ("Gemm", "f w", "y", {})], {"w": floats(168, 3)}
        ),
        "matmul": Small(one("MatMul", "x w"), {"w": floats(6, 5)}, flat),
        "matmul_bias": Small(
            [("MatMul", "x w", "m", {}), ("Add", "b m", "y", {})],
            {"w": floats(6, 5), "b": floats(5)},
            ["N", 3, 6],
        ),
        "matmul_on_image": Small(one("MatMul", "x w"), {"w": floats(6, 5)}),
        "matmul_constant_first": Small(one("MatMul", "w x"), {"w": floats(3, 7)}),
        "matmul_of_stacks": Small(one("MatMul", "x w"), {"w": floats(4, 6, 5)}),
        "attention": Small(
            [
                ("Transpose", "x", "t", {"perm": [0, 1, 3, 2]}),
                ("MatMul", "x t", "s", {}),
                ("Mul", "s c", "d", {}),
                ("Softmax", "d", "p", {"axis": -1}),
                ("MatMul", "p x", "y", {}),
            ],
            {"c": number(0.3)},
        ),
        "softmax_channels": Small(one("Softmax", axis=1)),
        "softmax_last": Small(one("Softmax", axis=-1)),
        "softmax_opset_11": Small(one("Softmax", axis=1), opset=11),
        "softmax_opset_11_of_rank_2": Small(one("Softmax"), {}, ["N", 9], opset=11),
        "log_softmax": Small(one("LogSoftmax", axis=1)),
        "reduce_mean_image": Small(one("ReduceMean", axes=[2, 3], keepdims=1)),
        "reduce_mean_image_dropped": Small(one("ReduceMean", axes=[-1, -2], keepdims=0)),
        "reduce_mean_channels": Small(one("ReduceMean", axes=[1], keepdims=0)),
        "reduce_mean_opset_18": Small(one("ReduceMean", "x a"), {"a": ints(-1)}, opset=18),
        "reduce_sum": Small(one("ReduceSum", "x a", keepdims=0), {"a": ints(1, 2)}),
        "reduce_max": Small(one("ReduceMax", axes=[3])),
        "reduce_min": Small(one("ReduceMin", axes=[2, 3], keepdims=0)),
        "reduce_l2": Small(one("ReduceL2", axes=[1])),
        "reduce_l1": Small(one("ReduceL1", axes=[1])),
        "reduce_prod": Small(one("ReduceProd", axes=[1])),
        "reduce_sum_square": Small(one("ReduceSumSquare", axes=[1], keepdims=0)),
        **{
            f"{name.lower()}_of_no_axes": Small(one(name, noop_with_empty_axes=1), opset=18)
            for name in ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMean", "ReduceMax"]
        },
        "reduce_sum_of_no_axes": Small(one("ReduceSum", noop_with_empty_axes=1), opset=13),
    }


def _normalisation() -> dict[str, Small]:
    four = {name: floats(4, seed=i) for i, name in enumerate("sbm")}
    four["v"] = np.abs(floats(4, seed=9)) + np.float32(0.5)
    last = {"s": floats(6), "b": floats(6, seed=4)}
    return {
        "batch_norm": Small(one("BatchNormalization", "x s b m v"), four),
        "batch_norm_epsilon": Small(one("BatchNormalization", "x s b m v", epsilon=0.01), four),
        "batch_norm_of_rank_2": Small(one("BatchNormalization", "x s b m v"), four, ["N", 4]),
        "batch_norm_of_rank_3": Small(one("BatchNormalization", "x s b m v"), four, ["N", 4, 5]),
        "layer_norm": Small(one("LayerNormalization", "x s b", axis=-1), last, ["N", 5, 6]),
        "layer_norm_without_bias": Small(one("LayerNormalization", "x s"), last, ["N", 5, 6]),
        "layer_norm_three_axes": Small(
            one("LayerNormalization", "x s b", axis=1),
            {"s": floats(4, 7, 6), "b": floats(4, 7, 6, seed=4)},
        ),
        "layer_norm_of_channels_last": Small(
            [
                ("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}),
                ("LayerNormalization", "t s b", "n", {"epsilon": 1e-6}),
                ("Transpose", "n", "y", {"perm": [0, 3, 1, 2]}),
            ],
            {"s": floats(4), "b": floats(4, seed=4)},
        ),
        "instance_norm": Small(
            one("InstanceNormalization", "x s b"), {"s": floats(4), "b": floats(4, seed=4)}
        ),
        "lrn": Small(one("LRN", size=3, alpha=0.1, beta=0.75, bias=1.5)),
        "lrn_even": Small(one("LRN", size=4, alpha=0.1, beta=0.5, bias=2.0)),
    }


def _shapes() -> dict[str, Small]:
    return {
        "flatten": Small(one("Flatten")),
        "flatten_axis_2": Small(one("Flatten", axis=2), {}, ["N", 1, 4, 5]),
        "flatten_pooled": Small([("GlobalAveragePool", "x", "p", {}), ("Flatten", "p", "y", {})]),
        "reshape_flat": Small(one("Reshape", "x s"), {"s": ints(0, -1)}),
        "reshape_to_rows": Small(one("Reshape", "x s"), {"s": ints(-1, 4, 42)}),
        "reshape_channels": Small(one("Reshape", "x s"), {"s": ints(0, 2, 2, 7, 6)}),
        "reshape_mixed": Small(one("Reshape", "x s"), {"s": ints(-1, 6, 4, 7)}),
        "reshape_batch_into_rows": Small(one("Reshape", "x s"), {"s": ints(-1, 42)}),
        "reshape_rows_into_batch": Small(one("Reshape", "x s"), {"s": ints(-1, 5)}, ["N", 6, 5]),
        "channel_shuffle": Small(
            [
                ("Reshape", "x s", "a", {}),
                ("Transpose", "a", "b", {"perm": [0, 2, 1, 3, 4]}),
                ("Reshape", "b t", "c", {}),
                ("Relu", "c", "y", {}),
            ],
            {"s": ints(-1, 2, 2, 7, 6), "t": ints(-1, 4, 7, 6)},
        ),
        "patches": Small(
            [
                ("Reshape", "x s", "a", {}),
                ("Transpose", "a", "y", {"perm": [0, 2, 1]}),
            ],
            {"s": ints(0, 4, -1)},
        ),
        "transpose_image": Small(one("Transpose", perm=[0, 3, 1, 2])),
        "transpose_and_add": Small(
            [
                ("Transpose", "x", "t", {"perm": [0, 1, 3, 2]}),
                ("Add", "x t", "y", {}),
            ],
            {},
            ["N", 3, 5, 5],
        ),
        "batch_moved_and_merged": Small(
            [
                ("Transpose", "x", "a", {"perm": [1, 0, 2]}),
                ("Reshape", "a s", "b", {}),
                ("Transpose", "b", "c", {"perm": [1, 0, 2]}),
                ("Softmax", "c", "d", {"axis": 1}),
                ("Transpose", "d", "e", {"perm": [1, 0, 2]}),
                ("Reshape", "e t", "f", {}),
                ("Transpose", "f", "y", {"perm": [1, 0, 2]}),
            ],
            {"s": ints(5, -1, 3), "t": ints(5, -1, 6)},
            ["N", 5, 6],
        ),
        "shape_arithmetic": Small(
            [
                ("Shape", "x", "shape", {}),
                ("Gather", "shape zero", "n", {"axis": 0}),
                ("Unsqueeze", "n zero1", "n1", {}),
                ("Concat", "n1 rest", "to", {"axis": 0}),
                ("Reshape", "x to", "y", {}),
            ],
            {"zero": np.array(0, np.int64), "zero1": ints(0), "rest": ints(28, 6)},
        ),
        "class_token": Small(
            [
                ("Shape", "x", "shape", {}),
                ("Slice", "shape zero1 one1", "n", {}),
                ("Concat", "n rest", "to", {"axis": 0}),
                ("Expand", "token to", "tokens", {}),
                ("Concat", "tokens x", "y", {"axis": 1}),
            ],
            {"zero1": ints(0), "one1": ints(1), "rest": ints(-1 + 2, 6), "token": floats(1, 1, 6)},
            ["N", 5, 6],
        ),
        "squeeze": Small(
            [("GlobalMaxPool", "x", "p", {}), ("Squeeze", "p a", "y", {})], {"a": ints(2, 3)}
        ),
        "squeeze_opset_11": Small(
            [("GlobalMaxPool", "x", "p", {}), ("Squeeze", "p", "y", {"axes": [-1]})], opset=11
        ),
        "unsqueeze": Small(one("Unsqueeze", "x a"), {"a": ints(2, -1)}, ["N", 4, 5]),
        "concat_channels": Small([("Relu", "x", "r", {}), ("Concat", "x r x", "y", {"axis": 1})]),
        "concat_width": Small([("Relu", "x", "r", {}), ("Concat", "x r", "y", {"axis": -1})]),
        "split_equal": Small(
            [("Split", "x", "a b", {"axis": 1}), ("Sub", "b a", "y", {})], opset=13
        ),
        "split_sizes": Small(
            [("Split", "x s", "a b", {"axis": 1}), ("Concat", "b a", "y", {"axis": 1})],
            {"s": ints(1, 3)},
        ),
        "split_opset_11": Small(
            [
                ("Split", "x", "a b", {"axis": 2, "split": [3, 4]}),
                ("Concat", "b a", "y", {"axis": 2}),
            ],
            opset=11,
        ),
        "split_num_outputs": Small(
            [
                ("Split", "x", "a b", {"axis": 2, "num_outputs": 2}),
                ("Concat", "b a", "y", {"axis": 2}),
            ],
            opset=18,
        ),
        "two_outputs": Small(
            [("Split", "x s", "y z", {"axis": 1})], {"s": ints(1, 3)}, outputs=("y", "z")
        ),
        "slice": Small(
            one("Slice", "x a b c d"),
            {"a": ints(1, -5), "b": ints(9999, -1), "c": ints(1, 2), "d": ints(2, 1)},
        ),
        "slice_opset_9": Small(one("Slice", axes=[3], starts=[1], ends=[4]), opset=9),
        "gather_one": Small(
            one("Gather", "x i", axis=1), {"i": np.array(0, np.int64)}, ["N", 5, 6]
        ),
        "gather_one_channel": Small(one("Gather", "x i", axis=1), {"i": np.array(-1, np.int64)}),
        "gather_some": Small(one("Gather", "x i", axis=2), {"i": ints(5, 0, -1)}),
        "pad": Small(one("Pad", "x p"), {"p": ints(0, 0, 1, 2, 0, 0, 3, 0)}),
        "pad_value": Small(
            one("Pad", "x p v"), {"p": ints(0, 1, 0, 2, 0, 0, 3, 0), "v": number(-1.5)}
        ),
        "pad_reflect": Small(
            one("Pad", "x p", mode="reflect"), {"p": ints(0, 0, 1, 2, 0, 0, 3, 1)}
        ),
        "pad_negative": Small(one("Pad", "x p"), {"p": ints(0, 0, -1, 2, 0, 0, 1, -2)}),
        "pad_opset_2": Small(
            one("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.5, mode="constant"), opset=9
        ),
        "depth_to_space": Small(one("DepthToSpace", blocksize=2)),
        "depth_to_space_crd": Small(one("DepthToSpace", blocksize=2, mode="CRD")),
        "space_to_depth": Small(one("SpaceToDepth", blocksize=2), {}, ["N", 3, 4, 6]),
        "input_channels_last": Small(
            [
                ("Transpose", "x", "t", {"perm": [0, 3, 1, 2]}),
                ("Conv", "t w", "y", {}),
            ],
            {"w": floats(4, 3, 3, 3)},
            ["N", 8, 7, 3],
        ),
        "constant_node": Small(
            [
                ("Constant", "", "c", {"value": numpy_helper.from_array(floats(4, 1, 1))}),
                ("Mul", "x c", "y", {}),
            ]
        ),
        "batch_of_three_fixed": Small(
            [("Reshape", "x s", "y", {})], {"s": ints(3, 28, 6)}, [3, 4, 7, 6]
        ),
    }


def _resizing() -> dict[str, Small]:
    def resize(*sizes: int, **attributes: Any) -> Small:
        constants = {"s": ints(1, 4, *sizes)}
        return Small(one("Resize", "x - - s", **attributes), {**constants}, opset=13)

    double = {"s": np.array([1, 1, 2, 2], np.float32)}
    return {
        "resize_nearest_asymmetric": Small(
            one(
                "Resize",
                "x - s",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            double,
        ),
        "resize_nearest_half_pixel": Small(one("Resize", "x - s"), double),
        "resize_linear": Small(one("Resize", "x - s", mode="linear"), double),
        "resize_linear_torch": Small(
            one(
                "Resize",
                "x - s",
                mode="linear",
                coordinate_transformation_mode="pytorch_half_pixel",
            ),
            double,
        ),
        "resize_linear_corners": Small(
            one("Resize", "x - s", mode="linear", coordinate_transformation_mode="align_corners"),
            double,
        ),
        "resize_fraction": Small(
            one("Resize", "x - s", mode="linear"), {"s": np.array([1, 1, 1.5, 0.5], np.float32)}
        ),
        "resize_nearest_fraction": Small(
            one("Resize", "x - s", mode="nearest"), {"s": np.array([1, 1, 1.5, 0.5], np.float32)}
        ),
        "upsample": Small(one("Upsample", "x s", mode="nearest"), double, opset=9),
        "resize_linear_symmetric": Small(
            one(
                "Resize",
                "x - s",
                mode="linear",
                coordinate_transformation_mode="half_pixel_symmetric",
            ),
            {"s": np.array([1, 1, 1.3, 0.7], np.float32)},
            opset=19,
        ),
        "resize_linear_that_keeps_the_size": Small(
            one("Resize", "x - s", mode="linear"),
            {"s": np.array([1, 1, 1.05, 1.05], np.float32)},
            ["N", 2, 10, 10],
        ),
    }


def _as_runtime() -> dict[str, Small]:
    def scaled(operator: str, scale: float, opset: int, **attributes: Any) -> Small:
        entries = "x - s" if opset > 10 else "x s"
        scales = {"s": np.array([1, 1, scale, scale], np.float32)}
        return Small(one(operator, entries, **attributes), scales, ["N", 2, 10, 10], opset)

    return {
        "runtime_resize_to_0_7": scaled("Resize", 0.7, 13, mode="linear"),
        "runtime_resize_nearest_to_0_7": scaled("Resize", 0.7, 13),
        "runtime_resize_opset_10_to_0_4": scaled("Resize", 0.4, 10),
        "runtime_resize_opset_10_to_2_4": scaled("Resize", 2.4, 10),
        "runtime_resize_opset_10_linear": scaled("Resize", 0.7, 10, mode="linear"),
        "runtime_upsample_1_3": scaled("Upsample", 1.3, 9),
        "runtime_upsample_linear_1_3": scaled("Upsample", 1.3, 9, mode="linear"),
    }


def _beyond_keras() -> dict[str, Small]:
    def whole(operator: str, inputs: str = "x", dtype: str = "int32", **attributes: Any) -> Small:
        constants: dict[str, np.ndarray] = {
            "low": np.array(3, dtype),
            "high": np.array(50, dtype),
            "c": np.array([[3], [7], [5]], dtype),
        }
        used = {name: constants[name] for name in inputs.split() if name in constants}
        return Small(one(operator, inputs, **attributes), used, ["N", 3, 4], 13, dtype=dtype)

    reduced = ("ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceMax")
    double = {"s": np.array([1, 1, 2, 2], np.float32)}
    return {
        **{f"int32_{name.lower()}": whole(name, axes=[1]) for name in reduced},
        "int32_reduce_sum": Small(
            one("ReduceSum", "x a"), {"a": ints(1)}, ["N", 3, 4], 13, dtype="int32"
        ),
        **{
            f"int32_{n.lower()}": whole(n, "x c")
            for n in ["Add", "Sub", "Mul", "Div", "Max", "Mod"]
        },
        "int32_clip": whole("Clip", "x low high"),
        "int32_relu": Small(one("Relu"), {}, ["N", 3, 4], 14, dtype="int32"),
        "uint8_clip": whole("Clip", "x low high", "uint8"),
        "uint8_resize_nearest": Small(one("Resize", "x - s"), double, opset=13, dtype="uint8"),
        "reducelogsum_of_no_axes": Small(
            one("ReduceLogSum", noop_with_empty_axes=1), opset=18, positive=True
        ),
        "reducelogsumexp_of_no_axes": Small(
            one("ReduceLogSumExp", noop_with_empty_axes=1), opset=18
        ),
    }


CASES: dict[str, Small] = {
    **_windows(),
    **_activations(),
    **_arithmetic(),
    **_linear(),
    **_normalisation(),
    **_shapes(),
    **_resizing(),
}
"""By what each shows."""

AS_RUNTIME = _as_runtime()
"""Where ONNX's evaluator departs from ONNX Runtime, and ONNX Runtime is followed."""

BEYOND_KERAS = _beyond_keras()
"""What has a conversion to JAX and none to Keras: integers, and some reductions."""

WHOLE_AS_RUNTIME: dict[str, Small] = {
    "uint8_resize_linear": Small(
        one("Resize", "x - s", mode="linear"),
        {"s": np.array([1, 1, 2, 2], np.float32)},
        opset=13,
        dtype="uint8",
    ),
    "int32_reduce_sum_square": Small(
        one("ReduceSumSquare", axes=[1]), {}, ["N", 3, 4], 13, dtype="int32"
    ),
}
"""Both: the evaluator rounds interpolated integers, and gives squares as int64."""
