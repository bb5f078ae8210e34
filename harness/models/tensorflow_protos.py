"""The few of TensorFlow's messages that are read here, built at run time.

Names and numbers are those of tensorflow/core/protobuf/{saved_model,meta_graph}.proto and
tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape}.proto; fields that are not
read are left out, which protobuf skips.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

from harness.models.model_file import Shape

_PACKAGE = "harness.tensorflow"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "int64": _FIELD.TYPE_INT64,
    "int32": _FIELD.TYPE_INT32,
    "float": _FIELD.TYPE_FLOAT,
    "bool": _FIELD.TYPE_BOOL,
}
# Message -> field -> (number, type); `*` before a type: repeated; `%`: a map from strings to it.
# Enums are read as int32: their numbers are looked up in DTYPES.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Dim": {"size": (1, "int64")},
    "TensorShape": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShape"),
        "tensor_content": (4, "bytes"),
    },
    "ListValue": {"type": (6, "*int32"), "shape": (7, "*TensorShape")},
    "AttrValue": {
        "list": (1, "ListValue"),
        "b": (5, "bool"),
        "type": (6, "int32"),
        "shape": (7, "TensorShape"),
        "tensor": (8, "Tensor"),
    },
    "Node": {
        "name": (1, "string"),
        "op": (2, "string"),
        "input": (3, "*string"),
        "attr": (5, "%AttrValue"),
    },
    "Function": {"node_def": (3, "*Node")},
    "Library": {"function": (1, "*Function")},
    "Graph": {"node": (1, "*Node"), "library": (2, "Library")},
    "TensorInfo": {
        "name": (1, "string"),
        "dtype": (2, "int32"),
        "tensor_shape": (3, "TensorShape"),
    },
    "Signature": {
        "inputs": (1, "%TensorInfo"),
        "outputs": (2, "%TensorInfo"),
        "method_name": (3, "string"),
    },
    "MetaInfo": {"tags": (4, "*string")},
    "MetaGraph": {
        "meta_info_def": (1, "MetaInfo"),
        "graph_def": (2, "Graph"),
        "signature_def": (5, "%Signature"),
    },
    "SavedModel": {"saved_model_schema_version": (1, "int64"), "meta_graphs": (2, "*MetaGraph")},
    "BundleHeader": {"num_shards": (1, "int32")},
    "BundleEntry": {
        "dtype": (1, "int32"),
        "shape": (2, "TensorShape"),
        "shard_id": (3, "int32"),
        "offset": (4, "int64"),
        "size": (5, "int64"),
    },
}
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
}
"""NumPy's names of the members of DataType (tensorflow/core/framework/types.proto)."""
BYTES = {
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("int8", "uint8", "bool"), 1),
    "complex128": 16,
}
VARIABLE_OPS = frozenset({"VarHandleOp", "Variable", "VariableV2", "AutoReloadVariable"})


@cache
def message_class(name: str) -> Any:
    """The class of a message: `Graph`, `SavedModel`, `BundleHeader`, `BundleEntry`."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def shape_of(message: Any) -> Shape | None:
    """A shape; None where its rank is open.

    Raises:
        ValueError: a negative size other than -1.
    """
    if message.unknown_rank:
        return None
    sizes = [int(dim.size) for dim in message.dim]
    if any(size < -1 for size in sizes):
        raise ValueError(f"the shape {sizes} makes no sense")
    return tuple(None if size < 0 else size for size in sizes)


def dtype_of(number: int) -> str:
    """NumPy's name of a DataType; those from 101 on are references to the same types."""
    number = number - 100 if number > 100 else number
    return DTYPES.get(number, f"type-{number}")


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="harness/tensorflow.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    return file


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    label = _FIELD.LABEL_REPEATED if kind[0] in "*%" else _FIELD.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    bare = kind.lstrip("*%")
    if kind.startswith("%"):
        # As the compiler of .proto files writes `map<string, Value>`.
        nested = f"{name.title().replace('_', '')}Entry"
        entry = message.nested_type.add(name=nested)
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, bare)
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{nested}"
    elif bare in _SCALARS:
        field.type = _SCALARS[bare]
    else:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{bare}"
