"""Computing, ahead of time, the parts of an ONNX graph that do not depend on its input's values.

Exporters write shape arithmetic into graphs (Shape, Gather, Concat, Reshape) that a framework with
static shapes does not need. Each such node is run once by ONNX's own reference evaluator.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

NEVER = frozenset(
    {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
    }
)
"""What gives another value each time it is run."""


def evaluate(
    node: Any, inputs: Sequence[Optional[np.ndarray]], opsets: Dict[str, int]
) -> List[np.ndarray]:
    """The outputs of one node.

    Args:
        node: an `onnx.NodeProto`.
        inputs: its inputs' values; None for an optional one that is left out.
        opsets: the version of each domain.
    """
    fed = {name: v for name, v in zip(node.input, inputs) if name and v is not None}
    graph = helper.make_graph(
        [node],
        "constant",
        [_declared(name, value) for name, value in fed.items()],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports))
    found = iter(evaluator.run(None, {name: np.asarray(value) for name, value in fed.items()}))
    return [np.asarray(next(found)) if name else np.zeros(0) for name in node.output]


def attributes(node: Any) -> Dict[str, Any]:
    """A node's attributes by name; text as str, tensors as arrays."""
    found: Dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.type == onnx.AttributeProto.TENSOR:
            value = numpy_helper.to_array(value)
        elif isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        found[attribute.name] = value
    return found


def _declared(name: str, value: np.ndarray) -> Any:
    dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, dtype, value.shape)
