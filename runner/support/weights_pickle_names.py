"""What the names in a pickle stand for while it is read: never the things themselves.

Each name that a state_dict is made of is bound to a type or function here that does nothing but
keep numbers, and every other one is refused in words that fit it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from runner.support.weights_values import MAX_BYTES, DamagedError, RefusedError

SAVE = "save the weights alone: torch.save(model.state_dict(), path), or a .safetensors file"

_STORAGES: Dict[str, Optional[str]] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": None,
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_DTYPE = re.compile(r"(b?float|complex|q?u?int)\d+\w*|bool")
_MAX_AXES = 16
_NO_WEIGHTS = (
    *("collections.Counter", "builtins.set", "builtins.bytearray", "builtins.complex"),
    *("_codecs.encode", "torch.device"),
)
_KINDS = (("torch", "Tensor"), ("torch.nn.parameter", "Parameter"))
_UNREAD = re.compile(
    r"torch\.(storage\.)?(Untyped|Typed|ComplexFloat|ComplexDouble|QU?Int\d+)Storage"
    r"|torch\._utils\._rebuild_\w+|torch\.serialization\._get_layout"
    r"|torch\.torch_version\.TorchVersion"
    r"|torch\.(per_\w+_affine|strided|contiguous_format)"
)


class StorageType(NamedTuple):
    """What PyTorch calls the storage of a dtype; None is bfloat16."""

    dtype: Optional[str]


class Storage:
    """A run of numbers of which tensors are views; the legacy format brings it after them."""

    __slots__ = ("count", "dtype", "flat")

    def __init__(self, dtype: Optional[str], count: int) -> None:
        self.dtype = dtype
        self.count = count
        self.flat: Optional[np.ndarray] = None

    @property
    def item_bytes(self) -> int:
        """Of one number."""
        return 2 if self.dtype is None else np.dtype(self.dtype).itemsize


class Tensor(NamedTuple):
    """A view of a storage, in items."""

    storage: Storage
    offset: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]


class _Call:
    """What a pickle may call. Without a `__dict__`, so that it can't change it either."""

    __slots__ = ("__name",)

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_Call__name", name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise DamagedError(f"it assigns to {name!r} of a function")

    @property
    def makes_tensors(self) -> bool:
        """Whether it gives a tensor for numbers in a storage, and calls nothing else."""
        return self.__name in _TENSORS

    def __call__(self, *args: Any) -> Any:
        return _FUNCTIONS[self.__name](*args)


def stand_in(module: str, name: str, globals_: Sequence[str]) -> Any:
    """What a pickle gets for a name that it asks for.

    Args:
        module: as the pickle spells it.
        name: within the module.
        globals_: all names that the pickle asks for.

    Raises:
        RefusedError: for a name that no state_dict of plain arrays has.
    """
    # What Python 2 called it, and so does protocol 2.
    module = "builtins" if module == "__builtin__" else module
    if (module, name) == ("collections", "OrderedDict"):
        return OrderedDict
    if module in ("torch", "torch.storage") and name in _STORAGES:
        return StorageType(_STORAGES[name])
    if (module, name) in _KINDS or (module == "torch" and _DTYPE.fullmatch(name)):
        return name
    if f"{module}.{name}" in _FUNCTIONS:
        return _Call(f"{module}.{name}")
    raise _refusal(f"{module}.{name}", globals_)


def _refusal(name: str, globals_: Sequence[str]) -> RefusedError:
    if _UNREAD.fullmatch(name):
        return RefusedError(
            f"it holds a kind of value that is not read here ({name}: quantised, sparse, complex, "
            "8-bit or otherwise no plain array). Nothing in it wants to run code: load it in "
            "PyTorch, turn its tensors into plain ones and save them as a .safetensors file"
        )
    known = name.startswith(("torch.nn.", "torchvision.", "timm."))
    of_class = name.rsplit(".", 1)[-1][:1].isupper()
    if known or (of_class and any(each.startswith("torch.nn.") for each in globals_)):
        return whole_module(name)
    return RefusedError(
        f"the file wants to run code when it is loaded: it calls {name}. It was not loaded, and "
        f"nothing in it was run. If you trust where it comes from, load it there and {SAVE}"
    )


def whole_module(name: str) -> RefusedError:
    """The refusal of a pickled module, by the class that it needs."""
    return RefusedError(
        f"it holds a whole module, not a state_dict: it needs {name}, and loading it would run "
        f"that class's code. It was not loaded: {SAVE}"
    )


def is_size(value: Any) -> bool:
    """Whether a value of a pickle can be a number of items."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_BYTES


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    sizes = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or not all(map(is_size, sizes)):
        raise DamagedError("a tensor makes no sense")
    if len(shape) != len(strides) or len(shape) > _MAX_AXES:
        raise DamagedError("a tensor's strides do not fit its shape")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    if not isinstance(tensor, Tensor):
        raise DamagedError("a parameter is no tensor")
    return tensor


def _size(sizes: Any = ()) -> Tuple[Any, ...]:
    if len(sizes) > _MAX_AXES:
        raise DamagedError("a size has too many axes")
    return tuple(sizes)


def _of_type(function: Any, _kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor with attributes of its own, which are left out."""
    if not isinstance(function, _Call) or not function.makes_tensors:
        raise DamagedError("a tensor is made by something that makes none")
    return function(*arguments)


def _nothing(*_: Any) -> None:
    """What stands for a value that is no weight. Copies of it would take memory for nothing."""


_TENSORS: Dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
_FUNCTIONS: Dict[str, Callable[..., Any]] = {
    **_TENSORS,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.Size": _size,
    **dict.fromkeys(_NO_WEIGHTS, _nothing),
}
