"""What TensorFlow executed: operators by kind and place, and whether that is what was asked for.

Three sources. Functions: the graphs that TensorFlow runs after its own optimisation, one for each
device (`record`). Eager execution: each operation as it is dispatched (`watch`). XLA: the program
that it made (`of_hlo`).
"""

from __future__ import annotations

import contextlib
import re
import weakref
from importlib import import_module
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Sequence, Tuple

from runner.errors import RunnerError
from runner.support import xla_hlo
from runner.support.tally import tally

# Numbers of `DataType` in TensorFlow's types.proto, which never change.
_NARROW = {14: "bfloat16", 19: "half"}
_WHOLE = frozenset([3, 4, 5, 6, 7, 9, 10, 17, 20, 21, 22, 23])
"""Integers and booleans, and what is no number: strings, resources, variants."""

_VALUELESS = frozenset([7, 20, 21])
"""Strings, resources, variants."""

_PLUMBING_WORDS = """
    _Arg _Retval _DeviceArg _DeviceRetval _Send _Recv _HostSend _HostRecv NoOp Const HostConst
    _HostConst Placeholder VarHandleOp ReadVariableOp _ReadVariablesOp Identity IdentityN
    Switch _SwitchN Merge Enter Exit NextIteration LoopCond Assert StopGradient
"""
PLUMBING = frozenset(_PLUMBING_WORDS.split())
"""What carries values about and computes none."""

_READS = frozenset(["ReadVariableOp", "_ReadVariablesOp"])
_UNCOUNTED = PLUMBING - _READS
_FEEDING = re.compile(r"Dataset(V\d+)?$|Iterator")

# TensorFlow keeps the arithmetic of shapes in the host's memory on purpose.
_SHAPE_WORDS = """
    Shape ShapeN Size Rank Pack Unpack StridedSlice Slice Concat ConcatV2 Gather GatherV2 Range
    Reshape Squeeze ExpandDims Cast Prod Sum Max Min Maximum Minimum Add AddV2 Sub Mul FloorDiv
    FloorMod RealDiv Neg Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr
    LogicalNot Select SelectV2 Fill Tile BroadcastArgs BroadcastTo AssignVariableOp
    AssignAddVariableOp All Any Where
"""
_SHAPES = frozenset(_SHAPE_WORDS.split())

_HLO_TYPE = re.compile(r"\b(bf16|f16)\[")
_HLO_NARROW = {"bf16": 14, "f16": 19}

_COMPILED = "_XlaMustCompile"


class Operator(NamedTuple):
    """One operator that runs: its kind, `CPU` or `GPU`, and the numbers of its data types."""

    kind: str
    place: str
    types: FrozenSet[int]


def record(call: Callable[[], Any]) -> Tuple[Any, List[Operator]]:
    """The result of a call, and the operators of the functions that it made ready to run."""
    result, functions = record_graphs(call)
    return result, of_graphs(functions)


def record_graphs(call: Callable[[], Any]) -> Tuple[Any, Sequence[Any]]:
    """The result of a call, and the graphs of the functions that it made ready to run.

    TensorFlow hands out a function's final graphs once, when it is first called.
    """
    context = import_module("tensorflow.python.eager.context")
    context.enable_run_metadata()
    try:
        result = call()
        metadata = context.export_run_metadata()
    finally:
        context.disable_run_metadata()
    return result, metadata.function_graphs


def of_graphs(functions: Sequence[Any]) -> List[Operator]:
    """The operators in the final graphs of functions.

    A single operation that is executed eagerly is wrapped into a function of its own and is left
    out beside real ones: it prepares their input.
    """
    found = [
        [_of_node(node) for graph in function.partition_graphs for node in graph.node]
        for function in functions
    ]
    computing = [ops for ops in found if any(not _is_uncounted(op.kind) for op in ops)]
    several = [ops for ops in computing if sum(not _is_uncounted(op.kind) for op in ops) > 1]
    return [op for ops in several or computing for op in ops]


class Dispatched:
    """The operations that are dispatched one by one: see `dispatching`.

    Attributes:
        operators: each with its place and data types.
        lines: each by its kind, place and attributes.
        constants: values that no operation gave, and those of variables; kept where asked for.
    """

    def __init__(self, *, keep_constants: bool) -> None:
        self.operators: List[Operator] = []
        self.lines: List[str] = []
        self.constants: List[Any] = []
        self._keeps = keep_constants
        self._given: Dict[int, Any] = {}

    def note(
        self,
        kind: Any,
        inputs: Any,
        attributes: Any,
        outputs: Any,
        op_name: Any = None,  # noqa: ARG002 (the signature is TensorFlow's)
        graph: Any = None,
    ) -> None:
        """What TensorFlow calls at each operation, and of a graph's nodes when that is traced."""
        if graph is not None:
            return
        name = kind.decode() if isinstance(kind, bytes) else str(kind)
        types = frozenset(int(tensor.dtype.as_datatype_enum) for tensor in outputs)
        place = _place(outputs[0].device) if len(outputs) else "CPU"
        self.operators.append(Operator(name, place, types))
        if self._keeps and not _FEEDING.search(name):
            told = list(attributes or ())
            pairs = sorted(f"{key}={value}" for key, value in zip(told[::2], told[1::2]))
            self.lines.append(f"{name} {place} {' '.join(pairs)}")
            self._keep(inputs, outputs, read=name in _READS)

    def _keep(self, inputs: Any, outputs: Any, *, read: bool) -> None:
        """Keep what was read, and what came from no operation before; resources have no values."""
        for tensor in inputs:
            given = self._given.get(id(tensor))
            is_new = given is None or given() is not tensor
            if is_new and int(tensor.dtype.as_datatype_enum) not in _VALUELESS:
                self.constants.append(tensor.numpy())
        for tensor in outputs:
            self._given[id(tensor)] = weakref.ref(tensor)
            if read:
                self.constants.append(tensor.numpy())


@contextlib.contextmanager
def dispatching(*, keep_constants: bool = False) -> Iterator[Dispatched]:
    """Note what is dispatched meanwhile, with constants where they are asked for."""
    callbacks = import_module("tensorflow.python.framework.op_callbacks")
    dispatched = Dispatched(keep_constants=keep_constants)
    callbacks.add_op_callback(dispatched.note)
    try:
        yield dispatched
    finally:
        callbacks.remove_op_callback(dispatched.note)


def watch(call: Callable[[], Any]) -> List[Operator]:
    """The operations that a call dispatches one by one."""
    with dispatching() as dispatched:
        call()
    return dispatched.operators


def of_hlo(text: str, place: str) -> List[Operator]:
    """The operators of an optimised XLA program, in its text form.

    The program is compiled as a whole, so a smaller float anywhere in it counts for the whole.
    """
    types = frozenset(_HLO_NARROW[name] for name in _HLO_TYPE.findall(text))
    counts = xla_hlo.operators(text)
    return [Operator(kind, place, types) for kind, number in counts.items() for _ in range(number)]


def count(operators: Sequence[Operator]) -> Dict[str, int]:
    """How many of each kind at each place: `{"Conv2D (CPU)": 52}`, the most frequent 64."""
    return tally(
        op.kind if op.kind.endswith(")") else f"{op.kind} ({op.place})"
        for op in operators
        if not _is_uncounted(op.kind)
    )


def require_float32(backend: str, operators: Sequence[Operator]) -> None:
    """Refuse a smaller float where whole float32 was asked for.

    Raises:
        RunnerError: kind `unsupported`, naming the operators.
    """
    narrow = {
        f"{op.kind} in {_NARROW[number]}"
        for op in operators
        for number in op.types
        if number in _NARROW
    }
    if narrow:
        raise RunnerError(
            "unsupported",
            f"{backend}: the precision f32 is whole float32, and the model computes with less "
            f"({', '.join(sorted(narrow)[:6])}): ask for the precision default, or export the "
            "model in float32",
        )


def require_gpu(backend: str, operators: Sequence[Operator]) -> Dict[str, Any]:
    """What `device_proof` says of operators, once every one that computes ran on the GPU.

    Raises:
        RunnerError: kind `unsupported`, naming the operators that ran on the CPU.
    """
    on_gpu = [op for op in operators if op.place == "GPU" and not _is_uncounted(op.kind)]
    on_cpu = [op for op in operators if op.place != "GPU" and not _is_uncounted(op.kind)]
    computed = [op for op in on_cpu if not _is_shape_arithmetic(op)]
    if computed or not on_gpu:
        most = list(tally(op.kind for op in computed).items())[:8]
        listed = ", ".join(f"{name} {number}" for name, number in most)
        what = f"{len(computed)} ran elsewhere ({listed})" if computed else "nothing ran elsewhere"
        raise RunnerError(
            "unsupported",
            f"{backend} was asked for the GPU and ran {len(on_gpu)} operators there; {what}: its "
            "times would not be the GPU's. Export the model with operators that TensorFlow has for "
            "the GPU, or ask for the device cpu",
        )
    return {"operators": len(on_gpu), "shape_operators_on_cpu": len(on_cpu)}


def _of_node(node: Any) -> Operator:
    types = set()
    for value in node.attr.values():
        if value.type:
            types.add(int(value.type))
        types.update(int(number) for number in value.list.type)
    compiled = _COMPILED in node.attr and node.attr[_COMPILED].b
    kind = "XLA program" if compiled else str(node.op)
    return Operator(kind, _place(node.device), frozenset(types))


def _place(device: Any) -> str:
    """`CPU` or `GPU` from a device's name, such as /job:localhost/replica:0/task:0/device:GPU:0."""
    name = str(device)
    return name.rpartition("device:")[2].partition(":")[0] if "device:" in name else "CPU"


def _is_uncounted(kind: str) -> bool:
    return kind in _UNCOUNTED or bool(_FEEDING.search(kind))


def _is_shape_arithmetic(op: Operator) -> bool:
    if op.kind in PLUMBING:
        return True
    return op.kind in _SHAPES and op.types <= _WHOLE
